"""The interface of a phase."""

from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import torch

from trainables.codebooks.assignment import Codebook


@runtime_checkable
class Phase(Protocol):
    """The interface of a phase.

    A step of training is a forward and a backward pass within `forward_weights`, then `step`.

    Attributes:
        name: `regularize` or `finetune`.
        optimizers: optimizers whose learning rates follow the recipe's schedule.
        on_device: whether a step reads the learning rates and its place in the schedule from device memory. The caller
            then need not pass `epochs_done` or set learning rates, and the host does not wait for the step.
    """

    name: str
    on_device: bool
    optimizers: list[torch.optim.Optimizer]

    def forward_weights(self, epochs_done: float) -> AbstractContextManager[None]:
        """Replace the network's weights by those that the forward pass uses, for the time of the block.

        Enter it once before each call of `step`. When the block ends, the network holds its trained weights again, and
        `.grad` is the gradient of the loss with respect to them.

        Args:
            epochs_done: epochs of the phase that are over before this step.
        """

    def begin_epoch(self, epoch: int) -> None:
        """Prepare the steps of an epoch, counted from 0 over the phase; called before each."""

    def set_learning_rates(self, share: float) -> None:
        """Set every learning rate to a share of its highest; called before each step."""

    def step(self, epochs_done: float) -> None:
        """Update all that is trained, from the gradients that a backward pass has left in the weights' `.grad`.

        Args:
            epochs_done: epochs of the phase that are over before this step.
        """

    def codebooks(self) -> dict[str, Codebook]:
        """Return the current codebook of each quantized weight; empty for the float baseline."""

    def penalty(self) -> float | None:
        """Return the current sum of the layers' penalties, not multiplied by λ; None in a phase without one."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next step depends on, besides the network."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a result of `state_dict`."""
