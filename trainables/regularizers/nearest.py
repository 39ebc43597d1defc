"""RM, and MSQE on a grid: the distance from each weight to its nearest representative."""

from dataclasses import replace

from torch import Tensor

from trainables.config import PenaltyForm
from trainables.regularizers.application import draw, shrink_squared
from trainables.regularizers.distance import Distance
from trainables.regularizers.lookup.cells import Cells
from trainables.regularizers.reduction import reduction_divisor
from trainables.regularizers.representatives import FreeRepresentatives, LearnedGrid
from trainables.shapes import Float


class NearestDistance(Distance):
    """The penalty |w − r| of each weight w with its nearest representative r, or (w − r)² with `form.squared`.

    Source: `trainables.families`, RM and MSQE.
    """

    @classmethod
    def free(cls, weights: Float[Tensor, " n"], num_levels: int, form: PenaltyForm) -> "NearestDistance":
        """Return RM, with `num_levels` representatives among a layer's weights, (n,), as `form.initial` says."""
        return cls(FreeRepresentatives(weights, num_levels, form.initial), form, len(weights))

    @classmethod
    def on_grid(cls, weights: Float[Tensor, " n"], num_levels: int, form: PenaltyForm) -> "NearestDistance":
        """Return MSQE of a layer's weights, (n,): always squared, on a grid of `num_levels` whose step is trained."""
        grid = LearnedGrid(weights, num_levels, fitted=True)
        return cls(grid, replace(form, squared=True), len(weights))

    def _cells(self, weights: Float[Tensor, " n"]) -> Cells:
        """Return the cells of all representatives: they meet midway."""
        values = self.representatives.detach()
        return Cells(values, (values[1:] + values[:-1]) / 2)

    def shrink(self, weights: Float[Tensor, " n"], scratch: Float[Tensor, " n"], distance: float) -> None:
        """Take the penalty's proximal step; see `ProximalRegularizer.shrink`."""
        if self.form.squared:
            shrink_squared(self, weights, scratch, distance / reduction_divisor(self.form, len(weights)))
        else:
            draw(self, weights, scratch, distance)  # a step along slope 1 that stops at the representative is exact

    def progress(self, fraction: float) -> None:
        """Do nothing: the penalty stays the same over the phase."""
