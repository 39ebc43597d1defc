"""RM, and MSQE on a grid: the distance from each weight to its nearest representative."""

from dataclasses import replace

import torch
from torch import Tensor

from trainables.config import PenaltyForm
from trainables.regularizers.application import draw, shrink_squared
from trainables.regularizers.chunks import chunks
from trainables.regularizers.lookup.codes import BreakpointCodes
from trainables.regularizers.reduction import reduction_divisor
from trainables.regularizers.representatives import FreeRepresentatives, LearnedGrid, mean_spacing
from trainables.shapes import Float


class NearestDistance:
    """The penalty |w − r| of each weight w with its nearest representative r, or (w − r)² with `form.squared`.

    The slope in w depends only on where w lies among the representatives and the midpoints between them, so one code
    per weight (`trainables.regularizers.lookup.codes`) gives its slope and its level. A representative's gradient is
    the negated sum of the slopes of its weights.

    Source: `trainables.families`, RM and MSQE.
    """

    def __init__(self, positions: FreeRepresentatives | LearnedGrid, form: PenaltyForm, num_weights: int) -> None:
        """Make the penalty of `num_weights` weights from the positions of its representatives.

        `free` and `on_grid` place them.
        """
        self.form = form
        self._positions = positions
        self._divisor = reduction_divisor(form, num_weights)

    @classmethod
    def free(cls, weights: Float[Tensor, " n"], num_levels: int, form: PenaltyForm) -> "NearestDistance":
        """Return RM, with `num_levels` representatives among a layer's weights, (n,), as `form.initial` says."""
        return cls(FreeRepresentatives(weights, num_levels, form.initial), form, len(weights))

    @classmethod
    def on_grid(cls, weights: Float[Tensor, " n"], num_levels: int, form: PenaltyForm) -> "NearestDistance":
        """Return MSQE: always squared, on a grid of `num_levels` whose step is trained."""
        grid = LearnedGrid(weights, num_levels, fitted=True)
        return cls(grid, replace(form, squared=True), len(weights))

    @property
    def state(self) -> Float[Tensor, " s"]:
        """The representatives, or the step of their grid, trained; see `LayerQuantizer`."""
        return self._positions.state

    @property
    def representatives(self) -> Float[Tensor, " k"]:
        """The representatives, (K,); see `LayerQuantizer.representatives`."""
        return self._positions.values

    @property
    def half_spacing(self) -> float:
        """Half the mean distance of the representatives; see `Regularizer.half_spacing`."""
        return mean_spacing(self.representatives.detach()) / 2

    @property
    def steepest(self) -> float:
        """The slope, or that at the rim of a well if it is squared; see `Regularizer.steepest`."""
        return (2 * self.half_spacing if self.form.squared else 1.0) / self._divisor

    def _codes(self) -> BreakpointCodes:
        """Return codes relative to the representatives and the midpoints between them, in turn."""
        values = self.representatives.detach()
        breakpoints = values.new_empty(2 * len(values) - 1)
        breakpoints[::2] = values
        breakpoints[1::2] = (values[1:] + values[:-1]) / 2
        return BreakpointCodes(breakpoints)

    def _by_code(self, by_side: tuple[float, float, float, float]) -> Float[Tensor, " c"]:
        """Return a value for each code, (4K − 1,).

        Args:
            by_side: the values below, on and above a representative, and midway to the next one.
        """
        values = self.representatives
        return torch.tensor(by_side, device=values.device, dtype=values.dtype).repeat(len(values))[:-1]

    def add_gradient(self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"], strength: float) -> None:
        """Add the penalty's gradient in place; see `Regularizer.add_gradient`."""
        strength *= 1 / reduction_divisor(self.form, len(weights))
        codes = self._codes()
        if self.form.squared:
            pull = self._add_squared(weights, gradient, strength, codes)
        else:
            pull = self._add_absolute(weights, gradient, strength, codes)
        padded = torch.cat([pull, pull.new_zeros(1)])
        self._positions.add_gradient(-padded.view(-1, 4).sum(1))

    def _add_absolute(
        self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"], strength: float, codes: BreakpointCodes
    ) -> Float[Tensor, " c"]:
        """Add the gradient of |w − r| in place; return its sum over the weights of each code, (4K − 1,), float64."""
        slopes = self._by_code((-strength, 0.0, strength, 0.0))
        counts = torch.zeros(len(slopes), dtype=torch.int64, device=weights.device)
        for weight, grad in chunks(weights, gradient):
            code = codes.encode(weight)
            grad.add_(slopes.index_select(0, code))
            counts.add_(torch.bincount(code, minlength=len(slopes)))
        return counts * slopes.double()

    def _add_squared(
        self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"], strength: float, codes: BreakpointCodes
    ) -> Float[Tensor, " c"]:
        """Add the gradient of (w − r)² in place; return its sum over the weights of each code, (4K − 1,), float64."""
        values = self.representatives.detach().repeat_interleave(4)[:-1]
        slopes = self._by_code((2 * strength, 0.0, 2 * strength, 0.0))
        pull = torch.zeros(len(slopes), dtype=torch.float64, device=weights.device)
        for weight, grad in chunks(weights, gradient):
            code = codes.encode(weight)
            slope = weight.sub(values.index_select(0, code)).mul_(slopes.index_select(0, code))
            grad.add_(slope)
            pull.index_add_(0, code, slope.double())  # in float32, the two sides of a level would cancel
        return pull

    def value(self, weights: Float[Tensor, " n"]) -> float:
        """Return the layer's penalty; see `Regularizer.value`."""
        codes = self._codes()
        values = self.representatives.detach().repeat_interleave(4)[:-1]
        total = 0.0
        for (weight,) in chunks(weights):
            distance = weight.sub(values.index_select(0, codes.encode(weight)))
            total += (distance.square_() if self.form.squared else distance.abs_()).sum(dtype=torch.float64).item()
        return total * (1 / reduction_divisor(self.form, len(weights)))

    def shrink(self, weights: Float[Tensor, " n"], scratch: Float[Tensor, " n"], distance: float) -> None:
        """Take the penalty's proximal step; see `ProximalRegularizer.shrink`."""
        if self.form.squared:
            shrink_squared(self, weights, scratch, distance / reduction_divisor(self.form, len(weights)))
        else:
            draw(self, weights, scratch, distance)  # a step along slope 1 that stops at the representative is exact

    def progress(self, fraction: float) -> None:
        """Do nothing: the penalty stays the same over the phase."""
