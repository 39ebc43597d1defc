"""A layer whose weights are drawn, and whose representatives are trained, by compiled loops."""

import torch
from torch import Tensor

from trainables.compiled import loops
from trainables.regularizers.chunks import flat
from trainables.regularizers.exponential.soft_minimum import SoftMinimum
from trainables.regularizers.nearest import NearestDistance
from trainables.regularizers.reduction import reduction_divisor
from trainables.shapes import Float


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
        self._regularizer = regularizer
        self._weights = flat(weight.detach()).numpy()
        self._values = regularizer.representatives.detach().numpy()
        self._half_spacings = half_spacings
        # The slope is then in proportion to the distance: at the rim of a well, to the spacing.
        self._squared = isinstance(regularizer, SoftMinimum) or regularizer.form.squared
        self._factor = 1 / reduction_divisor(regularizer.form, len(self._weights))
        self.pull = torch.zeros(len(self._values), dtype=torch.float64)
        self._pull = self.pull.numpy()

    def adopt(self, optimizer: torch.optim.Optimizer) -> None:
        """Train the representatives with the moments that an Adam has of them; it gets zeros where it has none yet."""
        state = optimizer.state[self._regularizer.representatives]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(self._regularizer.representatives)
            state["exp_avg_sq"] = torch.zeros_like(self._regularizer.representatives)
        self._steps: Tensor = state["step"]
        self._moments = state["exp_avg"].numpy(), state["exp_avg_sq"].numpy()

    def draw(self, amount: float, fraction: float) -> None:
        """Draw the weights, none past its nearest representative, and sum their slopes up in `pull`.

        Args:
            amount: how far a weight is drawn: in half-spacings at the steepest slope, or in units of the weights at
                slope 1.
            fraction: share of the phase that is over.
        """
        weights, values, factor, pull = self._weights, self._values, self._factor, self._pull
        spacing = float(values[-1] - values[0]) / (len(values) - 1) or 1.0
        steepest = factor * (spacing if self._squared else 1.0)
        distance = amount * spacing / 2 / steepest if self._half_spacings else amount
        tau = 0.0
        if isinstance(self._regularizer, SoftMinimum):
            self._regularizer.anneal(fraction, spacing)
            tau = self._regularizer.tau
        loops.draw(weights, values, tau, self._squared, factor, distance, pull)

    def train(self, learning_rate: float) -> None:
        """Take Adam's step with the representatives along `pull`, and put them back in order."""
        self._steps += 1
        loops.train(self._values, *self._moments, self._pull, learning_rate, self._steps.item())
