"""Search for the representatives around each weight, for all layers at once."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from trainables.shapes import Float, Int

BINS_A_LEVEL = 16
"""Bins per level. Neighbouring representatives nearly always lie in different ones."""

MOST_IN_A_BIN = 4
"""Representatives in a bin above which a binary search is used."""


class IntervalSearch:
    """The search for the interval between two representatives that a weight lies in.

    Levels of all layers are numbered one after the other. An interval has the number of its lower level; the first and
    the last one of a layer reach to infinity. A look-up by bins of equal width replaces the binary search, which takes
    longer than all else that is done to a weight.
    """

    def __init__(self, sizes: Sequence[int], num_levels: Sequence[int]) -> None:
        """Prepare the search in layers with these numbers of weights and of levels, at least 2 each."""
        self._parts = list(sizes)
        self._levels = list(num_levels)
        self._bins = BINS_A_LEVEL * max(num_levels)
        self._first = torch.tensor([sum(num_levels[:layer]) for layer in range(len(num_levels))])
        self._last = self._first + torch.tensor(num_levels) - 1
        self._layer = torch.repeat_interleave(torch.tensor(num_levels))
        levels = torch.arange(sum(num_levels))
        self._inner = ((levels > self._first[self._layer]) & (levels < self._last[self._layer])).nonzero().squeeze(1)
        # The bins of a layer follow those of the layer before.
        self._offsets = self._bins * torch.arange(len(sizes), dtype=torch.float32)
        self._highest = self._offsets + (self._bins - 1)
        self._bounds = list(zip(self._offsets.tolist(), self._highest.tolist(), strict=True))
        self._position = torch.empty(sum(sizes))
        # Memory that is kept need not be cleared by the system in each step.
        self._bin, self._interval = torch.empty((2, sum(sizes)), dtype=torch.int64)
        self._beyond = torch.empty(sum(sizes), dtype=torch.bool)

    def find(self, weights: Float[Tensor, " n"], values: Float[Tensor, " levels"]) -> Int[Tensor, " n"]:
        """Return the interval of each weight, (n,), int64; a weight on a representative may count to either side.

        The next call overwrites the result.

        Args:
            weights: (n,), of all layers one after the other; for those that are not finite, any interval of the layer.
            values: (levels,), the representatives, in increasing order within each layer.
        """
        first, last = values[self._first], values[self._last]
        scale = (self._bins / (last - first)).nan_to_num_(nan=0.0, posinf=0.0)
        shift = self._offsets - first * scale
        inner = values[self._inner]
        layer = self._layer[self._inner]
        position = (inner * scale[layer]).add_(shift[layer])
        position = torch.minimum(torch.maximum(position, self._offsets[layer]), self._highest[layer])
        per_bin = torch.bincount(position.long(), minlength=self._bins * len(self._parts))
        most = int(per_bin.max())
        # Above an interval ends the next one, if there is one in the layer.
        ends = torch.full_like(values, math.inf)
        ends[self._inner - 1] = inner
        if most > MOST_IN_A_BIN:
            return self._by_bisection(weights, values)
        below = (per_bin.cumsum(0) - per_bin).view(len(self._parts), -1)
        # Of each layer before, its two outer representatives are not counted.
        below.add_(2 * torch.arange(len(self._parts))[:, None])
        parts = zip(weights.split(self._parts), self._position.split(self._parts), strict=True)
        rows = zip(parts, scale.tolist(), shift.tolist(), self._bounds, strict=True)
        for (weight, place), factor, summand, bounds in rows:
            torch.mul(weight, factor, out=place).add_(summand).clamp_(*bounds).nan_to_num_(nan=bounds[0])
        self._bin.copy_(self._position)
        interval = torch.index_select(below.view(-1), 0, self._bin, out=self._interval)
        for _ in range(most):
            end = torch.index_select(ends, 0, interval, out=self._position)
            interval.add_(torch.gt(weights, end, out=self._beyond))
        return interval

    def _by_bisection(self, weights: Float[Tensor, " n"], values: Float[Tensor, " levels"]) -> Int[Tensor, " n"]:
        """Do the same where many representatives of a layer lie in a small part of their range."""
        parts = zip(weights.split(self._parts), values.split(self._levels), self._first.tolist(), strict=True)
        return torch.cat([torch.bucketize(weight, own[1:-1]).add_(first) for weight, own, first in parts])
