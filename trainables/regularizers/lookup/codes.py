"""Integer codes for where weights lie among sorted breakpoints."""

import math

import torch
from torch import Tensor

from trainables.regularizers.lookup.bins import UniformBins
from trainables.shapes import Float, Int


class BreakpointCodes:
    """Codes of weights relative to sorted breakpoints t_0 ≤ t_1 ≤ … ≤ t_{m−1}.

    The code of a weight is 2·(number of breakpoints below it), plus 1 if it equals a breakpoint: 0 below all of them,
    odd on a breakpoint, 2m above all. A weight is compared only with the few breakpoints in its bin.
    """

    INNER_BINS = 1 << 12
    MOST_IN_A_BIN = 4
    """Breakpoints in a bin above which a binary search is used."""

    def __init__(self, breakpoints: Float[Tensor, " m"]) -> None:
        """Sort `breakpoints`, (m,) in increasing order, into bins."""
        self.breakpoints = breakpoints
        low, high = breakpoints[[0, -1]].tolist()
        self._bins = UniformBins(low, high, self.INNER_BINS)
        bins = self._bins.positions(breakpoints).int()
        per_bin = torch.bincount(bins, minlength=self._bins.count)
        self._below = (per_bin.cumsum(0) - per_bin).int()
        self._most = int(per_bin.max())
        beyond = breakpoints.new_full((1,), math.inf)
        self._padded = torch.cat([breakpoints, beyond])

    def encode(self, weights: Float[Tensor, " n"]) -> Int[Tensor, " n"]:
        """Return the code of each weight, (n,), int32, in [0, 2m]."""
        if self._most > self.MOST_IN_A_BIN:
            # Most breakpoints lie in a small part of their range, where bins do not separate them.
            below = torch.bucketize(weights, self.breakpoints, out_int32=True)
        else:
            below = self._below.index_select(0, self._bins.positions(weights).int())
            for _ in range(self._most - 1):
                below.add_(weights > self._padded.index_select(0, below))
        side = weights.sub(self._padded.index_select(0, below)).sign_()
        return below.mul_(2).add_(side.add_(1).int())
