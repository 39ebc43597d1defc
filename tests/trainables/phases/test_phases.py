"""A trial in progress: restoring, hard quantization, finetuning, and what decides the numbers."""

import copy
import io
import math
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from tests.support.example_trials import quick
from tests.support.quick_runs import (
    batch_in_double,
    comparable,
    float_weights,
    network_in_double,
    rest_of,
    stepped,
    validation_accuracy,
)
from trainables.config import PenaltyForm, Recipe, TrialConfig
from trainables.data.datasets import load_dataset
from trainables.errors import NonFiniteLossError
from trainables.families import FAMILIES
from trainables.models import MODELS, quantized_weights
from trainables.phases import FinetunePhase, RegularizePhase
from trainables.result import EPOCH_COLUMNS, PRE_TUNING, TEST_ACCURACIES
from trainables.run import CompressionRun

pytestmark = pytest.mark.usefixtures("quick_names")

TRAINED = [name for name, family in FAMILIES.items() if family.trainable and family.has_penalty]


def saved(run: CompressionRun) -> bytes:
    """The run's state as a checkpoint holds it."""
    buffer = io.BytesIO()
    torch.save(run.state_dict(), buffer)
    return buffer.getvalue()


def restored(config: TrialConfig, state: bytes) -> CompressionRun:
    """A fresh run that goes on from a checkpoint."""
    run = CompressionRun(config)
    run.load_state_dict(torch.load(io.BytesIO(state), weights_only=True))
    return run


VARIANTS = {
    **{family: quick(family) for family in FAMILIES},
    **{f"{family} own": quick(family, placement="own") for family in FAMILIES if FAMILIES[family].has_representatives},
    "sgd": quick("RM", recipe=Recipe(batch_size=40, optimizer="sgd", learning_rate=0.03, weight_decay=1e-3)),
    "uniform": quick("RE", placement="uniform", penalty=PenaltyForm(bounded=True, reduction="mean", initial="kmeans")),
    "float": quick("none", num_levels=None),
}


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
def test_restore_reproduces_the_epochs_that_follow(config: TrialConfig) -> None:
    run = CompressionRun(config)
    states, metrics = [], []
    while not run.finished:
        metrics.append(comparable(run.run_epoch()))
        states.append(saved(run))
    # Mid-regularize, between the phases, and mid-finetune.
    for epoch, state in enumerate(states[:-1], start=1):
        again = restored(config, state)
        assert again.epoch == epoch
        assert rest_of(again) == metrics[epoch:]


def test_restore_within_the_same_run_goes_back() -> None:
    run = CompressionRun(quick("RE"))
    run.run_epoch()
    state = torch.load(io.BytesIO(saved(run)), weights_only=True)
    first = comparable(run.run_epoch())
    run.load_state_dict(state)
    assert comparable(run.run_epoch()) == first


def test_temperature_falls_from_step_to_step_so_that_a_phase_of_one_epoch_anneals_too() -> None:
    form = PenaltyForm(temperature=0.25, final_temperature=0.025, temperature_spacing="initial")
    run = CompressionRun(quick("RE", regularize_epochs=1, penalty=form))
    phase = run.phase
    assert isinstance(phase, RegularizePhase)
    began = {name: cast(Any, regularizer).tau for name, regularizer in phase.regularizers.items()}
    run.run_epoch()
    num_batches = math.ceil(len(run.train_split) / run.config.recipe.batch_size)
    assert num_batches > 1
    for name, regularizer in phase.regularizers.items():
        assert cast(Any, regularizer).tau == pytest.approx(began[name] * 0.1 ** (1 - 1 / num_batches))


def test_state_can_be_saved_before_the_first_epoch() -> None:
    config = quick("RM")
    expected = rest_of(CompressionRun(config))
    assert rest_of(restored(config, saved(CompressionRun(config)))) == expected


def test_hard_quantization_gives_weights_back_when_the_block_fails() -> None:
    run = CompressionRun(quick("RM"))
    before = float_weights(run)
    with pytest.raises(KeyboardInterrupt), run.hard_quantized():
        raise KeyboardInterrupt
    assert all(torch.equal(tensor, before[name]) for name, tensor in float_weights(run).items())


@pytest.mark.parametrize("epochs", [1, 2])
def test_finetune_ignores_gradients_that_were_left_behind(epochs: int) -> None:
    plain, littered = (CompressionRun(quick("RM", regularize_epochs=1)) for _ in range(2))
    for _ in range(epochs):
        plain.run_epoch()
        littered.run_epoch()
    for weight in littered.weights.values():
        weight.grad = torch.full_like(weight, 1e3)
    assert rest_of(littered) == rest_of(plain)


@pytest.mark.parametrize("placement", ["kmeans", "uniform", "own"])
def test_finetune_gradient_is_that_of_autograd_through_the_codebook(placement: str) -> None:
    config = quick("RM", placement=placement, num_levels=5)
    model, weights = network_in_double(config)
    codebooks = RegularizePhase(config, model, weights).codebooks()
    phase = FinetunePhase(config, model, weights, codebooks)
    images, labels = batch_in_double()

    values = {name: values.detach().clone().requires_grad_() for name, (values, _) in codebooks.items()}
    tied = {name: values[name][assignment.long()] for name, (_, assignment) in codebooks.items()}
    model.train()
    cross_entropy(functional_call(model, tied, (images,)), labels).backward()

    model.zero_grad()
    cross_entropy(model(images), labels).backward()
    phase.step(0.0)
    for name, expected in values.items():
        actual = phase.state_dict()["representatives"][name].grad
        torch.testing.assert_close(actual, expected.grad, rtol=1e-9, atol=1e-12)
        assert expected.grad is not None
        assert expected.grad.abs().max() > 0


def test_penalty_is_the_sum_over_layers() -> None:
    run = CompressionRun(quick("RM"))
    metrics = run.run_epoch()
    representatives = run.phase.state_dict()["representatives"]
    by_hand = sum(
        (weight.detach().double().flatten()[:, None] - representatives[name].detach().double()).abs().amin(1).sum()
        for name, weight in run.weights.items()
    )
    assert metrics["penalty"] == pytest.approx(float(by_hand), rel=1e-5)
    run.run_epoch()
    assert run.run_epoch()["penalty"] is None


@pytest.mark.parametrize("family", TRAINED)
def test_representatives_are_trained_and_stay_sorted(family: str) -> None:
    config = quick(family, num_levels=16, recipe=Recipe(batch_size=32, representative_learning_rate=2.0))
    run = CompressionRun(config)
    begun = {name: values.detach().clone() for name, values in run.phase.state_dict()["representatives"].items()}
    run.run_epoch()
    for name, values in run.phase.state_dict()["representatives"].items():
        assert (values.diff() >= 0).all()
        assert not torch.equal(values, begun[name])


def test_learning_rates_fall_along_a_cosine_in_each_phase() -> None:
    run = CompressionRun(quick("RM", recipe=Recipe(batch_size=40, learning_rate=0.01, finetune_learning_rate=0.02)))
    for epoch in range(4):
        run.run_epoch()
        peak = 0.01 if epoch < 2 else 0.02
        done = (epoch % 2 + 2 / 3) / 2  # the last of 3 batches in an epoch of two
        for group in run.phase.optimizers[0].param_groups:
            assert group["lr"] == pytest.approx(peak * (1 + math.cos(math.pi * done)) / 2)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize(
    ("phase", "num_levels", "decay_quantized", "decayed"),
    [
        ("regularize", 4, False, set()),
        ("regularize", 4, True, {"0.weight", "5.weight"}),
        ("regularize", None, False, {"0.weight", "5.weight"}),
        ("finetune", 4, True, set()),
    ],
)
def test_weight_decay_touches_what_the_recipe_says(
    phase: str, num_levels: int | None, decay_quantized: bool, decayed: set[str], optimizer: str
) -> None:
    def after(weight_decay: float) -> dict[str, Tensor]:
        recipe = Recipe(optimizer=optimizer, weight_decay=weight_decay, decay_quantized=decay_quantized)
        return stepped(phase, quick("none", num_levels=num_levels, recipe=recipe))

    plain, pulled = after(0.0), after(0.5)
    assert {name for name in plain if not torch.equal(plain[name], pulled[name])} == decayed
    assert all(pulled[name].norm() < plain[name].norm() for name in decayed)


def test_trial_begun_under_the_former_rule_of_decay_goes_on_as_it_began() -> None:
    """Checkpoints of earlier versions have every parameter of two and more axes in the decayed group."""

    class WithTable(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.ones(2, 2))
            self.linear = nn.Linear(2, 2)

    model = WithTable()
    config = quick("none", num_levels=None, recipe=Recipe(weight_decay=0.1))
    former, phase = (RegularizePhase(config, model, quantized_weights(model)) for _ in range(2))
    former.optimizers[0].param_groups[:] = [
        former.optimizers[0].param_groups[0] | {"params": [model.table, model.linear.weight]},
        former.optimizers[0].param_groups[1] | {"params": [model.linear.bias]},
    ]
    assert [len(group["params"]) for group in phase.optimizers[0].param_groups] == [1, 2]
    phase.load_state_dict(former.state_dict())
    decayed, others = (group["params"] for group in phase.optimizers[0].param_groups)
    assert [id(p) for p in decayed] == [id(model.table), id(model.linear.weight)]
    assert [id(p) for p in others] == [id(model.linear.bias)]


def test_finetune_state_keeps_assignments_when_levels_exceed_sixteen_bits() -> None:
    num_levels = 40_000
    config = quick("none", num_levels=num_levels)
    weight = nn.Parameter(torch.zeros(num_levels))
    codebook = {"weight": (torch.arange(float(num_levels)), torch.arange(num_levels))}

    def phase() -> FinetunePhase:
        model = nn.ParameterDict({"weight": weight, "bias": nn.Parameter(torch.zeros(1))})
        return FinetunePhase(config, model, {"weight": weight}, codebook)

    state = phase().state_dict()
    fresh = phase()
    fresh.load_state_dict(copy.deepcopy(state))
    assert torch.equal(weight.detach(), torch.arange(float(num_levels)))


def test_run_leaves_global_generators_untouched() -> None:
    # Not Python's own, from which the checks of annotations draw.
    np.random.seed(5)
    torch.manual_seed(5)
    before = np.random.get_state(legacy=False)["state"]["key"].tolist(), torch.get_rng_state()
    run = CompressionRun(quick("RE"))
    rest_of(run)
    saved(run)
    assert np.random.get_state(legacy=False)["state"]["key"].tolist() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


def _dropout_network(image_shape: tuple[int, int, int], num_classes: int, width: float) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(image_shape), 32), nn.Dropout(), nn.Linear(32, num_classes))


def test_cudnn_takes_deterministic_algorithms_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    CompressionRun(quick("none"))
    assert torch.backends.cudnn.deterministic


def test_seed_decides_dropout_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "dropout", _dropout_network)
    config = quick("RM", model="dropout")
    run = CompressionRun(config)
    torch.manual_seed(1)
    first, state = comparable(run.run_epoch()), saved(run)
    following = rest_of(run)
    torch.manual_seed(2)
    assert comparable(CompressionRun(config).run_epoch()) == first
    assert rest_of(restored(config, state)) == following


def test_metrics_are_the_columns_of_an_epoch() -> None:
    of_the_study = {"trial_id", "number", "session"}
    columns = {column.name: column.type for column in EPOCH_COLUMNS if column.name not in of_the_study}
    run = CompressionRun(quick("RM", regularize_epochs=1, finetune_epochs=1))
    python_types: dict[str, Any] = {"int": int, "float": (int, float), "str": str}
    for phase in ("regularize", "finetune"):
        metrics = run.run_epoch()
        assert set(metrics) == set(columns) | {"artifact_bytes", "weight_bops", *PRE_TUNING, *TEST_ACCURACIES}
        assert metrics["phase"] == phase
        for name, kind in columns.items():
            null = name in ("penalty", "quantization_error") and phase == "finetune"
            assert metrics[name] is None if null else isinstance(metrics[name], python_types[kind])
        assert 0 <= metrics["val_accuracy"] <= 1


@pytest.mark.parametrize("evaluate_test", [False, True])
def test_test_split_is_looked_at_after_the_last_epoch_and_only_if_asked(evaluate_test: bool) -> None:
    run = CompressionRun(quick("RM", regularize_epochs=1, finetune_epochs=1, evaluate_test=evaluate_test))
    first, last = run.run_epoch(), run.run_epoch()
    assert first["test_accuracy"] is None
    assert (last["test_accuracy"] is not None) == evaluate_test
    assert (first["test_accuracy_pre_tuning"] is not None) == evaluate_test
    assert last["test_accuracy_pre_tuning"] == first["test_accuracy_pre_tuning"]
    if evaluate_test:
        images = torch.from_numpy(load_dataset("few_digits").x_test).permute(0, 3, 1, 2)
        inputs = (images - run.train_split.mean[:, None, None]) / run.train_split.std[:, None, None]
        with torch.no_grad():
            guesses = run.model.eval()(inputs).argmax(1)
        expected = float((guesses == torch.from_numpy(load_dataset("few_digits").y_test)).float().mean())
        assert last["test_accuracy"] == pytest.approx(expected, abs=0.004)  # an image may sit on an edge


def test_bits_match_the_assignments() -> None:
    run = CompressionRun(quick("none", num_levels=5, regularize_epochs=1, finetune_epochs=1))
    for _ in range(2):
        metrics = run.run_epoch()
        entropies, sizes = [], []
        for _, assignment in run.phase.codebooks().values():
            share = np.bincount(assignment.flatten(), minlength=5) / assignment.numel()
            entropies.append(-sum(p * math.log2(p) for p in share if p))
            sizes.append(assignment.numel())
        assert metrics["entropy_bits_per_weight"] == pytest.approx(np.average(entropies, weights=sizes))
        assert metrics["index_bits_per_weight"] == 3
        parameters = sum(parameter.numel() for parameter in run.model.parameters())
        assert metrics["bits_per_weight"] == 8 * metrics["artifact_bytes"] / parameters


def test_float_baseline_stays_float_through_both_phases() -> None:
    config = quick("none", num_levels=None, regularize_epochs=1, finetune_epochs=1)
    run = CompressionRun(config)
    for _ in range(2):
        before = float_weights(run)
        metrics = run.run_epoch()
        assert metrics["float_val_accuracy"] == metrics["val_accuracy"]
        assert metrics["val_accuracy"] == validation_accuracy(copy.deepcopy(run.model), run)
        assert metrics["index_bits_per_weight"] == metrics["entropy_bits_per_weight"] == 32
        assert metrics["bits_per_weight"] >= 32
        assert run.phase.codebooks() == {}
        for name, weight in run.weights.items():
            assert len(weight.unique()) > weight.numel() / 2
            assert not torch.equal(weight, before[name])  # both phases train every weight


@pytest.mark.parametrize("rate", [{"learning_rate": 1e30}, {"representative_learning_rate": 1e36}])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("batch_size", [40, 1000])
def test_run_epoch_raises_when_training_diverges(rate: dict[str, Any], optimizer: str, batch_size: int) -> None:
    # With one batch an epoch, the loss is computed before the only step, and the weights diverge after it.
    run = CompressionRun(quick("none", recipe=Recipe(batch_size=batch_size, optimizer=optimizer, **rate)))
    with pytest.raises(NonFiniteLossError, match="not finite"):
        rest_of(run)


@pytest.mark.parametrize("family", ["RE", "RS"])
def test_layer_has_no_more_levels_than_weights_and_older_checkpoints_still_load(family: str) -> None:
    run = CompressionRun(quick(family, num_levels=200))
    small = min(run.weights, key=lambda name: run.weights[name].numel())
    few = run.weights[small].numel()
    assert few < 200
    assert isinstance(run.phase, RegularizePhase)
    assert {len(values) for name, (values, _) in run.phase.codebooks().items() if name == small} == {few}
    older = CompressionRun(quick(family, num_levels=200))
    levels = dict.fromkeys(older.weights, 200)
    assert isinstance(older.phase, RegularizePhase)
    older.phase = type(older.phase)(older.config, older.model, older.weights, levels, older.batches_per_epoch)
    older.run_epoch()
    run.load_state_dict(torch.load(io.BytesIO(saved(older)), weights_only=True))
    assert comparable(run.run_epoch()) == comparable(older.run_epoch())
