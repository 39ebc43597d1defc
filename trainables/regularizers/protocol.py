"""The interfaces of a family: what it keeps for a layer, how its penalty pulls, and which weights the network sees.

A family makes one object for each layer (`trainables.regularizers.registry`). Every such object is a `LayerQuantizer`.
It is a `Regularizer` as well if the family has a penalty, a `DrawnRegularizer` if it takes the decoupled step of that
penalty itself, a `ProximalRegularizer` if the proximal step is known, and a `WeightTransform` if the forward pass uses
other values than the weights themselves. The regularize phase asks for no more than these interfaces
(`trainables.phases`). In a step, it calls

1. `progress`, with the share of the phase that is over;
2. `WeightTransform.transform`, before the forward pass, and `WeightTransform.chain`, after the backward pass;
3. `Regularizer.add_gradient`, before the optimizer's step (coupled) or after it (decoupled, within the step that
   `trainables.regularizers.application` takes, or by `DrawnRegularizer.draw`), or `ProximalRegularizer.shrink`, after
   it (proximal);
4. an Adam step on `state`, if it requires a gradient.
"""

from typing import Protocol, runtime_checkable

from torch import Tensor

from trainables.shapes import Float


@runtime_checkable
class LayerQuantizer(Protocol):
    """The representatives of one layer during the regularize phase."""

    @property
    def state(self) -> Float[Tensor, " s"]:
        """All that the next step depends on, besides the weights, the place in the phase and the constructor's result.

        The state is the representatives themselves, (K,), or what they follow from, such as the step of a grid, (1,). A
        checkpoint holds nothing else of the object: a resumed run constructs it again from the weights with which the
        phase began. If the state requires a gradient, it is trained with the weights: it has a `.grad`, and is sorted
        after each step.
        """

    @property
    def representatives(self) -> Float[Tensor, " k"]:
        """Values that the weights may take after quantization, (K,) in increasing order."""

    def progress(self, fraction: float) -> None:
        """Set how much of the phase is over; called before each step.

        Args:
            fraction: in [0, 1).
        """


@runtime_checkable
class Regularizer(LayerQuantizer, Protocol):
    """The penalty of one layer."""

    @property
    def half_spacing(self) -> float:
        """Half the mean distance of neighbouring representatives, in units of the weights."""

    @property
    def steepest(self) -> float:
        """The greatest slope of a weight between two neighbouring representatives, not multiplied by λ."""

    def add_gradient(self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"], strength: float) -> None:
        """Add the penalty's gradient in place.

        Adds strength · ∂penalty/∂w to `gradient`, and strength · ∂penalty/∂state to `state.grad` if the state is
        trained.

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


@runtime_checkable
class DrawnRegularizer(Regularizer, Protocol):
    """A penalty with a decoupled step of its own, which knows the nearest representatives without a search."""

    def draw(self, weights: Float[Tensor, " n"], distance: float) -> None:
        """Move each weight against the slope, by `distance` times the slope, but never past its nearest representative.

        Leaves ∂penalty/∂state, at the weights before the step, in `state.grad` if the state is trained.

        Args:
            weights: (n,), the layer's weights after the optimizer's step; changed in place.
            distance: how far a weight at slope 1 moves, at least 0, in units of the weights.
        """


@runtime_checkable
class ProximalRegularizer(Regularizer, Protocol):
    """A penalty whose proximal step is known in closed form."""

    def shrink(self, weights: Float[Tensor, " n"], scratch: Float[Tensor, " n"], distance: float) -> None:
        """Replace the weights by the proximal step of `distance` · penalty, in place.

        Leaves ∂penalty/∂state, at the weights before the step, in `state.grad` if the state is trained.

        Args:
            weights: (n,), the layer's weights after the optimizer's step; changed in place.
            scratch: (n,), overwritten.
            distance: factor of the penalty, at least 0.
        """


@runtime_checkable
class WeightTransform(LayerQuantizer, Protocol):
    """The values that the forward pass uses in place of one layer's weights.

    The optimizer trains the weights themselves.
    """

    def transform(self, weights: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return the values for the forward pass.

        Args:
            weights: (n,), the layer's weights; not changed.
        """

    def chain(self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"]) -> None:
        """Turn the gradient of the transformed weights into that of the weights, in place.

        Adds the gradient of the state to `state.grad` if the state is trained.

        Args:
            weights: (n,), the argument of the last call of `transform`; not changed.
            gradient: (n,), gradient of the loss with respect to the result of that call; changed in place.
        """
