"""One-dimensional k-means: the K values with the least squared error of quantization."""

import numpy as np
import torch
from torch import Tensor

from trainables.shapes import Float, Int

MOST_GROUPS = 1024
"""Groups of neighbouring weights that the search distinguishes; 8 K if that is more."""

MOST_SEARCHED_LEVELS = 4096
"""Largest K for which the best cells are searched, which takes O(K²) time."""


def kmeans(weights: Float[Tensor, " n"], num_levels: int, iterations: int = 100) -> Float[Tensor, " k"]:
    """Return `num_levels` values whose squared error is within 1% of the least possible, and usually far closer.

    Sorted weights are divided into groups of neighbours; dynamic programming finds the best cells that are unions of
    groups; Lloyd's algorithm then moves the cells' ends among the weights. The result is deterministic. Above
    `MOST_SEARCHED_LEVELS`, K groups themselves are the cells that Lloyd's algorithm begins with; the squared error,
    which is tiny with so many levels, may then be up to about twice the least.

    Args:
        weights: (n,), any order, finite.
        num_levels: K; if it exceeds the number of distinct weights, values are repeated.
        iterations: greatest number of passes of Lloyd's algorithm, which ends earlier once nothing moves.

    Returns:
        (K,) in increasing order, in the type of `weights`.

    Source: Wang and Song, "Ckmeans.1d.dp", The R Journal 3/2, 2011 (dynamic programming); Lloyd, "Least squares
    quantization in PCM", 1982; Panter and Dite, 1951 (the best cells hold equal shares of the density's cube root).
    """
    ordered = _sorted(weights).double()
    values, counts = ordered.unique_consecutive(return_counts=True)
    if len(values) <= num_levels:
        return torch.cat([values, values[-1:].expand(num_levels - len(values))]).to(weights.dtype)
    # Squares are summed about the middle of the weights, which loses the fewest digits to cancellation.
    shifted = values - values[len(values) // 2]
    zero = values.new_zeros(1)
    sums = [torch.cat([zero, (counts * power).cumsum(0)]) for power in (torch.ones_like(values), shifted, shifted**2)]
    if num_levels > MOST_SEARCHED_LEVELS:
        ends = _groups(values, counts, num_levels)
    else:
        groups = _groups(values, counts, max(MOST_GROUPS, 8 * num_levels))
        ends = groups[_best_cells([moment[groups] for moment in sums], num_levels)]
    for _ in range(iterations):
        mass, first = (sum_[ends].diff() for sum_ in sums[:2])
        codebook = first / mass
        moved = torch.searchsorted(shifted, (codebook[1:] + codebook[:-1]) / 2, right=True)
        moved = torch.cat([ends[:1], moved, ends[-1:]])
        if torch.equal(moved, ends) or bool((moved.diff() == 0).any()):
            break
        ends = moved
    mass, first = (sum_[ends].diff() for sum_ in sums[:2])
    codebook = first / mass + values[len(values) // 2]
    return torch.cat([codebook, codebook[-1:].expand(num_levels - len(codebook))]).to(weights.dtype)


def _sorted(weights: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    # On a CPU, NumPy sorts with vector instructions and does not compute the indices.
    if weights.device.type == "cpu":
        return torch.from_numpy(np.sort(weights.detach().numpy()))
    return weights.sort().values


def _groups(values: Float[Tensor, " d"], counts: Int[Tensor, " d"], most: int) -> Int[Tensor, " g"]:
    """Return the ends of at most `most` groups of neighbouring values, from 0 to d.

    Each group contributes about the same share of the squared error.
    """
    if len(values) <= most:
        return torch.arange(len(values) + 1, device=values.device)
    # Integral of the density's cube root over a gap, where the density is c/gap: c^(1/3) gap^(2/3).
    share = (counts[1:].to(values.dtype).pow(1 / 3) * values.diff().pow(2 / 3)).cumsum(0)
    target = torch.arange(1, most, device=values.device) / most * share[-1]
    inner = torch.searchsorted(share, target) + 1
    ends = torch.cat([inner.new_zeros(1), inner, inner.new_full((1,), len(values))])
    return ends.unique_consecutive()


def _best_cells(sums: list[Float[Tensor, " g"]], num_levels: int) -> Int[Tensor, " e"]:
    """Return the ends, as indices of groups, of the `num_levels` cells of least squared error.

    Args:
        sums: prefix sums over the groups of the counts, of the values and of their squares, (groups + 1,) each.
        num_levels: K.
    """
    groups = len(sums[0]) - 1
    # A cell of the best codebook holds about groups / K groups; cells above eight times that are not considered.
    longest = min(groups, max(64, 8 * groups // num_levels))
    device = sums[0].device
    end = torch.arange(groups + 1, device=device)[:, None]
    start = end - torch.arange(longest, 0, -1, device=device)
    inside = start >= 0
    start = start.clamp(min=0)
    weight, total, square = (moment[end] - moment[start] for moment in sums)
    cost = torch.where(inside, square - total.square() / weight.clamp(min=1), torch.inf)
    best = cost.new_full((groups + 1,), torch.inf)
    best[0] = 0.0
    chosen = []
    padding = cost.new_full((longest,), torch.inf)
    for _ in range(num_levels):
        before = torch.cat([padding, best]).unfold(0, longest, 1)[: groups + 1]
        best, offset = (cost + before).min(1)
        chosen.append(offset)
    ends = [groups]
    for offset in reversed(torch.stack(chosen).tolist()):
        ends.append(ends[-1] - longest + offset[ends[-1]])
    return torch.tensor(ends[::-1], device=device)
