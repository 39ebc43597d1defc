"""Search for the representatives around each weight, for all layers at once."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from trainables.shapes import Float, Int

BINS_A_LEVEL = 16
"""Bins per level. Neighbouring representatives nearly always lie in different ones."""

MOST_IN_A_BIN = 4
"""Representatives in a bin above which a binary search is used."""


class LevelBins:
    """Bins of equal width between the outer representatives of each layer; those of a layer follow those before it.

    Levels of all layers are numbered one after the other. An interval between two representatives has the number of
    its lower level; the first and the last one of a layer reach to infinity.

    Tables by level or bin are arrays of NumPy: they are so short that calling an operator costs more than its work, and
    those of NumPy cost less.

    Attributes:
        layer: (levels,), the layer of each level.
        first: (layers,), the first level of each layer.
        last: (layers,), the last one.
        inner: all levels that are neither.
        count: bins of a layer.
        width: (layers,), of a layer's bins, set by `divide`.
    """

    def __init__(self, sizes: Sequence[int], num_levels: Sequence[int], bins_a_level: int = BINS_A_LEVEL) -> None:
        """Prepare layers with these numbers of weights and of levels, at least 2 each."""
        levels, layers = np.array(num_levels), len(num_levels)
        self.count = bins_a_level * max(num_levels)
        self.layer = np.repeat(np.arange(layers), levels)
        self.last = levels.cumsum() - 1
        self.first = self.last - levels + 1
        place = np.arange(levels.sum())
        self.inner = ((place > self.first[self.layer]) & (place < self.last[self.layer])).nonzero()[0]
        self._sizes = list(sizes)
        self._inner_layer = self.layer[self.inner]
        self._inner_bin = self.count * self._inner_layer
        # Of each layer before, its two outer representatives are not counted.
        self._skipped = 2 * np.arange(layers)[:, None]
        # Memory that is kept need not be cleared by the system in each step.
        self._position = torch.empty(sum(sizes))
        self._bin = torch.empty(sum(sizes), dtype=torch.int64)

    def divide(self, values: np.ndarray) -> np.ndarray:
        """Lay the bins between representatives, (levels,), float32, in increasing order within each layer.

        Returns:
            (layers, bins), int64: how many inner representatives lie in each bin.
        """
        first = values[self.first]
        self.width = (values[self.last] - first) / np.float32(self.count)
        self._scale = np.divide(np.float32(1), self.width, where=self.width > 0, out=np.zeros_like(self.width))
        self._shift = -first * self._scale
        position = values[self.inner] * self._scale[self._inner_layer] + self._shift[self._inner_layer]
        inner = np.minimum(np.maximum(position, 0), self.count - 1).astype(np.int64) + self._inner_bin
        return np.bincount(inner, minlength=self.count * len(self._sizes)).reshape(len(self._sizes), -1)

    def intervals(self, per_bin: np.ndarray) -> np.ndarray:
        """Return the interval that the lower end of each bin is in, (layers · bins,), int64."""
        below: np.ndarray = per_bin.cumsum().reshape(per_bin.shape) - per_bin + self._skipped
        return below.reshape(-1)

    def find(self, weights: Sequence[Float[Tensor, " ..."]]) -> Int[Tensor, " n"]:
        """Return the bin of each weight of all layers, (n,), int64; the next call overwrites the result.

        Args:
            weights: (n,) of each layer; for those that are not finite, any bin of the layer.
        """
        places = self._position.split(self._sizes)
        lines = zip(weights, places, self._scale.tolist(), torch.from_numpy(self._shift), strict=True)
        for weight, place, scale, shift in lines:
            torch.add(shift, weight, alpha=scale, out=place)
        self._position.clamp_(0, self.count - 1).nan_to_num_(nan=0.0)
        for layer, place in enumerate(places[1:], start=1):
            place.add_(self.count * layer)
        return self._bin.copy_(self._position)


class IntervalSearch:
    """The search for the interval between two representatives that a weight lies in; see `LevelBins`.

    A look-up by bins replaces the binary search, which takes longer than all else that is done to a weight.
    """

    def __init__(self, sizes: Sequence[int], num_levels: Sequence[int]) -> None:
        """Prepare the search in layers with these numbers of weights and of levels, at least 2 each."""
        self._parts, self._levels = list(sizes), list(num_levels)
        self._bins = LevelBins(sizes, num_levels)
        self._end = torch.empty(sum(sizes))
        self._interval = torch.empty(sum(sizes), dtype=torch.int64)
        self._beyond = torch.empty(sum(sizes), dtype=torch.bool)

    def find(self, weights: Float[Tensor, " n"], values: Float[Tensor, " levels"]) -> Int[Tensor, " n"]:
        """Return the interval of each weight, (n,), int64; a weight on a representative may count to either side.

        The next call overwrites the result.

        Args:
            weights: (n,), of all layers one after the other; for those that are not finite, any interval of the layer.
            values: (levels,), the representatives, in increasing order within each layer.
        """
        own = values.numpy()
        per_bin = self._bins.divide(own)
        most = int(per_bin.max())
        if most > MOST_IN_A_BIN:
            return self._by_bisection(weights, values)
        # Above an interval ends the next one, if there is one in the layer.
        ends_by_level = np.full_like(own, math.inf)
        ends_by_level[self._bins.inner - 1] = own[self._bins.inner]
        ends = torch.from_numpy(ends_by_level)
        below = torch.from_numpy(self._bins.intervals(per_bin))
        interval = torch.index_select(below, 0, self._bins.find(weights.split(self._parts)), out=self._interval)
        for _ in range(most):
            end = torch.index_select(ends, 0, interval, out=self._end)
            interval.add_(torch.gt(weights, end, out=self._beyond))
        return interval

    def _by_bisection(self, weights: Float[Tensor, " n"], values: Float[Tensor, " levels"]) -> Int[Tensor, " n"]:
        """Do the same where many representatives of a layer lie in a small part of their range."""
        parts = zip(weights.split(self._parts), values.split(self._levels), self._bins.first.tolist(), strict=True)
        return torch.cat([torch.bucketize(weight, own[1:-1]).add_(first) for weight, own, first in parts])
