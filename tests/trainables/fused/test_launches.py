"""Launches of a step on a GPU, for which the host never waits; counted on tensors without data."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import pytest
import torch
from count_launches import Counts, count_step

from tests.support.compile_kernels import KERNEL_MODULES
from trainables.config import PenaltyForm
from trainables.families import FAMILIES
from trainables.fused.layers import FusedPenalty
from trainables.fused.layout import CONTROLS, MOST_LEVELS
from trainables.fused.transforms import FUSED_TRANSFORMS
from trainables.regularizers.registry import QUANTIZERS, REGULARIZERS, TRANSFORMS

MOST_OVER_NONE = 12

KERNELS = {
    "RS": {"pull_weights": 1},
    "RC": {"pull_weights": 1},
    "SinReQ": {"pull_weights": 1},
    "RM": {"pull_weights": 1},
    "RE": {"pull_weights": 1},
    "RH": {"count_levels": 1, "pull_weights": 1},
    "MSQE": {"pull_weights": 1},
    "BinReg": {"count_levels": 1, "pull_weights": 1},
    "LSQ": {"quantize_weights": 1, "pass_quantized": 1},
    "PARQ": {"take_means": 1, "map_weights": 1},
    "DKM": {"move_centroids": 5, "cluster_weights": 1, "pass_attention": 6},
}
"""Kernels of a step, and how often each is launched."""

ADDING = {
    "count_levels",
    "pull_weights",
    "train_codebooks",
    "pass_quantized",
    "take_means",
    "move_centroids",
    "pass_attention",
}
"""Kernels whose last program of a layer adds up what the others have stored."""

ADDING_NOTHING = ("'STAGE': 'first'", "'TRAIN': 'nothing'", "count_levels {'FAMILY': 'bins'")
"""Variants of them that do not."""

COPIES = {"PARQ": 1}
"""Launches with which PyTorch puts the weights back, where no kernel passes a gradient."""


@cache
def plain_step(model: str, optimizer: str) -> Counts:
    """The operators of a step without a penalty."""
    return count_step(model, "none", 2, optimizer=optimizer)


MOST_REGISTERS = 80
"""Most registers of a thread that goes through its chunk in pieces: six programs of 128 threads share 65,536."""


@pytest.mark.parametrize("model", ["vgg16", "alexnet"])
@pytest.mark.parametrize("family", FAMILIES)
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
                assert launched == {f"qar::{kernel}": count for kernel, count in KERNELS[family].items()}
                assert step.launches - plain.launches == sum(launched.values()) + COPIES.get(family, 0)


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

    modules = [import_module(f"trainables.fused.{name}") for name in KERNEL_MODULES]
    for module in modules:
        for name in {name for names in KERNELS.values() for name in names} & set(vars(module)):
            monkeypatch.setattr(module, name, Recorder(name, getattr(module, name)))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    sizes = (9, 300, 40)
    weights = [torch.randn(size, generator=torch.Generator().manual_seed(size)).to(device) for size in sizes]
    quantizers = [QUANTIZERS[family](weight, 4, PenaltyForm()) for weight in weights]
    controls = torch.ones(CONTROLS, device=device)
    if family in TRANSFORMS:
        transform = FUSED_TRANSFORMS[type(quantizers[0])](weights, quantizers, [0.1] * 3, chunk=64)
        transform.apply(controls)
        transform.chain([torch.ones_like(weight) for weight in weights], controls)
    else:
        penalty = FusedPenalty(weights, quantizers, True, [0.1] * 3, chunk=64)
        penalty.move(controls, "draw")
    assert Counter(launched) == KERNELS[family]


def test_kernels_compile_for_a_gpu() -> None:
    """The interpreter runs what the compiler may refuse. No GPU is needed to compile.

    Registers hold nearly all numbers of a thread.
    """
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    script = "from tests.support.compile_kernels import main; main()"
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    variants = [(line.split()[0].split(".")[1], line) for line in ended.stdout.splitlines()]
    compiled = {name for name, _ in variants}
    assert compiled == {name for names in KERNELS.values() for name in names} | {"train_codebooks", "write_levels"}
    for name, line in variants:
        adds_up = name in ADDING and not any(variant in line for variant in ADDING_NOTHING)
        assert ("counts programs" in line) is adds_up, line
        assert int(line.split()[-4]) <= 32, line
        if "'PIECE': 128" in line:
            assert int(line.split()[-6]) <= MOST_REGISTERS, line


def test_a_penalty_takes_two_launches_at_most() -> None:
    """With the training of its representatives, and whatever the number of layers and levels."""
    assert max(sum(KERNELS[family].values()) for family in REGULARIZERS) == 2
