"""Bins of equal width, which give the place of a weight without a binary search."""

import math

import torch
from torch import Tensor

from trainables.shapes import Float, Int


class UniformBins:
    """Bins of equal width over [low, high], and one more at either side for values beyond.

    Attributes:
        count: number of bins, with the two outer ones.
        width: width of an inner bin, in units of the values.
    """

    def __init__(self, low: float, high: float, inner: int) -> None:
        """Divide [low, high] into `inner` bins."""
        self._low = low
        self.count = inner + 2
        self.width = (high - low) / inner
        self._scale = 1 / self.width if self.width > 0 and math.isfinite(1 / self.width) else 0.0
        self._shift = 1.0 - low * self._scale

    def positions(self, values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return the position of each value, (n,): its bin as the integer part, and how far into it as the fraction.

        Positions never decrease as the values increase.
        """
        # A fused multiply-add would round a value differently in different places of a tensor; two operations do not.
        return values.mul(self._scale).add_(self._shift).clamp_(0.0, self.count - 0.5)


class DyadicBins:
    """Bins [j w, (j + 1) w) for successive integers j, which cover [low, high]; the width w is a power of two.

    Dividing by w and subtracting the integer part are then exact: a value's distance from the middle of its bin
    follows from the value alone, without a look-up, to its last digit.

    Attributes:
        count: number of bins.
        width: the greatest power of two that is at most `widest`, in units of the values.
        exact: whether division is exact for all of [low, high].
    """

    FARTHEST = 1 << 22
    """Largest magnitude, in widths, for which division is exact."""

    def __init__(self, low: float, high: float, widest: float) -> None:
        """Cover [low, high] with bins of width at most `widest`."""
        self.width = 2.0 ** math.floor(math.log2(widest))
        self._first = math.floor(low / self.width)
        self.count = math.floor(high / self.width) - self._first + 1
        self.exact = max(-low, high) < self.FARTHEST * self.width

    def positions(self, values: Float[Tensor, " n"]) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
        """Return the bin of each value, (n,), int32, and its offset from the middle in widths, in [−1/2, 1/2]."""
        scaled = values.mul(1 / self.width)
        middle = scaled.floor().add_(0.5)
        return middle.sub(self._first).int(), scaled.sub_(middle)

    def centres(self) -> Float[Tensor, " b"]:
        """Return the middle of each bin, (count,), float64."""
        return (torch.arange(self.count, dtype=torch.float64) + (self._first + 0.5)) * self.width
