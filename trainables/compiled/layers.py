"""A layer whose weights are drawn, and whose representatives are trained, by compiled loops."""

from typing import Any

import torch
from torch import Tensor

from trainables.compiled import loops
from trainables.regularizers import application
from trainables.regularizers.chunks import flat
from trainables.regularizers.exponential.soft_minimum import SoftMinimum
from trainables.regularizers.nearest import NearestDistance
from trainables.regularizers.reduction import reduction_divisor
from trainables.shapes import Float

WIDEST_TEMPERATURE = 0.03
"""τ, in squared mean spacings, above which operators are faster: the slope of RE is smooth enough for their table."""


class CompiledLayer:
    """A layer on a CPU with the penalty of RM or RE, and at least two representatives, each trained by itself.

    Attributes:
        pull: (K,), float64: the gradient of the representatives when the weights were last drawn, not multiplied by λ.
    """

    def __init__(
        self, regularizer: NearestDistance | SoftMinimum, weight: Float[Tensor, " ..."], half_spacings: bool
    ) -> None:
        """Take a layer's penalty and weights.

        Args:
            regularizer: the layer's penalty.
            weight: its weights, float32 and dense, in any shape.
            half_spacings: whether the weights are drawn by half-spacings.
        """
        self._regularizer, self._weight = regularizer, weight
        self._half_spacings = half_spacings
        # The steepest slope of a squared distance, half a spacing from the representative, grows with the spacing.
        self._squared = isinstance(regularizer, SoftMinimum) or regularizer.form.squared
        self._factor = 1 / reduction_divisor(regularizer.form, weight.numel())
        self.pull = torch.zeros(len(regularizer.representatives), dtype=torch.float64)

    def draw(self, amount: float, fraction: float) -> None:
        """Draw the weights, none past its nearest representative, and sum their slopes up in `pull`.

        Args:
            amount: how far a weight is drawn: in half-spacings at the steepest slope, or in units of the weights at
                slope 1.
            fraction: share of the phase that is over.
        """
        values = self._regularizer.representatives.detach().numpy()
        weights = flat(self._weight.detach())
        spacing = float(values[-1] - values[0]) / (len(values) - 1) or 1.0
        steepest = self._factor * (spacing if self._squared else 1.0)
        distance = amount * spacing / 2 / steepest if self._half_spacings else amount
        tau = 0.0
        if isinstance(self._regularizer, SoftMinimum):
            self._regularizer.anneal(fraction, spacing)
            tau = self._regularizer.tau
        is_smooth = tau > WIDEST_TEMPERATURE * spacing**2
        own = weights.numpy(), values, tau, self._squared, self._factor, distance, self.pull.numpy()
        if is_smooth or not loops.draw(*own):
            self._draw_by_operators(weights, distance)

    def _draw_by_operators(self, weights: Float[Tensor, " n"], distance: float) -> None:
        pull = self._regularizer.representatives.grad
        assert pull is not None
        pull.zero_()
        application.draw(self._regularizer, weights, torch.empty_like(weights), distance)
        self.pull.copy_(pull)

    def train(self, optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> None:
        """Take a step of Adam with the representatives, along `pull`, and put them back in order.

        Args:
            optimizer: an Adam; it gets moments of 0 for the representatives where it has none yet.
            group: that of its groups which holds them.
        """
        representatives = self._regularizer.representatives
        state = optimizer.state[representatives]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(representatives)
            state["exp_avg_sq"] = torch.zeros_like(representatives)
        state["step"] += 1
        loops.adam_step(
            representatives.detach().numpy(),
            state["exp_avg"].numpy(),
            state["exp_avg_sq"].numpy(),
            self.pull.numpy(),
            group["lr"],
            tuple(group["betas"]),
            group["eps"],
            state["step"].item(),
        )
