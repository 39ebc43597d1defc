"""The interface of a regularizer."""

from typing import Protocol, runtime_checkable

from torch import Tensor

from trainables.shapes import Float


@runtime_checkable
class Regularizer(Protocol):
    """The penalty of one layer.

    Attributes:
        representatives: (K,) in increasing order; has a `.grad` if it is trained.
    """

    representatives: Float[Tensor, " k"]

    @property
    def half_spacing(self) -> float:
        """Half the mean distance of neighbouring representatives, in units of the weights."""

    @property
    def steepest(self) -> float:
        """The greatest slope of a weight between two neighbouring representatives, not multiplied by λ."""

    def add_gradient(self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"], strength: float) -> None:
        """Add the penalty's gradient in place.

        Adds strength · ∂penalty/∂w to `gradient`, and strength · ∂penalty/∂r to `representatives.grad` if the
        representatives are trained.

        Args:
            weights: (n,), the layer's weights; not changed.
            gradient: (n,), gradient of the loss with respect to the weights; changed in place.
            strength: λ ≥ 0.
        """

    def value(self, weights: Float[Tensor, " n"]) -> float:
        """Return the layer's penalty, not multiplied by λ.

        Args:
            weights: (n,), the layer's weights.
        """

    def progress(self, fraction: float) -> None:
        """Set how much of the phase is over; called before each step.

        Args:
            fraction: in [0, 1).
        """
