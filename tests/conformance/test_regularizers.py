"""Promises that every regularizer of the registry keeps: closed forms equal autograd, and nothing else is changed."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.support.autograd_oracle import ON_GRID, RELATIVE, TRAINED, Reference
from trainables.config import PenaltyForm
from trainables.regularizers.protocol import Regularizer
from trainables.regularizers.registry import REGULARIZERS

SOFT: dict[str, Any] = {
    "initial": "quantiles",  # at k-means, the gradients of the representatives are differences of equal sums
    "interval": "minmax",  # its ends are weights, so that kinks are exact in float32
    "temperature": 0.25,
    "final_temperature": 0.025,
}
FORMS = [
    {"squared": squared, "reduction": reduction, "scale": scale, "bounded": bounded}
    for squared, reduction, scale, bounded in product((False, True), ("sum", "mean"), (True, False), (False, True))
]


def soft_form(**changes: Any) -> PenaltyForm:
    """Return the form that the tests against autograd have unless they say otherwise."""
    return PenaltyForm(**(SOFT | changes))


def assert_agree(actual: Tensor, expected: Tensor, unit: float) -> None:
    """Relative to the largest element, elementwise, and to the norm; `unit` stands in where all is near 0.

    Numbers that float32 can't hold may be 0.
    """
    error = actual.double() - expected
    least = torch.finfo(torch.float32).tiny
    assert error.abs().max() <= max(RELATIVE * max(expected.abs().max().item(), unit), least)
    assert error.norm() <= max(RELATIVE * max(expected.norm().item(), unit), least * len(error) ** 0.5)


def assert_matches_reference(regularizer: Regularizer, reference: Reference, weights: Tensor, strength: float) -> None:
    """Value and gradients of `regularizer` at float32 `weights` are those of `reference`."""
    representatives = regularizer.representatives.detach().double()
    trained = regularizer.state.requires_grad
    if trained:
        assert regularizer.state.grad is not None
        regularizer.state.grad.zero_()
    gradient = torch.zeros_like(weights)
    regularizer.add_gradient(weights, gradient, strength)

    share = 1 / len(weights) if reference.form.reduction == "mean" else 1.0
    height, slope = reference.typical(representatives, len(weights))
    penalties = reference.penalties(weights.double(), representatives)
    largest = max(penalties.abs().sum().item(), 0.1 * len(weights) * height)
    assert abs(regularizer.value(weights) - share * penalties.sum().item()) <= RELATIVE * share * largest

    by_weight, by_representative = reference.gradients(weights.double(), representatives)
    assert_agree(gradient, strength * share * by_weight, strength * share * slope)
    if reference.family in ON_GRID:
        assert regularizer.state.grad is not None
        by_step = strength * share * by_representative * multiples(len(representatives))
        by_step *= regularizer.state.detach().sign()
        assert_agree(regularizer.state.grad, by_step.sum()[None], by_step.abs().sum().item() + strength * share * slope)
    elif trained:
        assert regularizer.state.grad is not None
        # Equal representatives may share what pulls on their common value in any way.
        values, group = representatives.unique(return_inverse=True)
        actual, expected = (
            torch.zeros_like(values).index_add_(0, group, pull.double())
            for pull in (regularizer.state.grad, strength * share * by_representative)
        )
        assert_agree(actual, expected, strength * share * slope)


def multiples(num_levels: int) -> Tensor:
    """Multiples of the step in a grid, (K,)."""
    return torch.tensor([-0.5, 0.5]) if num_levels == 2 else torch.arange(num_levels) - num_levels // 2


def displace(regularizer: Regularizer, family: str, how: str, seed: int) -> None:
    """Change trained representatives as training might."""
    if family in ON_GRID:
        factors = {"none": 1.0, "moved": 1 + seed / 256, "equal pair": 0.5, "all equal": -1.0, "empty level": 16.0}
        regularizer.state.data.mul_(factors[how])
    elif family in TRAINED:
        regularizer.state.data.copy_(displaced(regularizer.representatives.detach(), how, seed))


def special_weights(reference: Reference, representatives: Tensor, kinds: set[str]) -> list[float]:
    """Weights where a penalty is most easily wrong."""
    width = reference.high - reference.low or 1.0
    low, high = representatives[0].item(), representatives[-1].item()
    middles = ((representatives[1:].double() + representatives[:-1].double()) / 2).tolist()
    places = {
        "ends": [reference.low, reference.high],
        "outside": [reference.low - width / 3, reference.high + width / 3, reference.high + 2 * width],
        "far outside": [reference.low - 100 * width],
        "zero": [0.0],
        "representatives": representatives.tolist(),
        "midway": middles,
        "extremes": [low, high],
    }
    return [weight for kind in sorted(kinds) for weight in places[kind]]


def displaced(representatives: Tensor, how: str, seed: int) -> Tensor:
    """Trained representatives as training might leave them, in increasing order."""
    width = (representatives[-1] - representatives[0]).item() or 1.0
    moved = representatives.clone()
    if how == "equal pair":
        moved[-2] = moved[-1]
    elif how == "all equal":
        moved.fill_(moved[0].item())
    elif how == "empty level":
        moved[-1] += 16 * width
    elif how == "moved":
        steps = torch.randint(-2048, 2049, moved.shape, generator=torch.Generator().manual_seed(seed))
        moved += steps * (width / 4096)
    return moved.sort().values


def draw_weights(shape: str, size: int, seed: int) -> Tensor:
    """Random weights around 0, float32; the heavy tails leave most weights in a corner of their interval."""
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(size, generator=generator)
    if shape == "uniform":
        return 2 * torch.rand(size, generator=generator) - 1
    if shape == "heavy-tailed":
        return normal / torch.rand(size, generator=generator).clamp(min=1e-4).sqrt()
    if shape == "two clusters":
        return 1e-3 * normal + torch.randint(0, 2, (size,), generator=generator)
    return normal


@st.composite
def layers(draw: st.DrawFn) -> Tensor:
    """Weights of a layer, float32: few or many, on a lattice (so that ties are exact) or off it, or all equal."""
    scale = draw(st.sampled_from([1.0, 2.0**-6, 0.05, 3.0]))
    centre = draw(st.sampled_from([0.0, 0.5, -3.0]))
    lattice = st.integers(-1024, 1024).map(lambda step: step / 1024)
    kind = draw(st.sampled_from(["lattice", "ends", "equal", "normal", "uniform", "heavy-tailed", "two clusters"]))
    if kind == "lattice":
        values = torch.tensor(draw(st.lists(lattice, min_size=1, max_size=40)))
    elif kind == "ends":
        values = torch.tensor([-1.0, 1.0, *draw(st.lists(lattice, max_size=20))])
    elif kind == "equal":
        values = torch.full((draw(st.sampled_from([1, 2, 30, 300])),), draw(lattice))
    else:
        values = draw_weights(kind, draw(st.sampled_from([1, 2, 30, 300, 3000])), draw(st.integers(0, 99)))
    return (centre + values) * scale


SPECIAL_KINDS = ("ends", "outside", "far outside", "zero", "representatives", "midway", "extremes")


@pytest.mark.parametrize("seed", [32, 80, 92])
def test_slopes_of_weights_close_to_their_representatives_are_as_exact(seed: int) -> None:
    """The part of a slope that its table leaves out is large beside small slopes."""
    form = soft_form(squared=True, initial="grid", temperature=0.25, final_temperature=0.025)
    layer = draw_weights("two clusters", 3000, seed)
    regularizer = REGULARIZERS["RE"](layer, 7, form)
    representatives = regularizer.representatives.detach().double()
    reference = Reference.of("RE", form, layer, representatives, 0.0)
    weights = layer[~reference.uncertain(layer.double(), representatives)]
    assert_matches_reference(regularizer, reference, weights, 1e-3)


@pytest.mark.parametrize("family", TRAINED)
@pytest.mark.parametrize("num_levels", [2, 4, 256])
@pytest.mark.parametrize("weight", [-0.151, 0.3, 2.7])
def test_pulls_of_equal_weights_cancel_exactly(family: str, num_levels: int, weight: float) -> None:
    layer = torch.full((3000,), weight)
    form = soft_form(squared=True, temperature=1.0, final_temperature=1.0)
    regularizer = REGULARIZERS[family](layer, num_levels, form)
    reference = Reference.of(family, form, layer, regularizer.representatives.detach().double())
    assert_matches_reference(regularizer, reference, layer, 1e-3)


@pytest.mark.parametrize("temperature", [0.25, 0.05])
@pytest.mark.parametrize("shape", ["normal", "uniform"])
@pytest.mark.parametrize("num_levels", [2, 3, 4])
@pytest.mark.parametrize("family", TRAINED)
def test_pulls_that_nearly_cancel_are_as_exact(family: str, num_levels: int, shape: str, temperature: float) -> None:
    """At k-means, the weights on the two sides of a representative pull with nearly the same strength."""
    form = soft_form(squared=True, initial="kmeans", temperature=temperature, final_temperature=temperature)
    layer = 0.05 * draw_weights(shape, 3000, seed=1)
    regularizer = REGULARIZERS[family](layer, num_levels, form)
    representatives = regularizer.representatives.detach().double()
    reference = Reference.of(family, form, layer, representatives)
    weights = layer[~reference.uncertain(layer.double(), representatives)]
    assert_matches_reference(regularizer, reference, weights, 1e-3)


@pytest.mark.parametrize("switches", FORMS, ids=lambda form: "-".join(str(value) for value in form.values()))
@pytest.mark.parametrize("family", sorted(REGULARIZERS))
@settings(max_examples=40)
@given(
    layer=layers(),
    num_levels=st.sampled_from([2, 3, 4, 7, 16, 256]),
    initial=st.sampled_from(["quantiles", "grid", "kmeans"]),
    interval=st.sampled_from(["minmax", "sigma", "quantiles"]),
    temperatures=st.sampled_from([(0.25, 0.025), (1.0, 1.0), (0.05, 0.005)]),
    fraction=st.sampled_from([None, 0.0, 0.5, 0.9375]),
    displacement=st.sampled_from(["none", "moved", "equal pair", "all equal", "empty level"]),
    kinds=st.sets(st.sampled_from(SPECIAL_KINDS)),
    strength=st.sampled_from([0.0, 1e-3, 1.0, 7.3]),
    seed=st.integers(0, 99),
)
def test_regularizer_matches_autograd(
    family: str,
    switches: dict[str, Any],
    layer: Tensor,
    num_levels: int,
    initial: str,
    interval: str,
    temperatures: tuple[float, float],
    fraction: float | None,
    displacement: str,
    kinds: set[str],
    strength: float,
    seed: int,
) -> None:
    first, last = temperatures
    form = soft_form(**switches, initial=initial, interval=interval, temperature=first, final_temperature=last)
    regularizer = REGULARIZERS[family](layer, num_levels, form)
    reference = Reference.of(family, form, layer, regularizer.representatives.detach().double(), fraction or 0.0)
    if fraction is not None:
        regularizer.progress(fraction)
    displace(regularizer, family, displacement, seed)

    special = special_weights(reference, regularizer.representatives.detach(), kinds)
    weights = torch.cat([layer, torch.tensor(special, dtype=torch.float32)])
    exact, held = weights.double(), regularizer.representatives.detach().double()
    weights = weights[~reference.uncertain(exact, held)]
    if len(weights):
        assert_matches_reference(regularizer, reference, weights, strength)


def assert_layer_matches_reference(
    family: str, form: PenaltyForm, layer: Tensor, num_levels: int, fraction: float = 0.0
) -> None:
    """A layer that has moved a little since its phase began."""
    regularizer = REGULARIZERS[family](layer, num_levels, form)
    representatives = regularizer.representatives.detach().double()
    reference = Reference.of(family, form, layer, representatives, fraction)
    regularizer.progress(fraction)
    noise = torch.randn(len(layer), generator=torch.Generator().manual_seed(9))
    weights = layer + 0.02 * layer.std() * noise
    weights = weights[~reference.uncertain(weights.double(), representatives)]
    assert_matches_reference(regularizer, reference, weights, 0.3)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("family", sorted(REGULARIZERS))
@pytest.mark.parametrize("size", [2**16 + 1, 2**17 - 1, 2**17 + 1, 2**18 + 17])
def test_regularizer_matches_autograd_on_a_layer_in_chunks(family: str, size: int, squared: bool) -> None:
    layer = torch.randn(size, generator=torch.Generator().manual_seed(size))
    assert_layer_matches_reference(family, soft_form(squared=squared), layer, 4)


@pytest.mark.parametrize("shape", ["normal", "uniform", "heavy-tailed", "two clusters"])
@pytest.mark.parametrize("num_levels", [2, 16, 256])
@pytest.mark.parametrize("family", sorted(REGULARIZERS))
def test_regularizer_matches_autograd_on_a_layer(family: str, num_levels: int, shape: str) -> None:
    layer = 0.05 * draw_weights(shape, 5000, seed=num_levels)
    for fraction in (0.0, 0.9375):
        for initial in ("quantiles", "grid"):
            assert_layer_matches_reference(family, soft_form(initial=initial), layer, num_levels, fraction)


@pytest.mark.parametrize("centre", [-3.0, 0.5, 1000.0])
@pytest.mark.parametrize("num_levels", [2, 16])
@pytest.mark.parametrize("family", sorted(REGULARIZERS))
def test_regularizer_matches_autograd_on_a_layer_far_from_0(family: str, num_levels: int, centre: float) -> None:
    layer = centre * (1 + 2.0**-8 * draw_weights("normal", 20_000, seed=num_levels))
    assert_layer_matches_reference(family, soft_form(), layer, num_levels)


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("num_levels", [2, 16, 256])
@pytest.mark.parametrize("family", sorted(REGULARIZERS))
def test_regularizer_matches_autograd_when_all_weights_have_become_equal(
    family: str, num_levels: int, bounded: bool
) -> None:
    form = soft_form(bounded=bounded)
    layer = torch.randn(5000, generator=torch.Generator().manual_seed(0))
    regularizer = REGULARIZERS[family](layer, num_levels, form)
    reference = Reference.of(family, form, layer, regularizer.representatives.detach().double())
    for weight in (0.3, -1.7, 9.0):
        assert_matches_reference(regularizer, reference, torch.full((5000,), weight), 1e-3)


@pytest.mark.parametrize("family", sorted(REGULARIZERS))
def test_add_gradient_adds_in_place_to_both_gradients(family: str) -> None:
    layer = torch.randn(500, generator=torch.Generator().manual_seed(0))
    regularizer = REGULARIZERS[family](layer, 8, soft_form())
    trained = regularizer.state.requires_grad
    fresh = torch.zeros_like(layer)
    regularizer.add_gradient(layer, fresh, 0.5)
    gradient = regularizer.state.grad
    pulls = gradient.clone() if trained and gradient is not None else None

    gradients = torch.full((10, 50), 3.0)
    storage = gradients.data_ptr()
    regularizer.add_gradient(layer, gradients.view(-1), 0.5)
    assert gradients.data_ptr() == storage
    torch.testing.assert_close(gradients.view(-1), 3 + fresh)
    assert fresh.abs().max() > 0
    if pulls is not None:
        assert pulls.abs().max() > 0
        torch.testing.assert_close(regularizer.state.grad, 2 * pulls)


@pytest.mark.parametrize("family", sorted(REGULARIZERS))
def test_add_gradient_of_strength_zero_changes_nothing(family: str) -> None:
    layer = torch.randn(500, generator=torch.Generator().manual_seed(0))
    regularizer = REGULARIZERS[family](layer, 8, soft_form())
    gradient = torch.randn(500, generator=torch.Generator().manual_seed(1))
    expected = gradient.clone()
    regularizer.add_gradient(layer, gradient, 0.0)
    assert torch.equal(gradient, expected)
    if regularizer.state.requires_grad:
        assert regularizer.state.grad is not None
        assert not regularizer.state.grad.any()


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("family", sorted(REGULARIZERS))
def test_regularizer_leaves_weights_and_representatives_untouched(family: str, squared: bool, bounded: bool) -> None:
    layer = torch.randn(500, generator=torch.Generator().manual_seed(0))
    regularizer = REGULARIZERS[family](layer, 8, soft_form(squared=squared, bounded=bounded))
    weights, representatives = layer.clone(), regularizer.representatives.detach().clone()
    regularizer.add_gradient(layer, torch.zeros_like(layer), 1.0)
    regularizer.value(layer)
    regularizer.progress(0.5)
    assert torch.equal(layer, weights)
    assert torch.equal(regularizer.representatives, representatives)


def penalty_after(family: str, fractions: Sequence[float]) -> float:
    layer = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    regularizer = REGULARIZERS[family](layer, 4, soft_form())
    for fraction in fractions:
        regularizer.progress(fraction)
    return regularizer.value(layer)


@pytest.mark.parametrize("family", sorted(REGULARIZERS))
def test_progress_depends_on_the_last_fraction_alone(family: str) -> None:
    assert penalty_after(family, [0.0, 0.25, 0.75]) == penalty_after(family, [0.75])
    assert penalty_after(family, [0.0]) == penalty_after(family, [])
    assert (penalty_after(family, [0.75]) == penalty_after(family, [])) == (family != "RE")
