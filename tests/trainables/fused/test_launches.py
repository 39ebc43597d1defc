"""What a step on a GPU launches, and that the host never waits; counted on tensors without data."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from count_launches import count_step

import trainables.fused
from trainables.config import PenaltyForm
from trainables.fused.layers import FusedPenalty
from trainables.fused.layout import CONTROLS
from trainables.regularizers.registry import REGULARIZERS

MOST_OVER_NONE = 12


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("model", ["vgg16", "alexnet"])
def test_families_launch_little_more_than_none_and_wait_for_nothing(model: str, optimizer: str) -> None:
    plain = count_step(model, "none", 2, optimizer=optimizer)
    assert plain.waits == 0
    for family in ("RS", "RC", "RM", "RE"):
        for num_levels in (2, 16, 256):
            step = count_step(model, family, num_levels, optimizer=optimizer)
            assert step.waits == 0
            trained = family in ("RM", "RE")
            assert step.operators["qar::pull_weights"] == 1
            assert step.operators["qar::train_representatives"] == trained
            assert step.launches - plain.launches == 1 + trained


@pytest.mark.parametrize("num_levels", [2, 256])
def test_finetuning_launches_little_more_than_none_and_waits_for_nothing(num_levels: int) -> None:
    plain = count_step("alexnet", "none", 2, optimizer="adam")
    step = count_step("alexnet", "none", num_levels, "finetune", optimizer="adam")
    assert step.waits == 0
    assert step.launches - plain.launches <= MOST_OVER_NONE


def test_coupled_penalties_are_added_by_one_launch_more() -> None:
    counts = [
        count_step("alexnet", "RM", 4, optimizer="sgd", penalty_application=application, lam_unit="gradient")
        for application in ("decoupled", "coupled")
    ]
    assert counts[1].launches - counts[0].launches == 1
    assert counts[1].waits == 0


def test_each_operator_launches_one_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts above take an operator of this package for one launch."""
    launched: list[str] = []

    class Recorder:
        def __init__(self, name: str, kernel: Any) -> None:
            self.name, self.kernel = name, kernel

        def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., Any]:
            launched.append(self.name)
            return self.kernel[grid]

    kernels = trainables.fused.kernels
    for name in ("pull_weights", "train_representatives"):
        monkeypatch.setattr(kernels, name, Recorder(name, getattr(kernels, name)))
    weights = [torch.randn(size, generator=torch.Generator().manual_seed(size)) for size in (9, 300, 40)]
    regularizers = [REGULARIZERS["RM"](weight, 4, PenaltyForm()) for weight in weights]
    penalty = FusedPenalty(weights, regularizers, True, [0.1] * 3, chunk=64)
    controls = torch.ones(CONTROLS)
    penalty.move(controls, "draw")
    penalty.step_representatives(controls)
    assert launched == ["pull_weights", "train_representatives"]
