"""Cells of a line: the intervals whose weights belong to one representative each."""

import math

import torch
from torch import Tensor

from trainables.regularizers.lookup.codes import BreakpointCodes
from trainables.shapes import Float, Int


class Cells:
    """The cells of m representatives, in order, with what a weight's place among them says.

    A weight's code (`BreakpointCodes`) says whose cell it is in, and on which side of the representative. Four codes
    belong to a cell: below its representative, on it, above it, and on the end to the next cell.

    Attributes:
        values: (m,), the representatives, in increasing order.
        costs: (m,), of a weight in each cell, besides its distance; None for 0.
    """

    def __init__(
        self,
        values: Float[Tensor, " m"],
        ends: Float[Tensor, " e"],
        levels: Int[Tensor, " m"] | None = None,
        costs: Float[Tensor, " m"] | None = None,
    ) -> None:
        """Divide the line.

        Args:
            values: (m,), the representatives, in increasing order.
            ends: (m − 1,), where a cell ends and the next one begins, in increasing order.
            levels: (m,), int64, the level of each among all representatives of the layer; None for all of them.
            costs: (m,), of a weight in each cell, besides its distance; None for 0.
        """
        self.values, self.costs = values, costs
        self._levels = levels
        breakpoints = values.new_empty(2 * len(values) - 1)
        # A representative outside of its cell, as of a rare level, has all weights of the cell on one side.
        infinity = ends.new_tensor([math.inf])
        breakpoints[::2] = values.clamp(torch.cat([-infinity, ends]), torch.cat([ends, infinity]))
        breakpoints[1::2] = ends
        self._codes = BreakpointCodes(breakpoints)

    def encode(self, weights: Float[Tensor, " n"]) -> Int[Tensor, " n"]:
        """Return the code of each weight, (n,), int32, in [0, 4m − 2]."""
        return self._codes.encode(weights)

    def by_side(self, below: float, on: float, above: float, end: float) -> Float[Tensor, " c"]:
        """Return the number of each code, (4m − 1,), which depends on the side alone."""
        return self.values.new_tensor([below, on, above, end]).repeat(len(self.values))[:-1]

    def by_cell(self, numbers: Float[Tensor, " m"]) -> Float[Tensor, " c"]:
        """Return the number of each code, (4m − 1,), which depends on the cell alone."""
        return numbers.repeat_interleave(4)[:-1]

    def sums(self, by_code: Float[Tensor, " c"], num_levels: int) -> Float[Tensor, " k"]:
        """Return the sums of numbers of codes, (4m − 1,), over the codes of each level, (K,)."""
        sums = torch.cat([by_code, by_code.new_zeros(1)]).view(-1, 4).sum(1)
        return sums if self._levels is None else sums.new_zeros(num_levels).index_copy_(0, self._levels, sums)
