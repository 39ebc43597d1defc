"""Launches of a step on a GPU, for which the host never waits; counted on tensors without data."""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import pytest
import torch
from count_launches import Counts, count_step

from trainables.config import PenaltyForm
from trainables.families import FAMILIES
from trainables.fused.layers import FusedPenalty, can_fuse
from trainables.fused.layout import CONTROLS, MOST_LEVELS
from trainables.regularizers.registry import REGULARIZERS, TRANSFORMS

MOST_OVER_NONE = 12


LAYER_BY_LAYER = {
    "LSQ": "no penalty: the forward pass uses other values than the weights, which each layer makes for itself",
    "PARQ": "no penalty: as LSQ, and each layer takes the means of its weights by level in every step",
    "DKM": "no penalty: as LSQ, and each layer runs k-means until it converges, through which the gradient goes",
}
"""Families that no kernel knows, and why; every other one in the registry is held to the limits below."""

KERNELS = {
    "RS": {"pull_weights"},
    "RC": {"pull_weights"},
    "SinReQ": {"pull_weights"},
    "RM": {"pull_weights", "train_representatives"},
    "RE": {"pull_weights", "train_representatives"},
    "RH": {"count_levels", "pull_weights", "train_representatives"},
    "MSQE": {"pull_weights", "train_grids"},
    "BinReg": {"count_levels", "pull_weights", "train_grids"},
}
"""Kernels of a step, each launched once."""


@cache
def plain_step(model: str, optimizer: str) -> Counts:
    """The operators of a step without a penalty."""
    return count_step(model, "none", 2, optimizer=optimizer)


@pytest.mark.parametrize("model", ["vgg16", "alexnet"])
@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in LAYER_BY_LAYER])
def test_families_launch_little_more_than_none_and_wait_for_nothing(family: str, model: str) -> None:
    """The registry is read: a family that is added later is held to the limits too."""
    phase = "finetune" if family == "quantize-first" else "regularize"
    for optimizer, all_levels in (("sgd", (2, 16, 256)), ("adam", (16,))):
        plain = plain_step(model, optimizer)
        assert plain.waits == 0
        for num_levels in all_levels:
            step = count_step(model, family, num_levels, phase, optimizer=optimizer)
            assert step.waits == 0
            assert step.launches - plain.launches <= MOST_OVER_NONE
            if family in KERNELS:
                launched = {name: count for name, count in step.operators.items() if name.startswith("qar::")}
                assert launched == {f"qar::{kernel}": 1 for kernel in KERNELS[family]}
                assert step.launches - plain.launches == len(launched)


def test_families_layer_by_layer_are_known_by_name() -> None:
    """A family of this table that gets a kernel leaves it."""
    assert set(LAYER_BY_LAYER) == set(TRANSFORMS)
    for family in LAYER_BY_LAYER:
        assert not can_fuse([TRANSFORMS[family](torch.arange(9.0), 2, PenaltyForm())])


@pytest.mark.parametrize("family", ["RS", "SinReQ"])
def test_fixed_representatives_may_be_more_than_kernels_add_up(family: str) -> None:
    plain = plain_step("alexnet", "sgd")
    step = count_step("alexnet", family, 4 * MOST_LEVELS, optimizer="sgd")
    assert (step.launches - plain.launches, step.waits) == (1, 0)


@pytest.mark.parametrize("num_levels", [2, 256])
def test_finetuning_launches_little_more_than_none_and_waits_for_nothing(num_levels: int) -> None:
    plain = plain_step("alexnet", "adam")
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


@pytest.mark.parametrize("family", KERNELS)
def test_counted_kernels_are_those_that_are_launched(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts above are of calls of `launch`."""
    launched: list[str] = []

    class Recorder:
        def __init__(self, name: str, kernel: Any) -> None:
            self.name, self.kernel = name, kernel

        def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., Any]:
            launched.append(self.name)
            return self.kernel[grid]

    for module in (import_module(f"trainables.fused.{name}") for name in ("kernels", "training_kernels")):
        for name in {name for names in KERNELS.values() for name in names} & set(vars(module)):
            monkeypatch.setattr(module, name, Recorder(name, getattr(module, name)))
    weights = [torch.randn(size, generator=torch.Generator().manual_seed(size)) for size in (9, 300, 40)]
    regularizers = [REGULARIZERS[family](weight, 4, PenaltyForm()) for weight in weights]
    penalty = FusedPenalty(weights, regularizers, True, [0.1] * 3, chunk=64)
    controls = torch.ones(CONTROLS)
    penalty.move(controls, "draw")
    penalty.step_representatives(controls)
    assert sorted(launched) == sorted(KERNELS[family])
