"""Optimizers with learning rates in device memory, and the rows of controls that hold these rates."""

from typing import Any

import torch
from torch import Tensor

from trainables.fused.layout import CONTROLS
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
    """Return the peak learning rate of each layer's representatives."""
    return [group.get("initial_lr", group["lr"]) for optimizer in optimizers[1:] for group in optimizer.param_groups]


def portable(state: dict[str, Any]) -> dict[str, Any]:
    """Undo the group settings of `bind` in a phase's state, in place, and return it, as for a CPU."""
    for optimizer in state["optimizers"]:
        for group in optimizer["param_groups"]:
            group.update(lr=group["initial_lr"], fused=None, foreach=None)
            if "capturable" in group:
                group["capturable"] = False
    return state


def control_rows(schedule: PhaseSchedule, learning_rate: float) -> list[list[float]]:
    """Return a row of controls for each step of a phase, with its learning rates; other controls are 0."""
    rows = []
    for step in range(schedule.epochs * schedule.batches_per_epoch):
        share = schedule.share(step / schedule.batches_per_epoch)
        rows.append([learning_rate * share, 0.0, 0.0, share])
        assert len(rows[-1]) == CONTROLS
    return rows
