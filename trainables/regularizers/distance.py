"""Penalties that measure the distance from each weight to the representative in whose cell it lies."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from trainables.config import PenaltyForm
from trainables.regularizers.chunks import chunks
from trainables.regularizers.lookup.cells import Cells
from trainables.regularizers.reduction import reduction_divisor
from trainables.regularizers.representatives import FreeRepresentatives, LearnedGrid, mean_spacing
from trainables.shapes import Float


class Distance(ABC):
    """The penalty |w − r| of each weight w, or (w − r)² with `form.squared`, with r the representative of its cell.

    The slope in w depends only on where w lies among the representatives and the ends of their cells, so one code
    per weight (`trainables.regularizers.lookup.cells`) gives its slope and its level. A representative's gradient is
    the negated sum of the slopes of its weights.
    """

    def __init__(self, positions: FreeRepresentatives | LearnedGrid, form: PenaltyForm, num_weights: int) -> None:
        """Make the penalty of `num_weights` weights from the positions of its representatives."""
        self.form = form
        self._positions = positions
        self._divisor = reduction_divisor(form, num_weights)

    @abstractmethod
    def _cells(self, weights: Float[Tensor, " n"]) -> Cells:
        """Return the cells of the representatives.

        Args:
            weights: (n,), all weights of the layer.
        """

    @property
    def state(self) -> Float[Tensor, " s"]:
        """The representatives, or the step of their grid, trained; see `LayerQuantizer`."""
        return self._positions.state

    @property
    def representatives(self) -> Float[Tensor, " k"]:
        """The representatives, (K,); see `LayerQuantizer.representatives`."""
        return self._positions.values

    @property
    def multiples(self) -> Float[Tensor, " k"] | None:
        """Factors z, (K,), in increasing order; representative k is z_k·|state|. None without a grid."""
        return self._positions.multiples

    @property
    def half_spacing(self) -> float:
        """Half the mean distance of the representatives; see `Regularizer.half_spacing`."""
        return mean_spacing(self.representatives.detach()) / 2

    @property
    def steepest(self) -> float:
        """The slope, or that at the rim of a well if it is squared; see `Regularizer.steepest`."""
        return (2 * self.half_spacing if self.form.squared else 1.0) / self._divisor

    def add_gradient(self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"], strength: float) -> None:
        """Add the penalty's gradient in place; see `Regularizer.add_gradient`."""
        strength *= 1 / reduction_divisor(self.form, len(weights))
        cells = self._cells(weights)
        add = self._add_squared if self.form.squared else self._add_absolute
        pull = add(weights, gradient, strength, cells)
        self._positions.add_gradient(-cells.sums(pull, len(self.representatives)))

    def _add_absolute(
        self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"], strength: float, cells: Cells
    ) -> Float[Tensor, " c"]:
        """Add the gradient of |w − r| in place; return its sum over the weights of each code, (4m − 1,), float64."""
        slopes = cells.by_side(-strength, 0.0, strength, 0.0)
        counts = torch.zeros(len(slopes), dtype=torch.int64, device=weights.device)
        for weight, grad in chunks(weights, gradient):
            code = cells.encode(weight)
            grad.add_(slopes.index_select(0, code))
            counts.add_(torch.bincount(code, minlength=len(slopes)))
        return counts * slopes.double()

    def _add_squared(
        self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"], strength: float, cells: Cells
    ) -> Float[Tensor, " c"]:
        """Add the gradient of (w − r)² in place; return its sum over the weights of each code, (4m − 1,), float64."""
        values = cells.by_cell(cells.values)
        slopes = cells.by_side(2 * strength, 0.0, 2 * strength, 0.0)
        offsets = torch.zeros(len(slopes), dtype=torch.float64, device=weights.device)
        for weight, grad in chunks(weights, gradient):
            code = cells.encode(weight)
            offset = weight.sub(values.index_select(0, code))
            offsets.index_add_(0, code, offset.double())  # the two sides of a level may cancel: nothing is rounded yet
            grad.add_(offset.mul_(slopes.index_select(0, code)))
        return offsets * slopes.double()

    def value(self, weights: Float[Tensor, " n"]) -> float:
        """Return the layer's penalty; see `Regularizer.value`."""
        cells = self._cells(weights)
        values = cells.by_cell(cells.values)
        costs = None if cells.costs is None else cells.by_cell(cells.costs)
        total = 0.0
        for (weight,) in chunks(weights):
            code = cells.encode(weight)
            distance = weight.sub(values.index_select(0, code))
            total += (distance.square_() if self.form.squared else distance.abs_()).sum(dtype=torch.float64).item()
            if costs is not None:
                total += costs.index_select(0, code).sum(dtype=torch.float64).item()
        return total * (1 / reduction_divisor(self.form, len(weights)))
