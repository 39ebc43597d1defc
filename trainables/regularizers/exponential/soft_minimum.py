"""RE: a soft minimum of the squared distances to all representatives."""

import torch
from torch import Tensor

from trainables.regularizers.chunks import CPU_CHUNK
from trainables.regularizers.exponential.wells import ExponentialWells
from trainables.regularizers.exponential.windows import EXACT_LEVELS, windows
from trainables.regularizers.lookup.slope_table import SlopeTable
from trainables.regularizers.reduction import reduction_divisor
from trainables.shapes import Float


class SoftMinimum(ExponentialWells):
    """The penalty −τ log Σ_k exp(−(w − r_k)²/τ) of each weight w.

    Source: `trainables.families`, RE.
    """

    @property
    def steepest(self) -> float:
        """The slope of the squared distance at the rim of a well; see `Regularizer.steepest`."""
        return 2 * self.half_spacing / self._divisor

    def add_gradient(self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"], strength: float) -> None:
        """Add the penalty's gradient in place; see `Regularizer.add_gradient`."""
        strength *= 1 / reduction_divisor(self.form, len(weights))
        values = self.representatives.detach()
        table = SlopeTable.build(weights, values, self.tau)
        if table is not None:
            pull = table.add_gradient(weights, gradient, strength)
        else:
            slopes, pull = evaluate_slopes(weights, values, self.tau, strength)
            gradient.add_(slopes)
        assert self.representatives.grad is not None
        self.representatives.grad.sub_(pull.to(values.dtype))

    def value(self, weights: Float[Tensor, " n"]) -> float:
        """Return the layer's penalty; see `Regularizer.value`."""
        values = self.representatives.detach()
        total = 0.0
        if uses_windows(weights, values):
            for chosen, near in windows(weights, values, self.tau):
                logits = (weights[chosen, None] - values[near]).square_().div_(-self.tau)
                total += logits.logsumexp(1).mul_(-self.tau).sum(dtype=torch.float64).item()
            return total * (1 / reduction_divisor(self.form, len(weights)))
        for weight in weights.split(rows_in_chunk(len(values))):
            logits = (weight[:, None] - values).square_().div_(-self.tau)
            total += logits.logsumexp(1).mul_(-self.tau).sum(dtype=torch.float64).item()
        return total * (1 / reduction_divisor(self.form, len(weights)))


def evaluate_slopes(
    weights: Float[Tensor, " n"], values: Float[Tensor, " k"], tau: float, strength: float
) -> tuple[Float[Tensor, " n"], Float[Tensor, " k"]]:
    """Return strength · slope of each weight, and the part that each representative has in it.

    Up to `EXACT_LEVELS` representatives, all are evaluated, in O(n K) time. Above, those that are negligible to a
    weight are left out.

    Args:
        weights: (n,).
        values: (K,), the representatives.
        tau: the temperature, in squared units of the weights.
        strength: factor of the slope.

    Returns:
        The slopes, (n,), and the parts of them that each representative causes, summed over the weights, (K,), float64.
    """
    slopes = torch.empty_like(weights)
    pull = torch.zeros_like(values, dtype=torch.float64)
    if uses_windows(weights, values):
        for chosen, near in windows(weights, values, tau):
            offset = weights[chosen, None] - values[near]
            pulls = offset.mul_(offset.square().div_(-tau).softmax(1)).mul_(2 * strength)
            pull[near].add_(pulls.sum(0, dtype=torch.float64))
            slopes[chosen] = pulls.sum(1)
        return slopes, pull
    rows = rows_in_chunk(len(values))
    for weight, slope in zip(weights.split(rows), slopes.split(rows), strict=True):
        offset = weight[:, None] - values
        pulls = offset.mul_(offset.square().div_(-tau).softmax(1)).mul_(2 * strength)
        pull.add_(pulls.sum(0, dtype=torch.float64))
        slope.copy_(pulls.sum(1))
    return slopes, pull


def uses_windows(weights: Float[Tensor, " n"], values: Float[Tensor, " k"]) -> bool:
    """Return whether to leave out negligible representatives (`windows`): for a large K, if all weights are finite."""
    return len(values) > EXACT_LEVELS and bool(weights.isfinite().all())


def rows_in_chunk(num_levels: int) -> int:
    """Return how many weights fill a chunk when each is compared with all `num_levels` representatives."""
    return max(1, CPU_CHUNK // num_levels)
