"""BinReg: the mean and the variance of the weights of each bin of a grid."""

import torch
from torch import Tensor

from trainables.codebooks.assignment import assign
from trainables.config import PenaltyForm
from trainables.regularizers.chunks import chunks
from trainables.regularizers.reduction import reduction_divisor
from trainables.regularizers.representatives import LearnedGrid, OnLearnedGrid
from trainables.shapes import Float, Int


class BinRegularization(OnLearnedGrid):
    """The penalty Σ_k (mean_k − r_k)² + variance_k over the bins k: the weights that are nearest to representative r_k.

    The two terms of a bin are together the mean of its squared distances, so that with n_k weights in its bin the
    penalty of one weight is (w − r_k)²/n_k. With `form.scale` it is multiplied by the mean number of weights in a bin,
    n/K, which gives a bin of that size the curvature of the squared distance.

    Source: `trainables.families`, BinReg.
    """

    def __init__(self, weights: Float[Tensor, " n"], num_levels: int, form: PenaltyForm) -> None:
        """Place a grid of `num_levels` over a layer's weights, (n,)."""
        self.form = form
        self._grid = LearnedGrid(weights, num_levels, fitted=True)
        self._share_of_mean_bin = self.factor(len(weights), num_levels) / (len(weights) / num_levels)

    @property
    def half_spacing(self) -> float:
        """Half the step of the grid; see `Regularizer.half_spacing`."""
        return self._grid.step.item() / 2

    @property
    def steepest(self) -> float:
        """The slope at the rim of a bin of mean size; see `Regularizer.steepest`. It is steeper in smaller bins."""
        return 2 * self.half_spacing * self._share_of_mean_bin

    def factor(self, num_weights: int, num_levels: int) -> float:
        """Return the factor of the mean of squared distances of each bin."""
        scale = num_weights / num_levels if self.form.scale else 1.0
        return scale / reduction_divisor(self.form, num_weights)

    def _shares(self, weights: Float[Tensor, " n"]) -> Float[Tensor, " k"]:
        """Return the factor of (w − r_k)² in each bin, (K,)."""
        values = self.representatives
        sizes = torch.zeros(len(values), dtype=torch.int64, device=weights.device)
        for (weight,) in chunks(weights):
            sizes.add_(torch.bincount(assign(weight, values), minlength=len(values)))
        return self.factor(len(weights), len(values)) / sizes.clamp(min=1).to(weights.dtype)

    def _offsets(self, weights: Float[Tensor, " m"]) -> tuple[Int[Tensor, " m"], Float[Tensor, " m"]]:
        """Return the bin of each weight, and its offset from the representative; 0 midway, at a kink of the penalty."""
        values = self.representatives
        level = assign(weights, values)
        offset = weights - values.index_select(0, level)
        following = values.index_select(0, (level + 1).clamp_(max=len(values) - 1))
        return level, offset.masked_fill_((offset == following - weights) & (offset > 0), 0.0)

    def add_gradient(self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"], strength: float) -> None:
        """Add the penalty's gradient in place; see `Regularizer.add_gradient`."""
        shares = self._shares(weights)
        offsets = torch.zeros(len(shares), dtype=torch.float64, device=weights.device)
        for weight, grad in chunks(weights, gradient):
            level, offset = self._offsets(weight)
            offsets.index_add_(0, level, offset.double())  # the two sides of a bin may cancel: nothing is rounded yet
            grad.add_(offset.mul_(shares.index_select(0, level)).mul_(2 * strength))
        self._grid.add_gradient(offsets.mul_(shares).mul_(-2 * strength))

    def value(self, weights: Float[Tensor, " n"]) -> float:
        """Return the layer's penalty; see `Regularizer.value`."""
        shares, values = self._shares(weights), self.representatives
        total = 0.0
        for (weight,) in chunks(weights):
            level = assign(weight, values)
            squares = weight.sub(values.index_select(0, level)).square_().mul_(shares.index_select(0, level))
            total += squares.sum(dtype=torch.float64).item()
        return total

    def shrink(self, weights: Float[Tensor, " n"], scratch: Float[Tensor, " n"], distance: float) -> None:
        """Take the penalty's proximal step; see `ProximalRegularizer.shrink`."""
        self.add_gradient(weights, scratch.zero_(), 1.0)
        shares, values = self._shares(weights), self.representatives
        for (weight,) in chunks(weights):
            level = assign(weight, values)
            kept = shares.index_select(0, level).mul_(2 * distance).add_(1).reciprocal_()
            weight.copy_(torch.lerp(values.index_select(0, level), weight, kept))

    def progress(self, fraction: float) -> None:
        """Do nothing: the penalty stays the same over the phase."""
