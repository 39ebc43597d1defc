"""Checks of training on a device, which need torch and numpy alone.

`tests/trainables/fused/test_cuda.py` runs them too. Each takes a trial with a regularize phase and raises
`AssertionError` where the device does not do as it should.
"""

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from trainables.config import TrialConfig
from trainables.fused.graph import WARMUP_STEPS, CapturedStep
from trainables.packed.training import PackedTraining
from trainables.run import CompressionRun

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BATCHES = WARMUP_STEPS + 5
"""Whole batches of an epoch: enough for a step to be captured and replayed."""


def short(config: TrialConfig) -> TrialConfig:
    """Return a trial of two and one epochs on few images, whose last batch is smaller than the others."""
    images = int((BATCHES * config.recipe.batch_size + 7) / (1 - config.validation_fraction))
    subset = min(config.subset or images, images)
    return replace(config, subset=subset, regularize_epochs=2, finetune_epochs=1)


def rest_of(run: CompressionRun) -> list[dict[str, Any]]:
    """Train a trial to its end; return the metrics of each epoch but for the time."""
    metrics = []
    while not run.finished:
        metrics.append({name: value for name, value in run.run_epoch().items() if name != "train_seconds"})
    return metrics


def check_layer_by_layer(config: TrialConfig) -> None:
    """Training has the losses of training layer by layer by PyTorch's operators, within the rounding of three epochs.

    On a GPU, the kernels train all layers at once; on a CPU, loops apply the penalties of RM and RE.
    """
    fastest = True if DEVICE == "cuda" else None
    at_once, one_by_one = (rest_of(CompressionRun(short(config), DEVICE, fused=fused)) for fused in (fastest, False))
    for metrics, expected in zip(at_once, one_by_one, strict=True):
        loss, other = metrics["train_loss"], expected["train_loss"]
        assert abs(loss - other) <= 0.05 * other, f"train_loss is {loss} at once, {other} layer by layer"


def check_restore(config: TrialConfig) -> None:
    """A trial that is restored after its first epoch goes on bitwise as it would have."""
    run, again = (CompressionRun(short(config), DEVICE) for _ in range(2))
    run.run_epoch()
    file = io.BytesIO()
    torch.save(run.state_dict(), file)
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    expected, restored = rest_of(run), rest_of(again)
    assert restored == expected, f"epochs after a restore differ: {restored} in place of {expected}"


def check_capture(config: TrialConfig) -> None:
    """A step of either phase is captured as a CUDA graph, and does what the same step does without."""
    losses: list[list[float]] = []
    for enabled in (True, False):
        CapturedStep.enabled = enabled
        try:
            run = CompressionRun(short(config), DEVICE)
            losses.append([])
            while not run.finished:
                losses[-1].append(run.run_epoch()["train_loss"])
                step = run.training.captured_step
                assert step is not None, f"no step of the phase {run.phase.name} was to be captured"
                assert step.is_captured == enabled, f"the step of {run.phase.name} is not captured: {step.failure}"
        finally:
            CapturedStep.enabled = True
    assert losses[0] == losses[1], f"losses are {losses[0]} with a captured step, {losses[1]} without"


def check_waits(config: TrialConfig) -> None:
    """No step of either phase makes the host wait, but for the first ones, which make tables."""
    run = CompressionRun(short(config), DEVICE)
    while not run.finished:
        run.run_epoch()
        batches = run.training.batches
        assert batches is not None
        batches.begin_epoch(run.generator)
        run.phase.begin_epoch(0)
        torch.cuda.set_sync_debug_mode("error")
        try:
            run.training.step_on_device(run.phase, batches, config.recipe.batch_size)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def check_side_by_side(config: TrialConfig) -> None:
    """Trials that a pack trains side by side have bitwise the results of each of them alone."""
    small = replace(short(config), model="small_cnn", model_options={}, width=1.0)
    trials = [replace(small, seed=seed) for seed in range(3)]
    runs = {place: CompressionRun(trial, DEVICE) for place, trial in enumerate(trials)}
    pack = PackedTraining(len(trials))
    together: list[list[dict[str, Any]]] = [[] for _ in trials]
    while not runs[0].finished:
        for place, metrics in pack.run_epoch(runs).items():
            if isinstance(metrics, Exception):
                raise metrics
            together[place].append({name: value for name, value in metrics.items() if name != "train_seconds"})
    for place, trial in enumerate(trials):
        alone = rest_of(CompressionRun(trial, DEVICE))
        assert together[place] == alone, f"trial {place} has {together[place]} in a pack, {alone} alone"


CHECKS: dict[str, Callable[[TrialConfig], None]] = {
    "as layer by layer": check_layer_by_layer,
    "bitwise after a restore": check_restore,
}
"""Checks for any device, by what holds."""

CUDA_CHECKS: dict[str, Callable[[TrialConfig], None]] = {
    "captured as a graph": check_capture,
    "without a wait": check_waits,
    "side by side as alone": check_side_by_side,
}
"""Checks for a GPU alone."""
