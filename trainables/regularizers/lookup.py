"""Where a weight lies among sorted values, without a binary search: equal bins, and what is known of each bin."""

import math

import torch
from torch import Tensor

from trainables.shapes import Float, Int


class UniformBins:
    """Equal bins over [low, high], and one more on either side for whatever lies beyond.

    Attributes:
        count: number of bins, the two outer ones included.
        width: of an inner bin.
    """

    def __init__(self, low: float, high: float, inner: int) -> None:
        self._low = low
        self.count = inner + 2
        self.width = (high - low) / inner
        self._scale = 1 / self.width if self.width > 0 and math.isfinite(1 / self.width) else 0.0
        self._shift = 1.0 - low * self._scale

    def positions(self, values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Bin of each value, and the way through it as the fraction; never decreasing in the value."""
        # Two separate roundings: the same for a value wherever it stands in a tensor, which one fused would not be.
        return values.mul(self._scale).add_(self._shift).clamp_(0.0, self.count - 0.5)


class DyadicBins:
    """Bins that hold [low, high], of a width w that is a power of two: [j w, (j + 1) w) for successive integers j.

    Dividing by w and taking off the integer part are then exact: the way from the middle of a bin is told from the
    value alone, without a look-up, and to the value's last digit.

    Attributes:
        count: number of bins.
        width: the greatest power of two up to `widest`.
        exact: whether [low, high] is within reach of exact division.
    """

    FARTHEST = 1 << 22
    """Values are counted exactly in widths up to here."""

    def __init__(self, low: float, high: float, widest: float) -> None:
        self.width = 2.0 ** math.floor(math.log2(widest))
        self._first = math.floor(low / self.width)
        self.count = math.floor(high / self.width) - self._first + 1
        self.exact = max(-low, high) < self.FARTHEST * self.width

    def positions(self, values: Float[Tensor, " n"]) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
        """Bin of each value, int32, and its way from the middle of that bin, in widths: from −1/2 to 1/2."""
        scaled = values.mul(1 / self.width)
        middle = scaled.floor().add_(0.5)
        return middle.sub(self._first).int(), scaled.sub_(middle)

    def centre(self) -> Float[Tensor, " b"]:
        """Values at the middle of each bin."""
        return (torch.arange(self.count, dtype=torch.float64) + (self._first + 0.5)) * self.width


class Codes:
    """Tells where weights lie relative to sorted breakpoints t_0 ≤ t_1 ≤ … ≤ t_{m−1}.

    The code of a weight is 2·(number of breakpoints below it), plus 1 if it equals one: 0 below all of them, odd on a
    breakpoint, 2m above all. Each weight is put in a bin, and compared with the few breakpoints in that bin alone.
    """

    INNER_BINS = 1 << 12
    MOST_IN_A_BIN = 4

    def __init__(self, breakpoints: Float[Tensor, " m"]) -> None:
        self.breakpoints = breakpoints
        low, high = breakpoints[[0, -1]].tolist()
        self._bins = UniformBins(low, high, self.INNER_BINS)
        bins = self._bins.positions(breakpoints).int()
        per_bin = torch.bincount(bins, minlength=self._bins.count)
        self._below = (per_bin.cumsum(0) - per_bin).int()
        self._most = int(per_bin.max())
        beyond = breakpoints.new_full((1,), math.inf)
        self._padded = torch.cat([breakpoints, beyond])

    def of(self, weights: Float[Tensor, " n"]) -> Int[Tensor, " n"]:
        """Codes, int32."""
        if self._most > self.MOST_IN_A_BIN:
            # Breakpoints crowd together in a corner of their range: bins would not tell them apart.
            below = torch.bucketize(weights, self.breakpoints, out_int32=True)
        else:
            below = self._below.index_select(0, self._bins.positions(weights).int())
            for _ in range(self._most - 1):
                below.add_(weights > self._padded.index_select(0, below))
        side = weights.sub(self._padded.index_select(0, below)).sign_()
        return below.mul_(2).add_(side.add_(1).int())
