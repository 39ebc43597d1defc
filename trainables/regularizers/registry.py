"""How weights are drawn to representatives while a network trains: the families that have a penalty, by name.

A regularizer belongs to one layer. It adds the gradient of its penalty in place, in closed form, in pieces that fit
the cache, so that it needs a fixed amount of extra memory whatever K is. Formulas, and whose they are:
`trainables.families`. Where a penalty has a kink, its derivative is 0.
"""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from trainables.config import PenaltyForm
from trainables.regularizers.nearest import NearestDistance
from trainables.regularizers.periodic import PeriodicWells
from trainables.regularizers.soft_minimum import SoftMinimum
from trainables.shapes import Float


class Regularizer(Protocol):
    """The penalty of one layer.

    Attributes:
        representatives: (k,), in increasing order; with a `.grad` where they are trained.
    """

    representatives: Float[Tensor, " k"]

    def add_gradient(self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"], strength: float) -> None:
        """Adds strength · ∂penalty/∂w to `gradient` in place, and ∂/∂r to `representatives.grad` where trained.

        Args:
            weights: of the layer, flat.
            gradient: of the loss with respect to them, flat; changed.
            strength: λ ≥ 0.
        """

    def value(self, weights: Float[Tensor, " n"]) -> float:
        """The layer's penalty, before λ."""

    def progress(self, fraction: float) -> None:
        """Told before each step how much of the phase is over, in [0, 1)."""


REGULARIZERS: dict[str, Callable[[Float[Tensor, " n"], int, PenaltyForm], Regularizer]] = {
    "RS": PeriodicWells.sine,
    "RC": PeriodicWells.cosine,
    "RM": NearestDistance,
    "RE": SoftMinimum,
}
"""Makes the regularizer of a layer from its flat weights, K and the switches; `none` has none."""
