"""Packs of trials whose layers are trained at once, as on a GPU: each takes its own steps, beside the others."""

from typing import Any

import pytest
import torch

from tests.support.example_trials import quick
from tests.support.quick_runs import comparable, rest_of
from trainables.config import Recipe
from trainables.errors import NonFiniteLossError
from trainables.packed.training import PackedTraining
from trainables.run import CompressionRun

pytestmark = pytest.mark.usefixtures("quick_names")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def fused(family: str = "RM", **changes: Any) -> CompressionRun:
    """A trial that the host does not wait for."""
    config = quick(family, regularize_epochs=1, finetune_epochs=1, **changes)
    return CompressionRun(config, DEVICE, fused=True)


def layer_by_layer() -> CompressionRun:
    """A trial whose steps are waited for."""
    return CompressionRun(quick("RC", regularize_epochs=1, finetune_epochs=1), DEVICE, fused=False)


def test_trials_take_their_own_steps_with_the_results_of_each_alone() -> None:
    """Bit by bit, in both phases, also beside a trial that takes part in shared passes."""
    training = PackedTraining(3)
    runs = {0: fused(), 1: layer_by_layer(), 2: fused("none", seed=3)}
    alone = {0: rest_of(fused()), 2: rest_of(fused("none", seed=3))}
    shared = layer_by_layer()
    for epoch in range(2):
        assert [run.phase.on_device for run in runs.values()] == [True, False, True]
        results = training.run_epoch(runs)
        (beside_none,) = PackedTraining(3).run_epoch({1: shared}).values()
        for place, metrics in results.items():
            assert not isinstance(metrics, Exception), place
            assert not isinstance(beside_none, Exception)
            assert comparable(metrics) == (comparable(beside_none) if place == 1 else alone[place][epoch])
    assert all(run.finished for run in runs.values())


def test_trial_that_diverges_or_fails_leaves_its_neighbours_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {0: fused(), 1: fused("none", recipe=Recipe(batch_size=40, learning_rate=1e30)), 2: fused("RS")}

    def step(epochs_done: float) -> None:
        raise ZeroDivisionError("of a family")

    monkeypatch.setattr(runs[2].phase, "step", step)
    results = PackedTraining(3).run_epoch(runs)
    assert not isinstance(results[0], Exception)
    assert comparable(results[0]) == rest_of(fused())[0]
    assert isinstance(results[1], NonFiniteLossError)
    assert isinstance(results[2], ZeroDivisionError)
