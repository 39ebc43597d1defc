"""Promises that every family of the registry keeps in a run of both phases."""

import copy
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.support.example_trials import quick
from tests.support.quick_runs import (
    batch_in_double,
    float_weights,
    network_in_double,
    rest_of,
    validation_accuracy,
)
from trainables.codebooks.placement import place_representatives
from trainables.config import PenaltyForm, Recipe
from trainables.errors import NonFiniteLossError
from trainables.families import FAMILIES
from trainables.models import quantized_weights
from trainables.phases import RegularizePhase
from trainables.run import CompressionRun

pytestmark = pytest.mark.usefixtures("quick_names")

COUPLED: dict[str, Any] = {"penalty_application": "coupled", "lam_unit": "gradient"}
PENALIZED = [name for name, family in FAMILIES.items() if family.has_penalty]
TRANSFORMED = [name for name, family in FAMILIES.items() if family.forward != "w"]
QUANTIZED_LATER = ["none", *PENALIZED, *TRANSFORMED]
"""Families with a first phase; `quantize-first` has none (tests/trainables/test_statistics.py)."""


@pytest.mark.parametrize("family", QUANTIZED_LATER)
def test_hard_quantization_leaves_the_float_network_untouched(family: str) -> None:
    run = CompressionRun(quick(family))
    run.run_epoch()
    before = float_weights(run)
    with run.hard_quantized():
        inside = float_weights(run)
    after = float_weights(run)
    assert all(torch.equal(before[name], after[name]) for name in before)
    for name, tensor in inside.items():
        quantized = name in run.weights
        assert torch.equal(tensor, before[name]) != quantized
        assert not quantized or len(tensor.unique()) <= 4


@pytest.mark.parametrize(
    ("family", "placement"), [(name, placement) for name in QUANTIZED_LATER for placement in FAMILIES[name].placements]
)
def test_pre_tuning_accuracy_is_that_of_a_network_quantized_by_hand(family: str, placement: str) -> None:
    run = CompressionRun(quick(family, placement=placement, regularize_epochs=1, finetune_epochs=0))
    metrics = run.run_epoch()
    assert metrics["float_val_accuracy"] == validation_accuracy(copy.deepcopy(run.model), run)
    assert metrics["val_accuracy_kept"] == metrics["val_accuracy_pre_tuning_kept"]

    by_hand = copy.deepcopy(run.model)
    assert isinstance(run.phase, RegularizePhase)
    own = {name: quantizer.representatives.detach() for name, quantizer in run.phase.quantizers.items()}
    for name, weight in quantized_weights(by_hand).items():
        flat = weight.detach().flatten()
        values = place_representatives(placement, flat, 4, own.get(name))
        nearest = (flat[:, None] - values).abs().argmin(1)
        weight.data.copy_(values[nearest].view_as(weight))
    assert metrics["val_accuracy_kept"] == validation_accuracy(by_hand, run)


@pytest.mark.parametrize("family", QUANTIZED_LATER)
def test_finetune_keeps_assignments_and_at_most_num_levels_values(family: str) -> None:
    run = CompressionRun(quick(family, num_levels=3))
    while run.epoch < 2:
        run.run_epoch()
    trained = float_weights(run)
    assignments = {name: assignment.clone() for name, (_, assignment) in run.phase.codebooks().items()}
    run.quantize()
    placed = {name: values.clone() for name, (values, _) in run.phase.codebooks().items()}
    while not run.finished:
        metrics = run.run_epoch()
        for name, (values, assignment) in run.phase.codebooks().items():
            assert torch.equal(assignment.long(), assignments[name].long())
            assert torch.equal(run.weights[name].detach(), values[assignment.long()])
            assert len(run.weights[name].unique()) <= 3
        assert metrics["val_accuracy_kept"] == validation_accuracy(copy.deepcopy(run.model), run)
    # Representatives, biases and normalization have gone on training.
    assert any(not torch.equal(values, placed[name]) for name, (values, _) in run.phase.codebooks().items())
    now = float_weights(run)
    assert not torch.equal(now["1.bias"], trained["1.bias"])


@pytest.mark.parametrize("family", PENALIZED)
def test_regularize_step_adds_lambda_times_the_penalty_gradient(family: str) -> None:
    recipe = Recipe(optimizer="sgd", learning_rate=0.1, **COUPLED)
    images, labels = batch_in_double()
    stepped = {}
    for lam in (0.0, 0.05):
        config = quick(family, lam=lam, recipe=recipe)
        model, weights = network_in_double(config)
        phase = RegularizePhase(config, model, weights)
        expected = {name: torch.zeros(weight.numel(), dtype=torch.float64) for name, weight in weights.items()}
        for name, gradient in expected.items():
            phase.regularizers[name].add_gradient(weights[name].detach().flatten(), gradient, 1.0)
        model.train()
        cross_entropy(model(images), labels).backward()
        phase.step(0.0)
        stepped[lam] = {name: weight.detach().clone() for name, weight in weights.items()}
    for name, gradient in expected.items():
        # The first step of SGD with Nesterov momentum 0.9 is 1.9 times the learning rate.
        moved = (stepped[0.05][name] - stepped[0.0][name]).flatten()
        torch.testing.assert_close(moved, -0.1 * 1.9 * 0.05 * gradient, rtol=1e-4, atol=1e-7)
        assert gradient.abs().max() > 0


@pytest.mark.parametrize("family", TRANSFORMED)
def test_forward_and_backward_pass_use_the_transformed_weights(family: str) -> None:
    images, labels = batch_in_double()
    config = quick(family)
    model, weights = network_in_double(config)
    phase = RegularizePhase(config, model, weights)
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    # The same steps by hand, on quantizers and a network of their own.
    copied, copies = network_in_double(config)
    by_hand = RegularizePhase(config, copied, copies)
    for name, weight in copies.items():
        by_hand.transforms[name].progress(0.5)
        weight.data.copy_(by_hand.transforms[name].transform(before[name].flatten()).view_as(weight))
    expected = copied(images)
    cross_entropy(expected, labels).backward()

    with phase.forward_weights(0.5 * config.regularize_epochs):
        logits = model(images)
        assert any(not torch.equal(weights[name], before[name]) for name in weights)
        cross_entropy(logits, labels).backward()
    assert torch.equal(logits, expected)
    for name, weight in weights.items():
        assert torch.equal(weight, before[name])
        assert weight.grad is not None
        gradient = copies[name].grad
        assert gradient is not None
        by_hand.transforms[name].chain(before[name].flatten(), gradient.view(-1))
        assert torch.equal(weight.grad, gradient)


@pytest.mark.parametrize("family", TRANSFORMED)
def test_weights_are_restored_when_a_forward_pass_fails(family: str) -> None:
    config = quick(family)
    model, weights = network_in_double(config)
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    with pytest.raises(RuntimeError, match="broken"), RegularizePhase(config, model, weights).forward_weights(0.0):
        raise RuntimeError("broken")
    assert all(torch.equal(weights[name], before[name]) for name in weights)


@pytest.mark.parametrize("family", PENALIZED)
def test_lambda_zero_is_ordinary_training(family: str) -> None:
    baseline = rest_of(CompressionRun(quick("none")))
    unweighted = rest_of(CompressionRun(quick(family, lam=0.0, placement="kmeans")))
    for plain, zero in zip(baseline, unweighted, strict=True):
        assert zero | {"penalty": None} == plain | {"penalty": None}


@pytest.mark.parametrize("family", QUANTIZED_LATER)
def test_seed_decides_all_metrics(family: str) -> None:
    config = quick(family, regularize_epochs=1, finetune_epochs=1)
    torch.manual_seed(1)
    first = rest_of(CompressionRun(config))
    torch.manual_seed(2)
    assert rest_of(CompressionRun(config)) == first
    other = rest_of(CompressionRun(quick(family, regularize_epochs=1, finetune_epochs=1, seed=1)))
    assert [metrics["train_loss"] for metrics in other] != [metrics["train_loss"] for metrics in first]


@pytest.mark.parametrize("family", QUANTIZED_LATER)
def test_run_epoch_raises_when_training_diverges_under_a_penalty(family: str) -> None:
    run = CompressionRun(quick(family, recipe=Recipe(batch_size=40, optimizer="sgd", learning_rate=1e30)))
    with pytest.raises(NonFiniteLossError, match="not finite"):
        rest_of(run)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("family", PENALIZED)
def test_run_epoch_raises_when_the_penalty_diverges(family: str, squared: bool) -> None:
    recipe = Recipe(batch_size=40, optimizer="sgd", learning_rate=0.1, **COUPLED)
    run = CompressionRun(quick(family, lam=1e38, penalty=PenaltyForm(squared=squared), recipe=recipe))
    with pytest.raises(NonFiniteLossError, match="lower the learning rate or λ"):
        rest_of(run)
