"""RH: the distance to a representative, and the bits that its level costs."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from trainables.codebooks.assignment import assign
from trainables.config import PenaltyForm
from trainables.regularizers.chunks import chunks
from trainables.regularizers.distance import Distance
from trainables.regularizers.lookup.cells import Cells
from trainables.regularizers.representatives import FreeRepresentatives
from trainables.shapes import Float


class EntropyConstrainedDistance(Distance):
    """The penalty min_k |w − r_k| + c_k of each weight w, or min_k (w − r_k)² + c_k with `form.squared`.

    The cost of level k is c_k = γ u log2(1/p_k): γ is `form.entropy_weight`, and u is half the mean spacing of the
    representatives (squared, with `form.squared`) at the last call of `progress`. The share p_k of the weights that
    are nearest to r_k is counted whenever the penalty is evaluated, and smoothed: p_k = (n_k + 1/2)/(n + K/2). Costs
    count as constants in the gradient, for shares change in steps.

    Cells of frequent levels are wider than those of rare ones; a level that is never the cheapest has no cell, pulls
    on no weight, and stays where it is. With γ = 0 this is RM.

    Sources: `trainables.families`, RH; for the smoothing Krichevsky and Trofimov, "The performance of universal
    encoding", 1981.
    """

    def __init__(self, weights: Float[Tensor, " n"], num_levels: int, form: PenaltyForm) -> None:
        """Place `num_levels` representatives among a layer's weights, (n,), as `form.initial` says."""
        super().__init__(FreeRepresentatives(weights, num_levels, form.initial), form, len(weights))
        self.progress(0.0)

    def progress(self, fraction: float) -> None:
        """Set the unit of costs from the spacing of the representatives; see `LayerQuantizer.progress`."""
        self._cost_of_bit = self.form.entropy_weight * self.half_spacing ** (2 if self.form.squared else 1)

    def _cells(self, weights: Float[Tensor, " n"]) -> Cells:
        """Return the cells of the representatives that are the cheapest for some weight."""
        values = self.representatives.detach()
        counts = torch.zeros(len(values), dtype=torch.int64, device=weights.device)
        for (weight,) in chunks(weights):
            counts.add_(torch.bincount(assign(weight, values), minlength=len(values)))
        costs = [self._cost_of_bit * bits for bits in code_lengths(counts.tolist())]
        levels, ends = lower_envelope(values.tolist(), costs, self.form.squared)
        indices = torch.tensor(levels, device=values.device)
        return Cells(values[indices], values.new_tensor(ends), indices, values.new_tensor([costs[k] for k in levels]))


def code_lengths(counts: Sequence[int]) -> list[float]:
    """Return log2(1/p_k) of each level, in bits, with smoothed shares p_k = (n_k + 1/2)/(n + K/2).

    Args:
        counts: n_k, how many weights each of the K levels has.
    """
    total = sum(counts) + len(counts) / 2
    return [math.log2(total / (count + 0.5)) for count in counts]


def lower_envelope(values: Sequence[float], costs: Sequence[float], squared: bool) -> tuple[list[int], list[float]]:
    """Return which levels are the cheapest somewhere on the line, and where the cells of neighbours meet.

    Args:
        values: r_k, in increasing order.
        costs: c_k.
        squared: whether a weight w pays (w − r_k)² + c_k, or |w − r_k| + c_k.

    Returns:
        m levels in increasing order, and the m − 1 ends of their cells in increasing order.
    """
    levels: list[int] = []
    starts: list[float] = []
    for level, (value, cost) in enumerate(zip(values, costs, strict=True)):
        start = -math.inf
        while levels:
            last = levels[-1]
            start = (values[last] + value) / 2 + _shift(value - values[last], cost - costs[last], squared)
            if start > starts[-1]:
                break
            levels.pop()  # its cell would end before it starts
            starts.pop()
            start = -math.inf
        if start < math.inf:
            levels.append(level)
            starts.append(start)
    return levels, starts[1:]


def _shift(gap: float, rise: float, squared: bool) -> float:
    """Return how far from their middle the cells of two representatives meet; infinite if only one has a cell.

    Args:
        gap: by how much the second one is greater, at least 0.
        rise: by how much its level costs more.
        squared: as for `lower_envelope`.
    """
    if squared and gap > 0:
        return rise / (2 * gap)
    if -gap < rise < gap:
        return rise / 2
    return math.inf if rise >= gap else -math.inf
