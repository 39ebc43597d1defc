"""The penalty of a plain function, which autograd differentiates in chunks."""

from collections.abc import Callable

import torch
from torch import Tensor

from trainables.codebooks.placement import grid
from trainables.config import PenaltyForm
from trainables.regularizers.chunks import CPU_CHUNK
from trainables.regularizers.periodic import interval_of
from trainables.regularizers.reduction import reduction_divisor
from trainables.regularizers.representatives import mean_spacing, trainable_representatives
from trainables.shapes import Float

MOST_ENTRIES = 2**23
"""Largest number of entries in the table, weights × representatives, that a function may make of a chunk."""

SLOPES_BETWEEN = 64
"""Weights between two neighbouring representatives at which the steepest slope is searched."""

PenaltyFunction = Callable[[Tensor, Tensor], Tensor]


class FunctionPenalty:
    """The penalty `function(weights, representatives)`.

    Autograd's memory is bounded by differentiating chunks of weights. The switches `squared`, `scale` and `bounded` of
    the form do not change the function.

    Attributes:
        representatives: (K,), trained if the family declares it; otherwise a grid on the layer's interval.
        state: the same tensor.
    """

    def __init__(
        self,
        function: PenaltyFunction,
        trained: bool,
        weights: Float[Tensor, " n"],
        num_levels: int,
        form: PenaltyForm,
    ) -> None:
        """Place the representatives among a layer's weights, (n,).

        Args:
            function: penalty of each weight.
            trained: whether the representatives are trained.
            weights: (n,), the layer's weights when the phase begins.
            num_levels: K.
            form: reduction, initial representatives and interval.
        """
        self._function = function
        self._divisor = reduction_divisor(form, len(weights))
        self.state = (
            trainable_representatives(weights, num_levels, form.initial)
            if trained
            else grid(*interval_of(weights, form), num_levels).to(weights)
        )

    @property
    def representatives(self) -> Float[Tensor, " k"]:
        """The representatives; see `LayerQuantizer.representatives`."""
        return self.state

    @property
    def half_spacing(self) -> float:
        """Half the mean distance of the representatives; see `Regularizer.half_spacing`."""
        return mean_spacing(self.state.detach()) / 2

    @property
    def steepest(self) -> float:
        """The greatest slope, on a fine grid of weights; see `Regularizer.steepest`. 1 where all slopes are 0."""
        values = self.state.detach()
        shares = torch.linspace(0, 1, SLOPES_BETWEEN + 2, device=values.device, dtype=values.dtype)[1:-1]
        between = torch.lerp(values[:-1, None], values[1:, None], shares).flatten()
        largest = max(
            (self._gradients(chunk)[0].abs().max().item() for chunk in between.split(self._length)), default=0.0
        )
        return largest / self._divisor or 1.0

    @property
    def _length(self) -> int:
        return max(1, min(CPU_CHUNK, MOST_ENTRIES // len(self.state)))

    def _penalties(self, weights: Tensor, representatives: Tensor) -> Tensor:
        penalties = self._function(weights, representatives)
        if not isinstance(penalties, Tensor) or penalties.shape != weights.shape:
            got = tuple(penalties.shape) if isinstance(penalties, Tensor) else type(penalties).__name__
            raise ValueError(f"the penalty of each weight must have shape {tuple(weights.shape)}, got {got}")
        return penalties

    def _gradients(self, weights: Float[Tensor, " m"]) -> tuple[Tensor, Tensor]:
        """Return the gradients of the sum of a chunk's penalties: (m,) of the weights, (K,) of the representatives."""
        with torch.enable_grad():
            leaves = (
                weights.detach().clone().requires_grad_(),
                self.state.detach().to(weights.dtype).clone().requires_grad_(),
            )
            total = self._penalties(*leaves).sum()
            if not total.requires_grad:
                return torch.zeros_like(leaves[0]), torch.zeros_like(leaves[1])
            by_weight, by_representative = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
            return by_weight, by_representative

    def add_gradient(self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"], strength: float) -> None:
        """Add the penalty's gradient in place; see `Regularizer.add_gradient`."""
        strength /= self._divisor
        pull = torch.zeros(len(self.state), dtype=torch.float64, device=self.state.device)
        for weight, grad in zip(weights.split(self._length), gradient.split(self._length), strict=True):
            by_weight, by_representative = self._gradients(weight)
            grad.add_(by_weight, alpha=strength)
            pull.add_(by_representative.double(), alpha=strength)
        if self.state.requires_grad:
            assert self.state.grad is not None
            self.state.grad.add_(pull.to(self.state.dtype))

    @torch.no_grad()
    def value(self, weights: Float[Tensor, " n"]) -> float:
        """Return the layer's penalty; see `Regularizer.value`."""
        values = self.state.detach().to(weights.dtype)
        total = sum(
            self._penalties(weight, values).sum(dtype=torch.float64).item() for weight in weights.split(self._length)
        )
        return total / self._divisor

    def progress(self, fraction: float) -> None:
        """Do nothing: the function stays the same over the phase."""
