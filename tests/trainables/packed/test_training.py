"""Trials in a pack against the same trials alone: results, neighbours, failures and checkpoints."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.support.example_trials import quick
from tests.support.quick_runs import InDouble, comparable, float_weights, rest_of
from tests.trainables.phases.test_phases import restored, saved
from trainables.config import Recipe, TrialConfig
from trainables.errors import NonFiniteLossError
from trainables.families import FAMILIES
from trainables.models import MODELS
from trainables.packed.training import PackedTraining
from trainables.run import CompressionRun, Metrics

pytestmark = pytest.mark.usefixtures("quick_names")


def smooth_cnn(image_shape: tuple[int, int, int], num_classes: int, width: float) -> nn.Module:
    """A network without ties: those of max pooling are broken by rounding, and change gradients by more than that."""
    first = nn.Conv2d(image_shape[0], 8, 3, padding=1, bias=False)
    second = nn.Conv2d(8, 16, 3, padding=1, stride=2)
    layers = [first, nn.BatchNorm2d(8), nn.Tanh(), second, nn.Tanh(), nn.AvgPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(64, num_classes))


def together(training: PackedTraining, **runs: CompressionRun) -> dict[str, list[Metrics]]:
    """Metrics of the epochs to come of runs that are trained together, by name; names are `at` and their place."""
    results: dict[str, list[Metrics]] = {name: [] for name in runs}
    while left := {int(name[2:]): run for name, run in runs.items() if not run.finished}:
        for place, metrics in training.run_epoch(left).items():
            if isinstance(metrics, Exception):
                raise metrics
            results[f"at{place}"].append(comparable(metrics))
    return results


def largest_difference(one: CompressionRun, other: CompressionRun) -> float:
    """Largest difference of a parameter or statistic, relative to the largest of its tensor."""
    pairs = zip(float_weights(one).values(), float_weights(other).values(), strict=True)
    return max(float((a - b).abs().max() / a.abs().max().clamp(min=1e-9)) for a, b in pairs)


def numbers(metrics: Metrics) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if isinstance(value, float)}


@pytest.mark.parametrize(("precision", "tolerance"), [("float64", 1e-13), ("float32", 2e-5)])
def test_trials_of_all_families_equal_those_alone(
    precision: str, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within rounding, through both phases, with a place for each family; accuracies are equal."""

    def build(image_shape: tuple[int, int, int], num_classes: int, width: float) -> nn.Module:
        network = smooth_cnn(image_shape, num_classes, width)
        return InDouble(network) if precision == "float64" else network

    monkeypatch.setitem(MODELS, "tiny_cnn", build)
    families = sorted(FAMILIES)
    configs = [
        quick(family, num_levels=3 + place, regularize_epochs=1, finetune_epochs=1)
        for place, family in enumerate(families)
    ]
    alone, packed = ([CompressionRun(config) for config in configs] for _ in range(2))
    expected = [rest_of(run) for run in alone]
    results = together(PackedTraining(len(families)), **{f"at{place}": run for place, run in enumerate(packed)})
    for place, family in enumerate(families):
        assert largest_difference(alone[place], packed[place]) < tolerance, family
        for one, other in zip(expected[place], results[f"at{place}"], strict=True):
            assert numbers(other) == pytest.approx(numbers(one), rel=tolerance, abs=tolerance), family
            assert other["val_accuracy"] == one["val_accuracy"]


@pytest.mark.parametrize("model", ["tiny_cnn", "small_cnn", "resnet20"])
def test_result_depends_neither_on_neighbours_nor_on_the_place(model: str) -> None:
    """Bit by bit, so that an interrupted study ends as one that ran through, whatever its packs looked like."""
    size: dict[str, Any] = {"model": model, "width": 0.25 if model == "resnet20" else 1.0, "regularize_epochs": 1}
    lonely, crowded = (CompressionRun(quick(finetune_epochs=1, **size)) for _ in range(2))
    expected = together(PackedTraining(3), at0=lonely)["at0"]
    others = {
        "at0": CompressionRun(quick("RS", num_levels=8, seed=3, finetune_epochs=1, **size)),
        "at2": CompressionRun(quick("none", finetune_epochs=0, **size)),
    }
    assert together(PackedTraining(3), at1=crowded, **others)["at1"] == expected
    for name, value in float_weights(lonely).items():
        assert torch.equal(float_weights(crowded)[name], value)


def test_place_is_filled_while_the_others_go_on() -> None:
    """The trial that follows in a place is the same as in a pack of its own, and so are its neighbours."""
    training = PackedTraining(3)
    first, stopped, second = (CompressionRun(quick(seed=seed)) for seed in range(3))
    training.run_epoch({0: first, 1: stopped})
    results = together(training, at0=first, at1=second)
    fresh = [CompressionRun(quick(seed=seed)) for seed in (0, 2)]
    assert results["at1"] == together(PackedTraining(3), at0=fresh[1])["at0"]
    assert results["at0"] == together(PackedTraining(3), at0=fresh[0])["at0"][1:]


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_checkpoint_goes_on_bit_by_bit_in_another_place_of_another_pack(epochs: int) -> None:
    training = PackedTraining(3)
    run = CompressionRun(quick("RE"))
    for _ in range(epochs):
        training.run_epoch({1: run})
    again, alone = (restored(quick("RE"), saved(run)) for _ in range(2))
    for one in (again, alone):
        for name, value in float_weights(run).items():
            assert torch.equal(float_weights(one)[name], value)
    expected = together(training, at1=run)["at1"]
    neighbour = CompressionRun(quick("RS", num_levels=8, seed=3))
    assert together(PackedTraining(3), at2=again, at0=neighbour)["at2"] == expected
    assert [metrics["epoch"] for metrics in rest_of(alone)] == list(range(epochs + 1, 5))


def test_trial_that_diverges_leaves_its_neighbours_alone() -> None:
    diverging = quick("none", recipe=Recipe(batch_size=40, learning_rate=1e30))
    with pytest.raises(NonFiniteLossError) as alone:
        rest_of(CompressionRun(diverging))
    training, run, failing = PackedTraining(2), CompressionRun(quick()), CompressionRun(diverging)
    results = training.run_epoch({0: failing, 1: run})
    assert not isinstance(results[1], Exception)
    assert isinstance(results[0], NonFiniteLossError)
    assert str(results[0]) == str(alone.value)
    rest = together(training, at1=run)["at1"]
    assert [comparable(results[1]), *rest] == together(PackedTraining(2), at1=CompressionRun(quick()))["at1"]


def test_error_in_a_trial_leaves_its_neighbours_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    training, run, failing = PackedTraining(2), CompressionRun(quick()), CompressionRun(quick("RS"))

    def step(epochs_done: float) -> None:
        raise ZeroDivisionError("of a family")

    monkeypatch.setattr(failing.phase, "step", step)
    results = training.run_epoch({0: failing, 1: run})
    assert not isinstance(results[1], Exception)
    assert isinstance(results[0], ZeroDivisionError)
    assert comparable(results[1]) == together(PackedTraining(2), at1=CompressionRun(quick()))["at1"][0]


def _narrow() -> TrialConfig:
    return quick(model="small_cnn", width=0.5)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (_narrow, "width 0.5"),
        (lambda: quick(recipe=Recipe(batch_size=32)), "batch_size 32"),
        (lambda: quick(subset=100), "images 50"),
    ],
)
def test_trials_of_other_networks_or_batches_are_refused(other: Callable[[], TrialConfig], told: str) -> None:
    """The line names what differs."""
    training = PackedTraining(2)
    training.check(CompressionRun(quick()))
    with pytest.raises(ValueError, match=rf"same network and batches, got .*{told}.* beside .*trials_per_actor to 1"):
        training.check(CompressionRun(other()))


def test_trials_of_a_network_with_dropout_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Side by side they would draw each other's random numbers."""
    share = 0.5

    def build(image_shape: tuple[int, int, int], num_classes: int, width: float) -> nn.Module:
        return nn.Sequential(nn.Dropout(share), smooth_cnn(image_shape, num_classes, width))

    monkeypatch.setitem(MODELS, "tiny_cnn", build)
    with pytest.raises(ValueError, match=r"without dropout, got 'tiny_cnn'.*trials_per_actor to 1"):
        PackedTraining(2).check(CompressionRun(quick()))
    share = 0.0
    PackedTraining(2).check(CompressionRun(quick()))


def test_failure_of_the_shared_passes_ends_the_trials_that_take_part(monkeypatch: pytest.MonkeyPatch) -> None:
    training, run = PackedTraining(2), CompressionRun(quick())

    def losses(*_: Any) -> Tensor:
        raise MemoryError("no memory is left")

    monkeypatch.setattr("trainables.packed.stacked.StackedNetworks.losses", losses)
    assert isinstance(training.run_epoch({0: run})[0], MemoryError)
