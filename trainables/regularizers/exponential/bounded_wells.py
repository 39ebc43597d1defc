"""RE with `bounded`: a well of bounded depth around the nearest representative."""

import math

import torch
from torch import Tensor

from trainables.codebooks.assignment import assign
from trainables.regularizers.chunks import chunks
from trainables.regularizers.exponential.soft_minimum import rows_in_chunk
from trainables.regularizers.exponential.wells import ExponentialWells
from trainables.regularizers.reduction import reduction_divisor
from trainables.shapes import Float


class BoundedWells(ExponentialWells):
    """The penalty 1 − max_k exp(−(w − r_k)²/τ) of each weight w.

    `form.scale` multiplies it by τ, which gives it the curvature of the squared distance, as the soft minimum has.

    Source: `trainables.families`, RE.
    """

    @property
    def steepest(self) -> float:
        """The slope at (w − r)² = τ/2; see `Regularizer.steepest`."""
        depth = self.tau if self.form.scale else 1.0
        return depth * math.sqrt(2 / self.tau) * math.exp(-0.5) / self._divisor

    def add_gradient(self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"], strength: float) -> None:
        """Add the penalty's gradient in place; see `Regularizer.add_gradient`."""
        strength *= 1 / reduction_divisor(self.form, len(weights))
        if not self.form.scale:
            strength /= self.tau
        values = self.representatives.detach()
        pull = torch.zeros_like(values, dtype=torch.float64)
        for weight, grad in chunks(weights, gradient):
            level = assign(weight, values)
            offset = weight - values.index_select(0, level)
            slope = offset.mul(offset.square().div_(-self.tau).exp_()).mul_(2 * strength)
            # Midway between two representatives the penalty has a kink.
            following = values.index_select(0, (level + 1).clamp_(max=len(values) - 1))
            slope.masked_fill_((offset == following - weight) & (offset > 0), 0.0)
            pull.index_add_(0, level, slope.double())
            grad.add_(slope)
        assert self.representatives.grad is not None
        self.representatives.grad.sub_(pull.to(values.dtype))

    def value(self, weights: Float[Tensor, " n"]) -> float:
        """Return the layer's penalty; see `Regularizer.value`."""
        values = self.representatives.detach()
        depth = self.tau if self.form.scale else 1.0
        total = 0.0
        for weight in weights.split(rows_in_chunk(len(values))):
            logits = (weight[:, None] - values).square_().div_(-self.tau)
            total += torch.expm1(logits.amax(1)).neg_().mul_(depth).sum(dtype=torch.float64).item()
        return total * (1 / reduction_divisor(self.form, len(weights)))
