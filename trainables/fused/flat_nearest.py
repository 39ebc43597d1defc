"""RM for all layers of a small network at once, on a CPU."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from trainables.fused.flat_search import IntervalSearch
from trainables.regularizers.chunks import flat
from trainables.regularizers.nearest import NearestDistance
from trainables.regularizers.reduction import reduction_divisor
from trainables.shapes import Float


class FlatNearestDistance:
    """The penalties of all layers, which draw the weights by a few operators over one flat buffer.

    Source: `trainables.families`, RM.
    """

    def __init__(self, regularizers: Sequence[NearestDistance], weights: Sequence[Float[Tensor, " ..."]]) -> None:
        """Make the penalties of layers with K ≥ 2.

        Args:
            regularizers: one for each layer.
            weights: of each layer, dense, in any shape.
        """
        self._weights = [flat(weight.detach()) for weight in weights]
        self._sizes = [len(weight) for weight in self._weights]
        num_levels = [len(one.representatives) for one in regularizers]
        self._search = IntervalSearch(self._sizes, num_levels)
        layer = torch.repeat_interleave(torch.tensor(num_levels))
        self._is_last = torch.cat([layer.diff() > 0, torch.tensor([True])])
        form = regularizers[0].form
        self._squared = form.squared
        self._factors = [1 / reduction_divisor(form, size) for size in self._sizes]
        self._factor_of_level = torch.tensor(self._factors)[layer]
        # Memory that is kept need not be cleared by the system in each step.
        self._buffers = torch.empty((7, sum(self._sizes)))
        self._chosen = torch.empty(sum(self._sizes), dtype=torch.bool)
        self._level = torch.empty(sum(self._sizes), dtype=torch.int64)
        self._summands = torch.empty(sum(self._sizes), dtype=torch.float64)

    def progress(self, fraction: float, values: Float[Tensor, " levels"]) -> None:
        """Do nothing: the penalty stays the same over the phase."""

    def draw(self, distances: Sequence[float], values: Float[Tensor, " levels"]) -> Float[Tensor, " levels"]:
        """Move each weight by its layer's distance times the penalty's slope, never past its nearest representative.

        Args:
            distances: how far a weight at slope 1 moves, of each layer.
            values: (levels,), the representatives of all layers.

        Returns:
            The gradient of the representatives, (levels,), float64, not multiplied by λ.
        """
        _, pull = self.gradient(distances, values)
        weight, after, _, slope, target, move, away = self._buffers
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
        weight, lower, side, slope, target, gap, away = self._buffers
        torch.cat(self._weights, out=weight)
        interval = self._search.find(weight, values)
        gaps = values.roll(-1).sub_(values).masked_fill_(self._is_last, math.inf)
        offset = torch.sub(weight, torch.index_select(values, 0, interval, out=lower), out=lower)
        torch.index_select(gaps, 0, interval, out=gap)
        torch.add(offset, gap, alpha=-0.5, out=side)
        level = torch.add(interval, torch.gt(side, 0, out=self._chosen), out=self._level)
        torch.sub(weight, torch.index_select(values, 0, level, out=target), out=away)
        torch.mul(away, 2.0, out=slope) if self._squared else torch.sign(away, out=slope)
        # Midway between two representatives the penalty has a kink.
        slope.mul_(torch.ne(side, 0, out=self._chosen))
        pull = torch.zeros(len(values), dtype=torch.float64).scatter_add_(0, level, self._summands.copy_(slope))
        for part, factor, strength in zip(slope.split(self._sizes), self._factors, strengths, strict=True):
            part.mul_(factor * strength)
        return slope, pull.mul_(self._factor_of_level).neg_()
