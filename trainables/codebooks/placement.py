"""Where the values lie that quantized weights may take, and which weight takes which."""

import torch
from torch import Tensor

from trainables.codebooks.kmeans import kmeans
from trainables.families import choose
from trainables.shapes import Float, Int

Codebook = tuple[Tensor, Tensor]
"""Representatives (k,) and assignment (levels, in the shape of the weight) of one quantized weight."""


def grid(low: float, high: float, num_levels: int) -> Float[Tensor, " k"]:
    """`num_levels` points from `low` to `high`, ends included: the zeros of RS."""
    return torch.linspace(low, high, num_levels, dtype=torch.float64)


def midpoints(low: float, high: float, num_levels: int) -> Float[Tensor, " k"]:
    """Midpoints of `num_levels` equal bins of [low, high]: the zeros of RC."""
    half = (high - low) / (2 * num_levels)
    return grid(low + half, high - half, num_levels)


def quantiles(weights: Float[Tensor, " n"], num_levels: int) -> Float[Tensor, " k"]:
    """Medians of `num_levels` groups of equally many weights."""
    ordered = weights.sort().values
    position = (torch.arange(num_levels, device=weights.device) + 0.5) * len(ordered) / num_levels
    return ordered[position.long().clamp(max=len(ordered) - 1)]


def place(
    placement: str, weights: Float[Tensor, " n"], num_levels: int, own: Float[Tensor, " k"] | None
) -> Float[Tensor, " k"]:
    """Representatives of trained weights.

    Args:
        placement: `own` takes the family's, `kmeans` the best codebook (the authors' CWS), `uniform` the
            midpoints of equal bins from the smallest to the largest weight (the authors' UQ).
        weights: of one layer, any order.
        num_levels: K.
        own: what the family trained towards; None for a family without.

    Returns:
        K values in increasing order, in the type of `weights`.
    """
    choose("placement", placement, ("kmeans", "uniform") if own is None else ("own", "kmeans", "uniform"))
    if placement == "kmeans":
        return kmeans(weights, num_levels)
    if placement == "uniform":
        return midpoints(weights.min().item(), weights.max().item(), num_levels).to(weights)
    assert own is not None
    return own.to(weights)


def assign(weights: Float[Tensor, "*shape"], representatives: Float[Tensor, " k"]) -> Int[Tensor, "*shape"]:
    """Level of the representative nearest to each weight; the lower one on a tie.

    Args:
        weights: any shape, finite.
        representatives: in increasing order.

    Returns:
        Levels in [0, k), int32, in the shape of `weights`.

    Source: midpoints of a sorted 1-D codebook bound its Voronoi cells (Lloyd, 1982, Sec. II).
    """
    # Sorted midpoints make this O(n log k); an n-by-k table would not fit beside VGG16.
    boundaries = (representatives[1:] + representatives[:-1]) / 2
    return torch.bucketize(weights.contiguous(), boundaries, out_int32=True)
