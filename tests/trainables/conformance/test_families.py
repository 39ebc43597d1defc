"""The conformance kit of families: it accepts our own, and names the fault and the worst weight of a wrong one."""

import pytest
import torch
from torch import Tensor

from trainables.config import PenaltyForm
from trainables.conformance.families import check_family
from trainables.regularizers import family
from trainables.regularizers.application import draw_by_gradient
from trainables.regularizers.nearest import NearestDistance
from trainables.regularizers.own.function_penalty import FunctionPenalty
from trainables.regularizers.representatives import FreeRepresentatives, LearnedGrid


def squared(weights: Tensor, representatives: Tensor) -> Tensor:
    return (weights[:, None] - representatives).square().amin(1)


def made(function: object, trained: bool = True) -> object:
    return lambda weights, levels, form: FunctionPenalty(function, trained, weights, levels, form)  # type: ignore


def faults(make: object) -> dict[str, str]:
    return {found.name: found.detail for found in check_family(make) if not found.passed}  # type: ignore[arg-type]


@pytest.mark.parametrize("trained", [True, False])
def test_plain_function_passes(trained: bool) -> None:
    assert faults(made(squared, trained)) == {}


def test_function_equals_the_closed_form_of_the_same_penalty() -> None:
    layer = torch.randn(3000, generator=torch.Generator().manual_seed(0))
    form = PenaltyForm(squared=True, initial="kmeans")
    ours, own = NearestDistance.free(layer, 8, form), FunctionPenalty(squared, True, layer, 8, form)
    gradients = []
    for regularizer in (ours, own):
        gradient = torch.zeros_like(layer)
        regularizer.add_gradient(layer, gradient, 0.7)
        gradients.append(gradient)
        assert regularizer.steepest == pytest.approx(ours.steepest, rel=0.7)
        assert regularizer.half_spacing == ours.half_spacing
    torch.testing.assert_close(*gradients)
    torch.testing.assert_close(own.state.grad, ours.state.grad)
    assert own.value(layer) == pytest.approx(ours.value(layer), rel=1e-6)


class WrongBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, weights: Tensor) -> Tensor:
        ctx.save_for_backward(weights)  # type: ignore[attr-defined]
        return weights.square()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        (weights,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return gradient * 2 * weights * (1 + (weights > 0.05))


def test_wrong_gradient_is_refused_and_the_worst_weight_named() -> None:
    wrong = faults(made(lambda weights, representatives: WrongBackward.apply(weights), trained=False))
    assert set(wrong) == {f"gradient of the weights, K = {levels}" for levels in (2, 4, 16)}
    detail = wrong["gradient of the weights, K = 4"]
    worst, received, expected = (
        float(detail.split(f"{before} ")[1].split(",")[0].split(" ")[0])
        for before in ("weight is", "gradient", "instead of")
    )
    assert worst > 0.05
    assert received == pytest.approx(4 * worst, rel=1e-3)
    assert expected == pytest.approx(2 * worst, rel=1e-3)


class Overwriting(NearestDistance):
    def add_gradient(self, weights: Tensor, gradient: Tensor, strength: float) -> None:
        gradient.zero_()
        super().add_gradient(weights, gradient, strength)


class ChangingWeights(NearestDistance):
    def add_gradient(self, weights: Tensor, gradient: Tensor, strength: float) -> None:
        super().add_gradient(weights, gradient, strength)
        weights.mul_(1.0001)


class ByPlace(NearestDistance):
    def add_gradient(self, weights: Tensor, gradient: Tensor, strength: float) -> None:
        super().add_gradient(weights[:200_000], gradient[:200_000], strength)


class Forgetful(NearestDistance):
    count = 0

    def __init__(self, positions: FreeRepresentatives | LearnedGrid, form: PenaltyForm, num_weights: int) -> None:
        super().__init__(positions, form, num_weights)
        Forgetful.count += 1
        self._factor = float(Forgetful.count)

    def value(self, weights: Tensor) -> float:
        return self._factor * super().value(weights)

    def add_gradient(self, weights: Tensor, gradient: Tensor, strength: float) -> None:
        super().add_gradient(weights, gradient, self._factor * strength)


class ForgettingRepresentatives(NearestDistance):
    def add_gradient(self, weights: Tensor, gradient: Tensor, strength: float) -> None:
        super().add_gradient(weights, gradient, strength)
        assert self.state.grad is not None
        self.state.grad.zero_()


class DrawingTooFar(NearestDistance):
    def draw(self, weights: Tensor, distance: float) -> None:
        draw_by_gradient(self, weights, torch.empty_like(weights), 1.5 * distance)


@pytest.mark.parametrize(
    ("wrong", "promise", "text"),
    [
        (Overwriting, "in-place contract", "must add to the gradient; it is off by"),
        (ChangingWeights, "in-place contract", "must not change the weights"),
        (ByPlace, "independence of chunks", "depends on its place in the layer"),
        (DrawingTooFar, "decoupled step", "draw moves weight"),
        (Forgetful, "restore of the state", "after a restore of its state the penalty has another value"),
        (ForgettingRepresentatives, "gradient of the representatives, K = 2", "the worst representative is"),
    ],
)
def test_broken_promises_are_named(wrong: type[NearestDistance], promise: str, text: str) -> None:
    assert text in faults(wrong.free)[promise]


@family(formula="x", source="y", trained=True)
def _raises(weights: Tensor, representatives: Tensor) -> Tensor:
    raise ZeroDivisionError("here")


def test_errors_of_the_code_are_told_with_their_place() -> None:
    wrong = faults(made(_raises))
    assert "ZeroDivisionError: here (" in wrong["in-place contract"]
    assert "test_families.py" in wrong["in-place contract"]
    table = faults(made(lambda weights, representatives: (weights[:, None] - representatives).abs()))
    assert "the penalty of each weight must have shape (448,), got (448, 8)" in table["in-place contract"]
