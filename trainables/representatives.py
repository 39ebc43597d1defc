"""Where the values lie that quantized weights may take, and which weight takes which."""

import torch
from torch import Tensor

from trainables.families import choose
from trainables.shapes import Float, Int


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


def kmeans(weights: Float[Tensor, " n"], num_levels: int, iterations: int = 200) -> Float[Tensor, " k"]:
    """Codebook of `num_levels` values that minimizes the squared error of quantization (locally).

    Args:
        weights: any order, finite.
        num_levels: K; more than there are distinct weights gives repeated values.
        iterations: most passes of Lloyd's algorithm; it ends sooner when nothing moves.

    Returns:
        The codebook in increasing order, in the type of `weights`.

    Source: Lloyd, "Least squares quantization in PCM", 1982, on sorted weights with prefix sums, so that a
    pass costs O(k log n); start: points of equal mass under the cube root of the density (Panter and Dite, 1951).
    """
    ordered = weights.double().sort().values
    distinct = ordered.unique_consecutive()
    if len(distinct) <= num_levels:
        return torch.cat([distinct, distinct[-1:].expand(num_levels - len(distinct))]).to(weights.dtype)
    sums = torch.cat([ordered.new_zeros(1), ordered.cumsum(0)])
    codebook = _cube_root_density_points(ordered, num_levels)
    bounds = None
    for _ in range(iterations):
        cuts = torch.searchsorted(ordered, (codebook[1:] + codebook[:-1]) / 2, right=True)
        if bounds is not None and torch.equal(cuts, bounds[1:-1]):
            break
        bounds = torch.cat([cuts.new_zeros(1), cuts, cuts.new_full((1,), len(ordered))])
        counts = bounds.diff()
        means = sums[bounds].diff() / counts.clamp(min=1)
        # An empty level stays where it is: between its neighbours, where weights may still reach it.
        codebook = torch.where(counts > 0, means, codebook).sort().values
    return codebook.to(weights.dtype)


def _cube_root_density_points(ordered: Float[Tensor, " n"], num_levels: int) -> Float[Tensor, " k"]:
    bins = torch.linspace(ordered[0].item(), ordered[-1].item(), 64 * num_levels + 1, dtype=ordered.dtype)
    bins = bins.to(ordered.device)
    counts = torch.searchsorted(ordered, bins, right=True).diff(prepend=bins.new_zeros(1, dtype=torch.int64))[1:]
    mass = counts.to(ordered.dtype).pow(1 / 3).cumsum(0)
    target = (torch.arange(num_levels, device=ordered.device) + 0.5) / num_levels * mass[-1]
    return bins[torch.searchsorted(mass, target).clamp(max=len(bins) - 2)].add((bins[1] - bins[0]) / 2)


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
