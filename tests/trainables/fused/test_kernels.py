"""The kernels against the oracle that holds the code for CPUs, and against that code, on the same layers."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from triton.runtime import interpreter

from tests.conformance.test_regularizers import (
    FORMS,
    SPECIAL_KINDS,
    assert_matches_reference,
    displace,
    draw_weights,
    layers,
    soft_form,
    special_weights,
)
from tests.support.autograd_oracle import Reference
from tests.support.examples import examples
from trainables.config import PenaltyForm
from trainables.fused.layers import FusedCodebooks, FusedPenalty
from trainables.fused.layout import AMOUNT, CONTROLS, REPRESENTATIVE_SHARE, TEMPERATURE, UNIT
from trainables.regularizers.application import draw
from trainables.regularizers.periodic import PeriodicWells
from trainables.regularizers.protocol import ProximalRegularizer, Regularizer
from trainables.regularizers.registry import REGULARIZERS
from trainables.regularizers.representatives import mean_spacing

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CHUNK = 256
LAYERS = [
    pytest.param(levels, shape, marks=pytest.mark.slow if levels == 256 and shape != "normal" else ())
    for levels in (2, 16, 256)
    for shape in ("normal", "uniform", "heavy-tailed", "two clusters")
]
FUSED = ("RS", "RC", "RM", "RE", "SinReQ", "MSQE", "BinReg", "RH")


def controls(form: PenaltyForm, amount: float, fraction: float = 0.0) -> Tensor:
    """The numbers of a step: λ and the temperature after a fraction of the phase; learning rates of 0."""
    numbers = torch.zeros(CONTROLS)
    numbers[AMOUNT] = amount
    numbers[TEMPERATURE] = form.temperature * (form.final_temperature / form.temperature) ** fraction
    return numbers.to(DEVICE)


class FusedLayer:
    """A regularizer whose gradient the kernels compute, in the middle of other layers."""

    def __init__(self, regularizer: Any, form: PenaltyForm, fraction: float, family: str) -> None:
        self._inner, self._form, self._fraction = regularizer, form, fraction
        self.state: Tensor = regularizer.state
        self._spacing_at_first = mean_spacing(regularizer.representatives.detach())
        others = [draw_weights("normal", size, size) for size in (CHUNK + 3, 5)]
        self._others = [
            (layer, REGULARIZERS[family](layer, levels, form)) for layer, levels in zip(others, (5, 2), strict=True)
        ]

    @property
    def representatives(self) -> Tensor:
        return self._inner.representatives

    def add_gradient(self, weights: Tensor, gradient: Tensor, strength: float) -> None:
        (before, left), (after, right) = self._others
        penalty = FusedPenalty(
            [layer.to(DEVICE) for layer in (before, weights, after)],
            [left, self._inner, right],
            half_spacings=False,
            learning_rates=[0.0] * 3,
            chunk=CHUNK,
        )
        if self._form.temperature_spacing == "initial":
            penalty.representatives.layout.constants[1, UNIT] = self._spacing_at_first**2
        now = controls(self._form, strength, self._fraction)
        gradients = [torch.zeros_like(before), gradient, torch.zeros_like(after)]
        moved = [one.to(DEVICE, copy=True) for one in gradients]
        penalty.add_gradient(moved, now)
        gradient.copy_(moved[1])
        if penalty.trained:
            # Drawn or added, the gradient is without λ or with it, as that of the weights is.
            assert self.state.grad is not None
            self.state.grad.add_(penalty.representatives.by_layer(penalty.representatives.gradient)[1].cpu())

    def value(self, weights: Tensor) -> float:
        return float(self._inner.value(weights))


@pytest.mark.parametrize("switches", FORMS, ids=lambda form: "-".join(str(value) for value in form.values()))
@pytest.mark.parametrize("family", FUSED)
@examples(3)
@given(
    layer=layers(),
    num_levels=st.sampled_from([2, 3, 4, 7, 16]),
    fraction=st.sampled_from([0.0, 0.5, 0.9375]),
    displacement=st.sampled_from(["none", "moved", "equal pair", "all equal", "empty level"]),
    kinds=st.sets(st.sampled_from(SPECIAL_KINDS)),
    strength=st.sampled_from([0.0, 1e-3, 1.0, 7.3]),
    seed=st.integers(0, 99),
)
def test_gradient_of_the_kernels_matches_autograd(
    family: str,
    switches: dict[str, Any],
    layer: Tensor,
    num_levels: int,
    fraction: float,
    displacement: str,
    kinds: set[str],
    strength: float,
    seed: int,
) -> None:
    form = PenaltyForm(**switches, temperature=0.25, final_temperature=0.025, temperature_spacing="initial")
    regularizer = REGULARIZERS[family](layer, num_levels, form)
    fused = FusedLayer(regularizer, form, fraction, family)
    reference = Reference.of(family, form, layer, regularizer.representatives.detach().double(), fraction)
    regularizer.progress(fraction)
    displace(regularizer, family, displacement, seed)
    special = special_weights(reference, regularizer.representatives.detach(), kinds)
    weights = torch.cat([layer, torch.tensor(special, dtype=torch.float32)])
    weights = weights[~reference.uncertain(weights.double(), regularizer.representatives.detach().double())]
    if len(weights):
        assert_matches_reference(fused, reference, weights, strength)  # type: ignore[arg-type]


@pytest.mark.parametrize(("num_levels", "shape"), LAYERS)
@pytest.mark.parametrize("family", FUSED)
def test_gradient_of_the_kernels_matches_autograd_on_a_layer(family: str, num_levels: int, shape: str) -> None:
    layer = 0.05 * draw_weights(shape, 1500, seed=num_levels)
    form = soft_form()
    regularizer = REGULARIZERS[family](layer, num_levels, form)
    representatives = regularizer.representatives.detach().double()
    reference = Reference.of(family, form, layer, representatives, 0.5)
    regularizer.progress(0.5)
    weights = layer + 0.02 * layer.std() * torch.randn(len(layer), generator=torch.Generator().manual_seed(9))
    weights = weights[~reference.uncertain(weights.double(), representatives)]
    assert_matches_reference(FusedLayer(regularizer, form, 0.5, family), reference, weights, 0.3)  # type: ignore[arg-type]


@pytest.mark.parametrize("num_levels", [2, 7, 16, 256])
@pytest.mark.parametrize("centre", [0.0, -3.0, 100.0])
def test_weights_outside_of_the_interval_of_rs_have_slope_one(centre: float, num_levels: int) -> None:
    """The end that such a weight is clamped to must count as a zero, however it is rounded."""
    for seed in range(20):
        layer = draw_weights("heavy-tailed", 300, seed) + centre
        regularizer = REGULARIZERS["RS"](layer, num_levels, PenaltyForm(interval="sigma"))
        assert isinstance(regularizer, PeriodicWells)
        below, above = layer < regularizer.low, layer > regularizer.high
        assert (below | above).any()
        penalties: list[PeriodicWells | FusedLayer] = [regularizer]
        if seed == 0:
            penalties.append(FusedLayer(regularizer, PenaltyForm(), 0.0, "RS"))
        for penalty in penalties:
            gradient = torch.zeros_like(layer)
            penalty.add_gradient(layer, gradient, 1.0)
            assert (gradient[below] == -1).all()
            assert (gradient[above] == 1).all()


def moving(family: str, form: PenaltyForm, num_levels: int) -> tuple[list[Tensor], list[Regularizer]]:
    """Layers of several sizes and their regularizers; the weights have moved since these were made."""
    at_first = [draw_weights("normal", size, size) for size in (700, 2, 33, CHUNK)]
    regularizers = [REGULARIZERS[family](one, min(num_levels, len(one)), form) for one in at_first]
    return [one + 0.1 * draw_weights("normal", len(one), 1) for one in at_first], regularizers


@pytest.mark.parametrize("half_spacings", [True, False])
@pytest.mark.parametrize("switches", [{}, {"squared": True}, {"scale": False}, {"bounded": True, "reduction": "mean"}])
@pytest.mark.parametrize("num_levels", [2, 5])
@pytest.mark.parametrize("family", FUSED)
def test_all_layers_are_drawn_at_once_as_one_by_one(
    family: str, num_levels: int, switches: dict[str, Any], half_spacings: bool
) -> None:
    form = PenaltyForm(**switches)
    weights, regularizers = moving(family, form, num_levels)
    drawn = [one.to(DEVICE, copy=True) for one in weights]
    penalty = FusedPenalty(drawn, regularizers, half_spacings, [0.0] * len(weights), chunk=CHUNK)
    lam = 0.7 if half_spacings else 0.01
    penalty.move(controls(form, lam), "draw")
    gradients = penalty.representatives.by_layer(penalty.representatives.gradient)
    for weight, regularizer, result, gradient in zip(weights, regularizers, drawn, gradients, strict=True):
        distance = lam * (regularizer.half_spacing / regularizer.steepest if half_spacings else 1.0)
        draw(regularizer, weight, torch.empty_like(weight), distance)
        torch.testing.assert_close(result.cpu(), weight, rtol=1e-5, atol=2e-6)
        if penalty.trained:
            grad = regularizer.state.grad
            assert grad is not None
            torch.testing.assert_close(gradient.cpu(), grad, rtol=1e-4, atol=1e-4 * float(grad.abs().max()))


@pytest.mark.skipif(DEVICE == "cuda", reason="the interpreter alone runs programs in a chosen order")
@pytest.mark.parametrize("apply", ["draw", "gradient"])
@pytest.mark.parametrize("family", FUSED)
def test_order_of_the_programs_changes_nothing(family: str, apply: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program that trains the representatives of a layer is the last of them, whichever that is."""
    builder = interpreter.interpreter_builder
    place = builder.set_grid_idx
    form, results = PenaltyForm(), []
    numbers = controls(form, 0.7)
    numbers[REPRESENTATIVE_SHARE] = 0.5
    for backwards in (False, True):
        if backwards:
            monkeypatch.setattr(builder, "set_grid_idx", lambda x, y, z: place(builder.grid_dim[0] - 1 - x, y, z))
        weights, regularizers = moving(family, form, 5)
        penalty = FusedPenalty(weights, regularizers, True, [0.1] * len(weights), chunk=CHUNK)
        gradients = [torch.ones_like(weight) for weight in weights]
        for _ in range(2):
            if apply == "draw":
                penalty.move(numbers, apply)
            else:
                penalty.add_gradient(gradients, numbers)
        assert not penalty.representatives.arrived.any()
        assert penalty.representatives.steps.tolist() == [2.0 * penalty.trained] * len(weights)
        results.append([*weights, *gradients, penalty.representatives.values, penalty.representatives.state])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("family", ["RM", "MSQE", "BinReg"])
def test_proximal_step_of_all_layers_is_that_of_each(family: str, reduction: str) -> None:
    form = PenaltyForm(squared=True, reduction=reduction)
    weights, regularizers = moving(family, form, 4)
    for half_spacings in (True, False):
        at_first = [one.clone() for one in weights]
        shrunk = [one.to(DEVICE, copy=True) for one in weights]
        penalty = FusedPenalty(shrunk, regularizers, half_spacings, [0.0] * len(weights), chunk=CHUNK)
        penalty.move(controls(form, 0.7), "shrink")
        for weight, regularizer, result in zip(at_first, regularizers, shrunk, strict=True):
            assert isinstance(regularizer, ProximalRegularizer)
            distance = 0.7 * (regularizer.half_spacing / regularizer.steepest if half_spacings else 1.0)
            regularizer.shrink(weight, torch.empty_like(weight), distance)
            torch.testing.assert_close(result.cpu(), weight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("num_levels", [2, 70])
def test_representatives_are_trained_and_sorted_as_by_adam_of_pytorch(num_levels: int) -> None:
    """Seventy levels are more than one program handles."""
    form = PenaltyForm()
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(size, generator=generator).to(DEVICE) for size in (200, 2)]
    regularizers = [REGULARIZERS["RM"](one.cpu(), min(num_levels, len(one)), form) for one in weights]
    rates = [0.3, 0.02]
    plain = [one.representatives.detach().clone().requires_grad_() for one in regularizers]
    groups = [{"params": [one], "lr": rate} for one, rate in zip(plain, rates, strict=True)]
    optimizer = torch.optim.Adam(groups, eps=1e-20)
    penalty = FusedPenalty(weights, regularizers, True, rates, chunk=CHUNK)
    fused = penalty.representatives
    numbers = torch.tensor([0.0, 0.0, form.temperature, 0.5]).to(DEVICE)
    swapped = False
    for _ in range(5):
        penalty.move(numbers, "draw")
        for one, grad, group, rate in zip(
            plain, fused.by_layer(fused.gradient), optimizer.param_groups, rates, strict=True
        ):
            one.grad = grad.cpu().clone()
            group["lr"] = 0.5 * rate
        optimizer.step()
        for index, one in enumerate(plain):
            order = one.detach().argsort(stable=True)
            swapped |= not torch.equal(order, torch.arange(len(order)))
            one.data.copy_(one.data[order])
            for row, name in enumerate(("exp_avg", "exp_avg_sq"), start=1):
                moment = optimizer.state[one][name]
                moment.copy_(moment[order])
                torch.testing.assert_close(fused.by_layer(fused.state[row])[index].cpu(), moment)
            torch.testing.assert_close(fused.by_layer(fused.values)[index].cpu(), one.detach())
    assert swapped or num_levels == 2


@pytest.mark.parametrize("sizes", [(1,), (CHUNK, 3 * CHUNK + 1, 2)])
def test_codebooks_are_trained_by_the_sums_of_gradients_and_written(sizes: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = [torch.zeros(size, device=DEVICE) for size in sizes]
    values = [torch.randn(3, generator=generator).sort().values.to(DEVICE) for _ in sizes]
    levels = [torch.randint(3, (size,), generator=generator, dtype=torch.int32).to(DEVICE) for size in sizes]
    gradients = [torch.randn(size, generator=generator).to(DEVICE) for size in sizes]
    codebooks = FusedCodebooks(weights, values, levels, [0.1] * len(sizes), chunk=CHUNK)
    codebooks.write_weights()
    for weight, value, level in zip(weights, values, levels, strict=True):
        assert torch.equal(weight, value[level.long()])
    codebooks.step(gradients, torch.tensor([0.0, 0.0, 0.0, 1.0], device=DEVICE))
    fused = codebooks.representatives
    rows = (fused.by_layer(fused.gradient), fused.by_layer(fused.values))
    for weight, value, level, gradient, summed, after in zip(weights, values, levels, gradients, *rows, strict=True):
        expected = torch.zeros(3, dtype=torch.float64).index_add_(0, level.cpu().long(), gradient.cpu().double())
        torch.testing.assert_close(summed.cpu().double(), expected, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(after, value - 0.1 * summed.sign())  # Adam's first step
        assert torch.equal(weight, after[level.long()])


def test_weights_that_are_not_finite_move_nothing_else() -> None:
    """Where a penalty depends on how many weights a level has, each weight bears on all of its layer."""
    form = PenaltyForm()
    for family in set(FUSED) - {"RH", "BinReg"}:
        weights, regularizers = moving(family, form, 4)
        broken = [one.to(DEVICE, copy=True) for one in weights]
        broken[0][[3, 5]] = torch.tensor([torch.nan, torch.inf], device=DEVICE)
        whole = [one.to(DEVICE, copy=True) for one in weights]
        for layers_of in (broken, whole):
            FusedPenalty(layers_of, regularizers, True, [0.0] * 4, chunk=CHUNK).move(controls(form, 0.5), "draw")
        broken[0][[3, 5]] = whole[0][[3, 5]]
        assert all(torch.equal(one, other) for one, other in zip(broken, whole, strict=True))
