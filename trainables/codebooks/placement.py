"""Placement of representatives: evenly spaced, at quantiles, or as a placement's name says."""

import torch
from torch import Tensor

from trainables.choices import choose
from trainables.codebooks.kmeans import kmeans
from trainables.import_path import PartError, arguments_for, is_import_path, reason_of, resolve
from trainables.shapes import Float


def grid(low: float, high: float, num_levels: int) -> Float[Tensor, " k"]:
    """Return `num_levels` evenly spaced points from `low` to `high`, ends included, float64: the zeros of RS."""
    return torch.linspace(low, high, num_levels, dtype=torch.float64)


def midpoints(low: float, high: float, num_levels: int) -> Float[Tensor, " k"]:
    """Return the midpoints of `num_levels` equal bins of [low, high], float64: the zeros of RC."""
    half = (high - low) / (2 * num_levels)
    return grid(low + half, high - half, num_levels)


def quantiles(weights: Float[Tensor, " n"], num_levels: int) -> Float[Tensor, " k"]:
    """Return the medians of `num_levels` groups of equally many weights, in increasing order.

    Args:
        weights: (n,), any order, finite.
        num_levels: K.
    """
    ordered = weights.sort().values
    position = (torch.arange(num_levels, device=weights.device) + 0.5) * len(ordered) / num_levels
    return ordered[position.long().clamp(max=len(ordered) - 1)]


def place_representatives(
    placement: str, weights: Float[Tensor, " n"], num_levels: int, own: Float[Tensor, " k"] | None
) -> Float[Tensor, " k"]:
    """Return the final representatives of trained weights.

    Args:
        placement: `own` takes the family's representatives, `kmeans` the codebook of least squared error (the authors'
            CWS), `uniform` the midpoints of equal bins from the smallest to the largest weight (the authors' UQ). The
            import path of a function calls it (`own_placement`).
        weights: (n,), weights of one layer, any order, finite.
        num_levels: K.
        own: (K,), the representatives that the family trained towards; None for a family without.

    Returns:
        (K,) in increasing order, in the type of `weights`.

    Raises:
        ValueError: the placement is unknown, or is `own` for a family without representatives.
    """
    if is_import_path(placement):
        return own_placement(placement, weights, num_levels, own)
    choose("placement", placement, ("kmeans", "uniform") if own is None else ("own", "kmeans", "uniform"))
    if placement == "kmeans":
        return kmeans(weights, num_levels)
    if placement == "uniform":
        return midpoints(weights.min().item(), weights.max().item(), num_levels).to(weights)
    assert own is not None
    return own.to(weights)


def own_placement(
    name: str, weights: Float[Tensor, " n"], num_levels: int, own: Float[Tensor, " k"] | None
) -> Float[Tensor, " k"]:
    """Return the representatives that a user's function places.

    It is called with those of the arguments `weights`, `num_levels` and `own` that it names, as
    `place_representatives` has them, and returns `num_levels` representatives, (K,), in any order.

    Args:
        name: import path of the function.
        weights: (n,), weights of one layer.
        num_levels: K.
        own: (K,), representatives of the family; None for a family without.

    Raises:
        PartError: the function can't be imported or called, or does not return K finite numbers; one line.
    """
    function = resolve("placement", name)
    arguments = arguments_for("placement", name, function, {"weights": weights, "num_levels": num_levels, "own": own})
    try:
        placed = torch.as_tensor(function(**arguments))
    except Exception as error:  # code of users may raise anything
        raise PartError(f"placement {name!r} must return representatives, got {reason_of(error)}; mend it") from None
    received = f"shape {tuple(placed.shape)}" if placed.shape != (num_levels,) else None
    if received is None and not placed.isfinite().all():
        received = "values that are not finite"
    if received is not None:
        raise PartError(f"placement {name!r} must return {num_levels} finite representatives, got {received}; mend it")
    return placed.detach().to(weights).sort().values
