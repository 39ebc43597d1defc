"""Optimizers of a phase, and operations on them."""

from typing import Any

import torch
from torch import Tensor, nn

from trainables.config import Recipe
from trainables.phases.eager import SGD, Adam, AdamW
from trainables.regularizers.representatives import mean_spacing


def weight_optimizer(
    recipe: Recipe, decayed: list[nn.Parameter], others: list[nn.Parameter], learning_rate: float
) -> torch.optim.Optimizer:
    """Return the recipe's optimizer: AdamW, or SGD with Nesterov momentum.

    Args:
        recipe: recipe of the trial.
        decayed: parameters with the recipe's weight decay.
        others: parameters without weight decay.
        learning_rate: highest learning rate of both.
    """
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if recipe.optimizer == "adam":
        return AdamW(groups, lr=learning_rate)
    return SGD(groups, lr=learning_rate, momentum=0.9, nesterov=True)


def representative_optimizer(recipe: Recipe, trained: list[tuple[Tensor, Tensor]]) -> torch.optim.Optimizer | None:
    """Return Adam with a learning rate for each layer in proportion to the mean spacing of its representatives.

    Returns None if `trained` is empty.

    Args:
        recipe: recipe of the trial.
        trained: for each layer, the tensor that is trained, and its representatives, (K,).
    """
    groups = [
        {"params": [tensor], "lr": recipe.representative_learning_rate * mean_spacing(representatives.detach())}
        for tensor, representatives in trained
    ]
    # Gradients carry λ, which may be tiny: a small eps keeps Adam's step independent of it.
    return Adam(groups, eps=1e-20) if groups else None


def group_sizes(optimizer_state: dict[str, Any]) -> list[int]:
    """Return the number of parameters of each group in a state of an optimizer."""
    return [len(group["params"]) for group in optimizer_state["param_groups"]]


def sort_representatives(optimizer: torch.optim.Optimizer, representatives: Tensor) -> None:
    """Put representatives, (K,), back in increasing order, and Adam's moments with them."""
    values = representatives.detach()
    if values.device.type == "cpu" and bool((values[1:] >= values[:-1]).all()):
        return  # as they nearly always are
    order = values.argsort(stable=True)
    representatives.data.copy_(representatives.data[order])
    for moment in optimizer.state[representatives].values():
        if moment.shape == representatives.shape:
            moment.copy_(moment[order])


def set_learning_rates(optimizers: list[torch.optim.Optimizer], share: float) -> None:
    """Set every learning rate to a share of its highest."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
            group["lr"] = group["initial_lr"] * share
