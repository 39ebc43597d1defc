"""Effect of a penalty on the weights: against float64 references, exact landing, and the unit of λ."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.conformance.test_regularizers import draw_weights
from trainables.codebooks.assignment import assign
from trainables.config import PenaltyForm, Recipe, TrialConfig
from trainables.models import quantized_weights
from trainables.phases import RegularizePhase
from trainables.regularizers.application import draw, move_up_to_nearest, shrink_squared
from trainables.regularizers.periodic import interval_of
from trainables.regularizers.protocol import Regularizer
from trainables.regularizers.registry import REGULARIZERS

FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "squared": {"squared": True},
    "unscaled": {"scale": False},
    "mean": {"reduction": "mean"},
    "bounded": {"bounded": True, "temperature": 0.3, "final_temperature": 0.3},
}


def layer(family: str, num_levels: int, seed: int, **form: object) -> tuple[Regularizer, Tensor]:
    """A regularizer, and weights that have moved since it was made."""
    weights = draw_weights("normal", 400, seed)
    regularizer = REGULARIZERS[family](weights, num_levels, PenaltyForm(**form))  # type: ignore[arg-type]
    return regularizer, weights + 0.1 * draw_weights("normal", 400, seed + 1)


def slopes_of(regularizer: Regularizer, weights: Tensor) -> Tensor:
    slopes = torch.zeros_like(weights)
    regularizer.add_gradient(weights, slopes, 1.0)
    return slopes


def naive_step(weights: Tensor, slopes: Tensor, representatives: Tensor, distance: float) -> Tensor:
    """The decoupled step, one weight at a time in float64."""
    moved = []
    for weight, slope in zip(weights.double().tolist(), slopes.double().tolist(), strict=True):
        nearest = min(representatives.tolist(), key=lambda value: (abs(weight - value), value))
        target = weight - distance * slope
        passes = (weight - nearest) * (target - nearest) <= 0 and weight != nearest and slope != 0
        moved.append(nearest if passes else target)
    return torch.tensor(moved, dtype=torch.float64)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("family", sorted(REGULARIZERS))
@settings(max_examples=15)
@given(num_levels=st.sampled_from([2, 3, 8]), seed=st.integers(0, 99), way=st.floats(0.01, 5.0))
def test_decoupled_step_is_that_of_a_float64_reference(
    family: str, form: str, num_levels: int, seed: int, way: float
) -> None:
    regularizer, weights = layer(family, num_levels, seed, **FORMS[form])
    distance = way * regularizer.half_spacing / regularizer.steepest
    slopes = slopes_of(regularizer, weights)
    representatives = regularizer.representatives.detach().float().double()
    expected = naive_step(weights, slopes, representatives, distance)
    draw(regularizer, weights, torch.empty_like(weights), distance)
    unit = float(representatives[-1] - representatives[0])
    torch.testing.assert_close(weights.double(), expected, rtol=0.0, atol=2e-6 * unit)


@pytest.mark.parametrize("family", ["RS", "RC", "RM", "RE"])
def test_a_weight_that_reaches_its_representative_is_set_to_it_exactly(family: str) -> None:
    regularizer, weights = layer(family, 4, 0, interval="minmax")
    before = weights.clone()
    draw(regularizer, weights, torch.empty_like(weights), 10 * regularizer.half_spacing / regularizer.steepest)
    representatives = regularizer.representatives.detach().float()
    landed = torch.isin(weights, representatives)
    # Midway between two representatives, RS and RC are flat, and RE pulls to their mean.
    assert landed.float().mean() > (0.9 if family != "RM" else 0.999)
    nearest = representatives[(before[:, None] - representatives).abs().argmin(1)]
    assert torch.equal(weights[landed], nearest[landed])


@settings(max_examples=60)
@given(
    family=st.sampled_from(sorted(REGULARIZERS)),
    seed=st.integers(0, 99),
    way=st.floats(0.0, 1e6),
    num_levels=st.sampled_from([2, 5]),
)
def test_no_weight_passes_its_representative(family: str, seed: int, way: float, num_levels: int) -> None:
    regularizer, weights = layer(family, num_levels, seed, squared=seed % 2 == 0)
    representatives = regularizer.representatives.detach().float()
    slopes = slopes_of(regularizer, weights)
    nearest = representatives[(weights[:, None] - representatives).abs().argmin(1)]
    side, drawn = (weights - nearest).sign(), (slopes * (weights - nearest)) > 0
    draw(regularizer, weights, torch.empty_like(weights), way)
    after = (weights - nearest).sign()
    assert ((after == side) | (after == 0))[drawn].all()


@pytest.mark.parametrize("form", [{}, {"squared": True}, {"interval": "minmax"}, {"scale": False}])
@pytest.mark.parametrize("family", ["RS", "RC", "SinReQ"])
def test_periodic_wells_draw_as_by_a_search_for_the_nearest_representative(family: str, form: dict[str, Any]) -> None:
    for seed, num_levels, centre in ((0, 2, 0.0), (1, 3, -3.0), (2, 16, 100.0), (3, 4096, 0.0)):
        weights = draw_weights("heavy-tailed", 3000, seed) + centre
        regularizer = REGULARIZERS[family](weights, num_levels, PenaltyForm(**form))
        weights += 0.1 * draw_weights("normal", 3000, seed + 9)
        distance = 0.3 * regularizer.half_spacing / regularizer.steepest
        slopes = slopes_of(regularizer, weights)
        values = regularizer.representatives.float()
        expected = move_up_to_nearest(weights, values[assign(weights, values)], distance * slopes)
        weights[:3] = torch.tensor([torch.nan, torch.inf, -torch.inf])
        draw(regularizer, weights, torch.empty_like(weights), distance)
        rounding = 2e-7 * float(values.abs().max())
        assert not weights[:3].isfinite().any()
        torch.testing.assert_close(weights[3:], expected[3:], rtol=4e-7, atol=rounding)
        assert torch.isin(weights, values).sum() >= 0.99 * torch.isin(expected, values).sum()


@pytest.mark.parametrize("squared", [False, True])
@settings(max_examples=40)
@given(weight=st.floats(-2, 2, width=32), distance=st.floats(0.0, 1.0))
def test_proximal_step_of_rm_minimizes_the_proximal_objective(squared: bool, weight: float, distance: float) -> None:
    regularizer = REGULARIZERS["RM"](torch.tensor([-1.0, 1.0]), 2, PenaltyForm(squared=squared))
    weights = torch.tensor([weight])
    (shrink_squared if squared else draw)(regularizer, weights, torch.empty(1), distance)
    nearest = -1.0 if weight <= 0 else 1.0  # a tie belongs to the lower one
    grid = torch.linspace(-3, 3, 60_001, dtype=torch.float64)
    away = grid - nearest
    objective = 0.5 * (grid - weight) ** 2 + distance * (away**2 if squared else away.abs())
    if weight != 0.0:  # a weight between two representatives has no slope
        assert weights.item() == pytest.approx(grid[objective.argmin()].item(), abs=2e-4)


@settings(max_examples=40)
@given(
    num_levels=st.sampled_from([2, 3, 8]),
    seed=st.integers(0, 99),
    lam=st.floats(0.01, 0.99),
    scale=st.sampled_from([1e-3, 1.0, 50.0]),
)
def test_soft_minimum_pulls_as_the_distance_does_half_a_spacing_away(
    num_levels: int, seed: int, lam: float, scale: float
) -> None:
    """λ half-spacings move a weight at the rim of an outer well, and for RM any weight, by λ half-spacings."""
    moved = {}
    for family in ("RM", "RE"):
        layer = scale * draw_weights("normal", 400, seed)
        regularizer = REGULARIZERS[family](layer, num_levels, PenaltyForm())
        half = regularizer.half_spacing
        rim = regularizer.representatives.detach()[[0, -1]] + torch.tensor([-half, half])
        weights = rim.clone()
        draw(regularizer, weights, torch.empty_like(weights), lam * half / regularizer.steepest)
        moved[family] = (rim - weights) / half
        torch.testing.assert_close(moved[family], torch.tensor([-lam, lam]), rtol=2e-3, atol=0.0)
    torch.testing.assert_close(moved["RE"], moved["RM"], rtol=2e-3, atol=0.0)


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize(("unit", "shrunk"), [("current", 0.25), ("initial", 1.0)])
def test_temperature_counts_in_squares_of_the_chosen_spacing(bounded: bool, unit: str, shrunk: float) -> None:
    layer = draw_weights("normal", 400, 0)
    form = PenaltyForm(bounded=bounded, temperature=0.2, final_temperature=0.1, temperature_spacing=unit)
    regularizer: Any = REGULARIZERS["RE"](layer, 4, form)
    spacing = 2 * regularizer.half_spacing
    regularizer.representatives.data.mul_(0.5)
    regularizer.progress(0.5)
    assert regularizer.tau == pytest.approx(math.sqrt(0.2 * 0.1) * shrunk * spacing**2)


@pytest.mark.parametrize(("unit", "stays_apart"), [("current", True), ("initial", False)])
def test_representatives_of_a_soft_minimum_stay_apart(unit: str, stays_apart: bool) -> None:
    """Weights and representatives that follow the penalty alone: at a temperature that stays wide they merge."""
    layer = draw_weights("normal", 2000, 0)
    form = PenaltyForm(temperature=0.25, final_temperature=0.25, temperature_spacing=unit)
    regularizer = REGULARIZERS["RE"](layer, 2, form)
    weights, representatives = layer.clone(), regularizer.representatives
    began = representatives.detach().diff().item()
    for _ in range(100):
        regularizer.progress(0.0)
        draw(regularizer, weights, torch.empty_like(weights), 0.02)
        assert representatives.grad is not None
        representatives.data.sub_(representatives.grad, alpha=0.5 / len(layer))
        representatives.grad.zero_()
    share = representatives.detach().diff().item() / began
    assert share > 0.5 if stays_apart else share < 1e-6


DECOUPLED: dict[str, Any] = {"penalty_application": "decoupled", "lam_unit": "half_spacings"}


def way_drawn(
    recipe: Recipe, epochs: int, batches_per_epoch: int, lam: float, width: float = 1.0, family: str = "RM"
) -> float:
    """Return the way that weights at the steepest slope are drawn over the phase, in half-spacings.

    The loss has no gradient. Before each step, weights are put half a spacing outside of the representatives of RS, RM
    and RE at ±width, which is the rim of RE's wells and outside the interval of RC too.
    """
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    weights = quantized_weights(model)
    weight = weights["1.weight"]
    ends = width * torch.tensor([[-1.0, 1.0], [-1.0, 1.0]])
    weight.data.copy_(ends)
    config = TrialConfig(family=family, num_levels=2, lam=lam, regularize_epochs=epochs, recipe=recipe)
    phase = RegularizePhase(config, model, weights, batches_per_epoch=batches_per_epoch)
    regularizer = phase.regularizers["1.weight"]
    representatives, half_spacing = regularizer.representatives.detach().clone(), regularizer.half_spacing
    way = torch.zeros_like(ends)
    for step in range(epochs * batches_per_epoch):
        weight.grad = torch.zeros_like(weight)
        weight.data.copy_(2 * ends)
        regularizer.representatives.data.copy_(representatives)
        phase.step(step / batches_per_epoch)
        way += (2 * ends - weight.detach()).abs()
    assert way.max() - way.min() <= 1e-3 * way.max()
    return way.mean().item() / half_spacing


@pytest.mark.parametrize("family", ["RS", "RC", "RM", "RE"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@settings(max_examples=12, deadline=None)
@given(
    learning_rate=st.sampled_from([1e-5, 1e-2, 1.0]),
    schedule=st.sampled_from(["cosine", "step"]),
    epochs=st.sampled_from([1, 3, 10]),
    batches=st.sampled_from([1, 7]),
    warmup=st.sampled_from([0.0, 0.5]),
    lam=st.sampled_from([0.5, 8.0]),
    width=st.sampled_from([1e-2, 1.0]),
)
def test_lam_in_half_spacings_is_the_way_drawn_in_all(
    family: str,
    optimizer: str,
    learning_rate: float,
    schedule: str,
    epochs: int,
    batches: int,
    warmup: float,
    lam: float,
    width: float,
) -> None:
    recipe = Recipe(
        optimizer=optimizer,
        learning_rate=learning_rate,
        schedule=schedule,
        lam_warmup_epochs=warmup,
        warmup_epochs=warmup,
        **DECOUPLED,
    )
    expected = 0.0 if warmup and epochs * batches == 1 else lam  # the only step is then the first of a warm-up from 0
    if 2.5 * lam < batches * epochs:  # a step that reaches the representative ends there
        assert way_drawn(recipe, epochs, batches, lam, width, family) == pytest.approx(expected, rel=5e-3)


def test_lam_in_gradients_is_multiplied_by_the_learning_rate() -> None:
    recipe = Recipe(learning_rate=0.01, penalty_application="decoupled", lam_unit="gradient")
    assert way_drawn(recipe, 1, 4, 3.0) == pytest.approx(4 * 0.01 * 3.0, rel=2e-3)


def test_moments_of_representatives_are_sorted_with_them() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 4, bias=False))
    weights = quantized_weights(model)
    recipe = Recipe(**DECOUPLED)
    config = TrialConfig(family="RM", num_levels=3, lam=1.0, placement="own", regularize_epochs=1, recipe=recipe)
    phase = RegularizePhase(config, model, weights, batches_per_epoch=1)
    representatives = phase.regularizers["1.weight"].representatives
    weights["1.weight"].grad = torch.zeros(4, 4)
    phase.step(0.0)
    moments = phase.optimizers[1].state[representatives]
    representatives.data.copy_(torch.tensor([3.0, 1.0, 2.0]))
    moments["exp_avg"].copy_(torch.tensor([0.3, 0.1, 0.2]))
    moments["exp_avg_sq"].fill_(1e20)  # no step worth mentioning
    phase.step(0.0)
    assert representatives.tolist() == pytest.approx([1.0, 2.0, 3.0])
    assert moments["exp_avg"].argsort().tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"interval": "minmax"}, (-3.0, 7.0)),
        ({"interval": "sigma", "interval_sigmas": 1.0}, (2.0 - math.sqrt(12.8), 2.0 + math.sqrt(12.8))),
        ({"interval": "sigma", "interval_sigmas": 100.0}, (-3.0, 7.0)),
        ({"interval": "quantiles", "interval_quantile": 0.2}, (0.0, 5.0)),
    ],
)
def test_interval(form: dict[str, object], expected: tuple[float, float]) -> None:
    weights = torch.tensor([7.0, 0.0, 1.0, 5.0, -3.0])
    assert interval_of(weights, PenaltyForm(**form)) == pytest.approx(expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("interval", ["minmax", "sigma", "quantiles"])
@pytest.mark.parametrize("weight", [0.1, -2.7, 1e-3])
def test_interval_of_equal_weights_is_their_value(weight: float, interval: str) -> None:
    """In float32, the mean of 300 times 0.1 is not 0.1; it is one standard deviation away from it."""
    weights = torch.full((300,), weight)
    assert interval_of(weights, PenaltyForm(interval=interval, interval_sigmas=0.5)) == (
        weights[0].item(),
        weights[0].item(),
    )
