"""RM and the soft minimum of RE for all layers of a small network at once, on a CPU."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from trainables.fused.flat_search import IntervalSearch
from trainables.regularizers.chunks import flat
from trainables.regularizers.exponential.soft_minimum import SoftMinimum, evaluate_slopes
from trainables.regularizers.lookup.slope_table import NEGLIGIBLE
from trainables.regularizers.nearest import NearestDistance
from trainables.regularizers.reduction import reduction_divisor
from trainables.shapes import Float, Int


class FlatPenalty:
    """The penalties of all layers, which draw the weights by a few operators over one flat buffer.

    A weight w between neighbours r ≤ r′, with g = r′ − r and v = w − r, has under RE's soft minimum the slope
    2(v − g p) with p = σ((2v − g) g/τ), the share of r′, if all other representatives are negligible. Those below r
    are at least d away from it, with d the gap below r, and have shares of at most exp(−d²/τ) of the nearest one's:
    (w − r_i)² − (w − r)² = (r − r_i)(2w − r_i − r) ≥ (r − r_i)². So all K of them together have at most
    exp(−`NEGLIGIBLE`) where d² ≥ (`NEGLIGIBLE` + log K) τ, and likewise above r′. Weights in other intervals are
    evaluated one by one.

    Source: `trainables.families`, RM and RE.
    """

    def __init__(
        self, regularizers: Sequence[NearestDistance | SoftMinimum], weights: Sequence[Float[Tensor, " ..."]]
    ) -> None:
        """Make the penalties of layers, all of one family, with K ≥ 2.

        Args:
            regularizers: one for each layer.
            weights: of each layer, dense, in any shape.
        """
        self._regularizers = list(regularizers)
        self._weights = [flat(weight.detach()) for weight in weights]
        self._sizes = [len(weight) for weight in self._weights]
        self._levels = [len(one.representatives) for one in regularizers]
        self._search = IntervalSearch(self._sizes, self._levels)
        self._layer = torch.repeat_interleave(torch.tensor(self._levels))
        self._is_last = torch.cat([self._layer.diff() > 0, torch.tensor([True])])
        form = regularizers[0].form
        self._squared = form.squared
        self._factors = [1 / reduction_divisor(form, size) for size in self._sizes]
        self._factor_of_level = torch.tensor(self._factors)[self._layer]
        self._negligible = torch.tensor([NEGLIGIBLE + math.log(count) for count in self._levels])[self._layer]
        # Memory that is kept need not be cleared by the system in each step.
        self._buffers = torch.empty((8, sum(self._sizes)))
        self._chosen = torch.empty(sum(self._sizes), dtype=torch.bool)
        self._level = torch.empty(sum(self._sizes), dtype=torch.int64)
        self._summands = torch.empty(sum(self._sizes), dtype=torch.float64)

    def draw(self, distances: Sequence[float], values: Float[Tensor, " levels"]) -> Float[Tensor, " levels"]:
        """Move each weight by its layer's distance times the penalty's slope, never past its nearest representative.

        Args:
            distances: how far a weight at slope 1 moves, of each layer.
            values: (levels,), the representatives of all layers.

        Returns:
            The gradient of the representatives, (levels,), float64, not multiplied by λ.
        """
        slope, pull = self.gradient(distances, values)
        weight, after, _, _, _, target, move, away = self._buffers
        # A weight that would pass its representative, or lies on it, is set to it.
        reached = torch.le(torch.sub(away, slope, out=move).mul_(away), 0, out=self._chosen)
        torch.sub(weight, slope, out=after)
        torch.where(reached, target, after, out=move)
        for one, part in zip(self._weights, move.split(self._sizes), strict=True):
            one.copy_(part)
        return pull

    def gradient(
        self, strengths: Sequence[float], values: Float[Tensor, " levels"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, " levels"]]:
        """Return the gradients of the weights, multiplied by each layer's strength, and of the representatives.

        Args:
            strengths: of each layer.
            values: (levels,), the representatives of all layers.

        Returns:
            For the weights of all layers one after the other, (n,); overwritten by the next call. For the
            representatives, (levels,), float64, not multiplied by the strengths.
        """
        weight, lower, gap, side, slope, target, _, away = self._buffers
        torch.cat(self._weights, out=weight)
        interval = self._search.find(weight, values)
        gaps = values.roll(-1).sub_(values).masked_fill_(self._is_last, math.inf)
        offset = torch.sub(weight, torch.index_select(values, 0, interval, out=lower), out=lower)
        torch.index_select(gaps, 0, interval, out=gap)
        torch.add(offset, gap, alpha=-0.5, out=side)
        level = torch.add(interval, torch.gt(side, 0, out=self._chosen), out=self._level)
        torch.sub(weight, torch.index_select(values, 0, level, out=target), out=away)
        if isinstance(self._regularizers[0], SoftMinimum):
            pull = self._soft(weight, values, gaps, interval)
        else:
            torch.mul(away, 2.0, out=slope) if self._squared else torch.sign(away, out=slope)
            # Midway between two representatives the penalty has a kink.
            slope.mul_(torch.ne(side, 0, out=self._chosen))
            pull = self._sums(level, slope, len(values))
        for part, factor, strength in zip(slope.split(self._sizes), self._factors, strengths, strict=True):
            part.mul_(factor * strength)
        return slope, pull.mul_(self._factor_of_level).neg_()

    def _soft(
        self,
        weight: Float[Tensor, " n"],
        values: Float[Tensor, " levels"],
        gaps: Float[Tensor, " levels"],
        interval: Int[Tensor, " n"],
    ) -> Float[Tensor, " levels"]:
        """Write the slope of the soft minimum; return the parts that each representative causes, float64."""
        _, offset, gap, side, slope, _, share, _ = self._buffers
        taus = [one.tau for one in self._regularizers if isinstance(one, SoftMinimum)]
        tau = torch.tensor(taus)[self._layer]
        torch.index_select(gaps / tau, 0, interval, out=share).mul_(side).mul_(2.0).sigmoid_()
        torch.addcmul(offset, gap, share, value=-1, out=slope).mul_(2.0)
        upper = torch.sub(offset, gap, out=side).mul_(share).mul_(2.0)
        lower = torch.sub(slope, upper, out=gap)
        pull = torch.zeros(len(values), dtype=torch.float64)
        crowded = self._crowded(gaps.square() < self._negligible * tau)
        for layer in self._layer[crowded].unique().tolist():
            self._evaluate(layer, values, crowded, interval, taus[layer], (weight, slope, lower, upper), pull)
        pull.add_(self._sums(interval, lower, len(values)))
        pull[1:] += self._sums(interval, upper, len(values))[:-1]
        return pull

    def _sums(self, index: Int[Tensor, " n"], summands: Float[Tensor, " n"], size: int) -> Float[Tensor, " levels"]:
        """Return the sums of `summands` by `index`, (size,), float64."""
        return torch.zeros(size, dtype=torch.float64).scatter_add_(0, index, self._summands.copy_(summands))

    def _crowded(self, narrow: Tensor) -> Tensor:
        """Return which intervals have a narrow one beside them, (levels,)."""
        beside = torch.zeros_like(narrow)
        beside[1:] |= narrow[:-1]
        beside[:-1] |= narrow[1:]
        return beside & ~self._is_last

    def _evaluate(
        self,
        layer: int,
        values: Float[Tensor, " levels"],
        crowded: Tensor,
        interval: Int[Tensor, " n"],
        tau: float,
        of_weights: tuple[Tensor, Tensor, Tensor, Tensor],
        pull: Float[Tensor, " levels"],
    ) -> None:
        """Evaluate the weights in crowded intervals of one layer against all of its representatives.

        Args:
            layer: number of the layer.
            values: (levels,), the representatives of all layers.
            crowded: (levels,), bool, by interval.
            interval: (n,), of each weight.
            tau: the temperature of the layer.
            of_weights: the weights; their slopes, written; the parts of these that the lower and the upper end of the
                interval cause, set to 0. All are (n,).
            pull: (levels,), float64, the sum of the parts by level; added to.
        """
        weight, slope, lower, upper = (one.split(self._sizes)[layer] for one in of_weights)
        chosen = crowded.index_select(0, interval.split(self._sizes)[layer]).nonzero().squeeze(1)
        own = values.split(self._levels)[layer]
        slopes, parts = evaluate_slopes(weight.index_select(0, chosen), own, tau, 1.0)
        slope.index_copy_(0, chosen, slopes)
        lower.index_fill_(0, chosen, 0.0)
        upper.index_fill_(0, chosen, 0.0)
        pull.split(self._levels)[layer].add_(parts)
