"""Optimizers without torch's compiler: the same numbers, and no import of it."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer

from trainables.phases import eager

SETTINGS = {
    "Adam": {"lr": 0.01, "eps": 1e-20},
    "AdamW": {"lr": 0.01, "weight_decay": 0.1},
    "SGD": {"lr": 0.01, "momentum": 0.9, "nesterov": True},
}

TRAINING = """
import sys
from trainables.config import TrialConfig
from trainables.run import CompressionRun

run = CompressionRun(
    TrialConfig(model="small_cnn", dataset="digits", subset=64, width=0.25, family="RM", num_levels=4, lam=8.0,
                regularize_epochs=1, finetune_epochs=1)
)
for _ in range(2):
    run.run_epoch()
print(sorted(name for name in sys.modules if name.startswith("torch._dynamo")))
"""


def started(kind: type[Optimizer], name: str) -> tuple[list[Tensor], Optimizer]:
    """Return parameters in two groups, and their optimizer."""
    generator = torch.Generator().manual_seed(0)
    parameters = [torch.randn(size, generator=generator).requires_grad_() for size in (3, 5)]
    groups = [{"params": parameters[:1]}, {"params": parameters[1:], "lr": 0.1}]
    return parameters, kind(groups, **SETTINGS[name])  # type: ignore[arg-type]


def make_steps(parameters: list[Tensor], optimizer: Optimizer, steps: range) -> None:
    """Make steps, each with gradients of its own."""
    for step in steps:
        generator = torch.Generator().manual_seed(1 + step)
        optimizer.zero_grad()
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()


@pytest.mark.parametrize("name", SETTINGS)
def test_steps_are_those_of_torch_and_go_on_from_a_state(name: str) -> None:
    expected, reference = started(getattr(torch.optim, name), name)
    make_steps(expected, reference, range(4))
    first, earlier = started(getattr(eager, name), name)
    make_steps(first, earlier, range(2))
    second, optimizer = started(getattr(eager, name), name)
    for parameter, other in zip(second, first, strict=True):
        parameter.data.copy_(other.data)
    optimizer.load_state_dict(earlier.state_dict())
    make_steps(second, optimizer, range(2, 4))
    for parameter, other in zip(second, expected, strict=True):
        assert torch.equal(parameter, other)


def test_a_trial_trains_without_loading_the_compiler() -> None:
    finished = subprocess.run([sys.executable, "-c", TRAINING], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "[]"
