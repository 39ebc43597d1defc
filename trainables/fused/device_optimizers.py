"""Optimizers that read what changes from step to step from the device, and the numbers that they read."""

import warnings
from typing import Any

import torch
from torch import Tensor

from trainables.fused.layout import CONTROLS, MOST_LEVELS
from trainables.phases import Phase
from trainables.phases.schedule import PhaseSchedule


def bind(optimizers: list[torch.optim.Optimizer], rate: Tensor) -> None:
    """Let the optimizer of the weights read its learning rate, 0-dimensional, from the device at each step."""
    for group in optimizers[0].param_groups:
        group.setdefault("initial_lr", group["lr"])
        group.update(lr=rate, fused=True, foreach=False)
        if "capturable" in group:
            group["capturable"] = True
    for tensor, state in optimizers[0].state.items():
        if "step" in state:
            state["step"] = state["step"].to(tensor.device, torch.float32)
    for optimizer in optimizers[1:]:
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])


def highest_rates(optimizers: list[torch.optim.Optimizer]) -> list[float]:
    """Return the highest learning rate of the representatives of each layer."""
    return [group.get("initial_lr", group["lr"]) for optimizer in optimizers[1:] for group in optimizer.param_groups]


def portable(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of a phase with optimizers as they are where layers are stepped one by one."""
    for optimizer in state["optimizers"]:
        for group in optimizer["param_groups"]:
            group.update(lr=group["initial_lr"], fused=None, foreach=None)
            if "capturable" in group:
                group["capturable"] = False
    return state


def warn_of_many_levels(phase: Phase) -> None:
    """Say in one line that a phase goes layer by layer where layers have too many levels."""
    if not phase.on_device:
        warnings.warn(
            f"the {phase.name} phase has a layer with more than {MOST_LEVELS:,} levels, and goes layer by layer, for "
            "which the host waits in each step; lower num_levels to train all layers at once",
            stacklevel=3,
        )


def control_rows(schedule: PhaseSchedule, learning_rate: float) -> list[list[float]]:
    """Return the learning rates of every step of a phase, among controls that are 0."""
    rows = []
    for step in range(schedule.epochs * schedule.batches_per_epoch):
        share = schedule.share(step / schedule.batches_per_epoch)
        rows.append([learning_rate * share, 0.0, 0.0, share])
        assert len(rows[-1]) == CONTROLS
    return rows
