"""Cells of a line: the intervals whose weights belong to one representative each."""

import math

import torch
from torch import Tensor

from trainables.regularizers.lookup.codes import BreakpointCodes
from trainables.shapes import Float, Int


class Cells:
    """The cells of m representatives in increasing order, and tables over the codes of weights.

    A weight's code (`BreakpointCodes`) tells its cell, and its side of the representative. Four codes
    belong to a cell: below its representative, on it, above it, and on the end to the next cell.

    Attributes:
        values: (m,), the representatives, in increasing order.
        costs: (m,), cost of each level, added to the distance of its weights; None if all are 0.
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
            costs: (m,), cost of each level, added to the distance of its weights; None if all are 0.
        """
        self.values, self.costs = values, costs
        self._levels = levels
        breakpoints = values.new_empty(2 * len(values) - 1)
        # A representative may lie outside its cell, as that of a rare level: all weights of the cell are on one side.
        infinity = ends.new_tensor([math.inf])
        breakpoints[::2] = values.clamp(torch.cat([-infinity, ends]), torch.cat([ends, infinity]))
        breakpoints[1::2] = ends
        self._codes = BreakpointCodes(breakpoints)

    def encode(self, weights: Float[Tensor, " n"]) -> Int[Tensor, " n"]:
        """Return the code of each weight, (n,), int32, in [0, 4m − 2]."""
        return self._codes.encode(weights)

    def by_side(self, below: float, on: float, above: float, end: float) -> Float[Tensor, " c"]:
        """Return a table over the codes, (4m − 1,), of a number that depends only on the side of the representative."""
        return self.values.new_tensor([below, on, above, end]).repeat(len(self.values))[:-1]

    def by_cell(self, numbers: Float[Tensor, " m"]) -> Float[Tensor, " c"]:
        """Return a table over the codes, (4m − 1,), of a number that depends only on the cell."""
        return numbers.repeat_interleave(4)[:-1]

    def sums(self, by_code: Float[Tensor, " c"], num_levels: int) -> Float[Tensor, " k"]:
        """Return the sums of `by_code`, (4m − 1,), over the codes of each level, (K,); 0 for a level without a cell."""
        sums = torch.cat([by_code, by_code.new_zeros(1)]).view(-1, 4).sum(1)
        return sums if self._levels is None else sums.new_zeros(num_levels).index_copy_(0, self._levels, sums)
