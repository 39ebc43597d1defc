"""Layers of small networks, drawn at once on a CPU: against the oracle, and against each layer by itself."""

import io
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.conformance.test_regularizers import (
    SPECIAL_KINDS,
    assert_matches_reference,
    displaced,
    draw_weights,
    layers,
    special_weights,
)
from tests.support.autograd_oracle import Reference
from tests.support.example_trials import quick
from tests.support.quick_runs import comparable, rest_of
from tests.trainables.phases.test_phases import saved
from trainables.config import LayerGroup, PenaltyForm, Recipe
from trainables.fused.flat_nearest import FlatNearestDistance
from trainables.fused.flat_phase import WIDEST_TEMPERATURE, FlatRegularizePhase
from trainables.fused.flat_search import IntervalSearch
from trainables.fused.flat_soft_minimum import FlatSoftMinimum
from trainables.regularizers.application import draw
from trainables.regularizers.exponential.soft_minimum import SoftMinimum
from trainables.regularizers.registry import REGULARIZERS
from trainables.run import CompressionRun


def flat_penalty(regularizers: list[Any], weights: list[Tensor]) -> FlatNearestDistance | FlatSoftMinimum:
    kind = FlatSoftMinimum if isinstance(regularizers[0], SoftMinimum) else FlatNearestDistance
    return kind(regularizers, weights)


class FlatLayer:
    """A regularizer whose gradient is computed for several layers at once, in the middle of two others."""

    def __init__(self, regularizer: Any, form: PenaltyForm, family: str) -> None:
        self._inner = regularizer
        self.representatives: Tensor = regularizer.representatives
        self.state: Tensor = regularizer.state
        self._others = [
            (layer, REGULARIZERS[family](layer, levels, form))
            for layer, levels in ((draw_weights("normal", 259, 0), 5), (draw_weights("normal", 5, 1), 2))
        ]

    def add_gradient(self, weights: Tensor, gradient: Tensor, strength: float) -> None:
        (before, left), (after, right) = self._others
        all_of = [left, self._inner, right]
        sizes = [len(one) for one in (before, weights, after)]
        values = torch.cat([one.representatives.detach() for one in all_of])
        slopes, pull = flat_penalty(all_of, [before, weights, after]).gradient([strength] * 3, values)
        gradient.add_(slopes.split(sizes)[1])
        assert self.representatives.grad is not None
        pulls = pull.split([len(one.representatives) for one in all_of])
        self.representatives.grad.add_(strength * pulls[1].float())

    def value(self, weights: Tensor) -> float:
        return float(self._inner.value(weights))


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("family", ["RM", "RE"])
@settings(max_examples=30)
@given(
    layer=layers(),
    num_levels=st.sampled_from([2, 3, 4, 7, 16, 64]),
    initial=st.sampled_from(["quantiles", "grid", "kmeans"]),
    temperature=st.sampled_from([0.002, 0.02, WIDEST_TEMPERATURE, 0.25]),
    displacement=st.sampled_from(["none", "moved", "equal pair", "all equal", "empty level"]),
    kinds=st.sets(st.sampled_from(SPECIAL_KINDS)),
    strength=st.sampled_from([0.0, 1e-3, 1.0, 7.3]),
    seed=st.integers(0, 99),
)
def test_gradient_of_all_layers_at_once_matches_autograd(
    family: str,
    reduction: str,
    squared: bool,
    layer: Tensor,
    num_levels: int,
    initial: str,
    temperature: float,
    displacement: str,
    kinds: set[str],
    strength: float,
    seed: int,
) -> None:
    form = PenaltyForm(
        squared=squared,
        reduction=reduction,
        initial=initial,
        temperature=temperature,
        final_temperature=temperature,
        temperature_spacing="initial",
    )
    regularizer = REGULARIZERS[family](layer, num_levels, form)
    reference = Reference.of(family, form, layer, regularizer.representatives.detach().double())
    moved = displaced(regularizer.representatives.detach().clone(), displacement, seed)
    regularizer.representatives.data.copy_(moved)
    special = special_weights(reference, moved, kinds)
    weights = torch.cat([layer, torch.tensor(special, dtype=torch.float32)])
    weights = weights[~reference.uncertain(weights.double(), moved.double())]
    if len(weights):
        assert_matches_reference(FlatLayer(regularizer, form, family), reference, weights, strength)  # type: ignore[arg-type]


@pytest.mark.parametrize("switches", [{}, {"squared": True}, {"reduction": "mean"}])
@pytest.mark.parametrize("num_levels", [2, 16, 64])
@pytest.mark.parametrize("family", ["RM", "RE"])
def test_layers_are_drawn_at_once_as_one_by_one(family: str, num_levels: int, switches: dict[str, Any]) -> None:
    form = PenaltyForm(**switches)
    at_first = [draw_weights("normal", size, size) for size in (3000, 2, 70, 5000)]
    regularizers: list[Any] = [REGULARIZERS[family](one, min(num_levels, len(one)), form) for one in at_first]
    weights = [one + 0.05 * draw_weights("normal", len(one), 1) for one in at_first]
    drawn = [one.clone() for one in weights]
    distances = [
        share * one.half_spacing / one.steepest for one, share in zip(regularizers, (0.7, 0.1, 2.5, 0.02), strict=True)
    ]
    values = torch.cat([one.representatives.detach() for one in regularizers])
    pulls = flat_penalty(regularizers, drawn).draw(distances, values)
    by_layer = pulls.split([len(one.representatives) for one in regularizers])
    for weight, one, distance, result, pull in zip(weights, regularizers, distances, drawn, by_layer, strict=True):
        draw(one, weight, torch.empty_like(weight), distance)
        torch.testing.assert_close(result, weight, rtol=1e-5, atol=2e-6)
        grad = one.representatives.grad
        assert grad is not None
        torch.testing.assert_close(pull.float(), grad, rtol=1e-4, atol=1e-4 * float(grad.abs().max()))


@settings(max_examples=40)
@given(
    counts=st.lists(st.sampled_from([2, 3, 16, 200]), min_size=1, max_size=4),
    kind=st.sampled_from(["random", "equal", "close pair", "infinite weight"]),
    seed=st.integers(0, 999),
)
def test_search_returns_the_interval_of_each_weight(counts: list[int], kind: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = [torch.randn(count, generator=generator).sort().values for count in counts]
    if kind == "equal":
        values[0].fill_(0.25)
    elif kind == "close pair":
        values[-1][-1] += 1e4
    weights = [torch.cat([2 * torch.randn(300, generator=generator), own]) for own in values]
    if kind == "infinite weight":
        weights[0][:3] = torch.tensor([torch.inf, -torch.inf, torch.nan])
    search = IntervalSearch([len(one) for one in weights], counts)
    intervals = search.find(torch.cat(weights), torch.cat(values)).split([len(one) for one in weights])
    first = 0
    for weight, own, interval in zip(weights, values, intervals, strict=True):
        lower = interval - first
        assert ((lower >= 0) & (lower <= len(own) - 2)).all()
        known = weight.isfinite()
        assert ((weight >= own[lower]) | (lower == 0))[known].all()
        assert ((weight <= own[lower + 1]) | (lower == len(own) - 2))[known].all()
        first += len(own)


SGD = Recipe(batch_size=40, optimizer="sgd", learning_rate=0.03, weight_decay=1e-3)
TRIALS = {
    "RM": quick("RM", recipe=SGD, num_levels=5),
    "RM squared": quick("RM", penalty=PenaltyForm(squared=True)),
    "RE": quick("RE", placement="own"),
    "groups with different K": quick("RE", groups={"conv": LayerGroup(layers="conv", num_levels=2)}),
    "groups with different λ": quick("RM", groups={"conv": LayerGroup(layers="conv", lam=1.0)}),
    "a layer in float": quick("RE", groups={"first": LayerGroup(layers="first", num_levels="float")}),
}


@pytest.mark.usefixtures("quick_names")
@pytest.mark.parametrize("name", TRIALS)
def test_trial_is_trained_as_layer_by_layer(name: str) -> None:
    config = replace(TRIALS[name], regularize_epochs=2, finetune_epochs=1)
    one_by_one, at_once = CompressionRun(config, fused=False), CompressionRun(config)
    assert isinstance(at_once.phase, FlatRegularizePhase)
    assert at_once.phase.draws_at_once
    while not one_by_one.finished:
        expected, metrics = one_by_one.run_epoch(), at_once.run_epoch()
        for metric in ("train_loss", "penalty", "quantization_error"):
            if expected[metric] is None:
                assert metrics[metric] is None
            else:
                assert metrics[metric] == pytest.approx(expected[metric], rel=1e-3, abs=1e-5)


@pytest.mark.usefixtures("quick_names")
@pytest.mark.parametrize("name", ["RM", "RE"])
def test_restore_reproduces_the_epochs_that_follow_bitwise(name: str) -> None:
    config = replace(TRIALS[name], regularize_epochs=3, finetune_epochs=1)
    run = CompressionRun(config)
    states, metrics = [], []
    while not run.finished:
        metrics.append(comparable(run.run_epoch()))
        states.append(saved(run))
    for epoch, state in enumerate(states[:-1], start=1):
        again = CompressionRun(config)
        again.load_state_dict(torch.load(io.BytesIO(state), weights_only=True))
        assert rest_of(again) == metrics[epoch:]


@pytest.mark.usefixtures("quick_names")
@pytest.mark.parametrize(
    "config",
    [
        quick("RS"),
        quick("RE", penalty=PenaltyForm(temperature=0.25, final_temperature=0.02)),
        quick("RE", penalty=PenaltyForm(bounded=True)),
        quick("MSQE"),
        quick("none"),
    ],
)
def test_other_penalties_are_drawn_layer_by_layer(config: Any) -> None:
    phase = CompressionRun(config).phase
    assert isinstance(phase, FlatRegularizePhase)
    assert not phase.draws_at_once
