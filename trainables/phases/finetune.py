"""The finetune phase: representatives are trained, with fixed assignments."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from trainables.codebooks.assignment import Codebook
from trainables.config import TrialConfig
from trainables.phases.optimizers import representative_optimizer, set_learning_rates, weight_optimizer
from trainables.regularizers.chunks import flat
from trainables.result import FINETUNE


class FinetunePhase:
    """Trains representatives with fixed assignments, and the parameters that are not quantized.

    The gradient of a representative is the sum of those of the weights assigned to it.

    Source: Han, Mao, Dally, "Deep Compression", arXiv 1510.00149, Sec. 3 (trained quantization).
    """

    name = FINETUNE
    on_device = False

    def __init__(
        self,
        config: TrialConfig,
        model: nn.Module,
        weights: dict[str, nn.Parameter],
        codebooks: dict[str, Codebook],
    ) -> None:
        """Begin the phase from `codebooks`, by name of the quantized weight; write their values into the network."""
        self.config = config
        self.weights = {name: weights[name] for name in codebooks}
        self.representatives = {
            name: values.detach().clone().requires_grad_() for name, (values, _) in codebooks.items()
        }
        # In the memory layout of the weights, so that flat views of both go together.
        self.assignments = {
            name: torch.empty_like(weights[name], dtype=torch.int32).copy_(levels)
            for name, (_, levels) in codebooks.items()
        }
        quantized = {id(weight) for weight in self.weights.values()}
        free = [parameter for parameter in model.parameters() if id(parameter) not in quantized]
        self.highest_learning_rate = config.recipe.finetune_learning_rate or config.recipe.learning_rate
        self.optimizers = [weight_optimizer(config.recipe, [], free, self.highest_learning_rate)]
        trained = [(values, values) for values in self.representatives.values()]
        if optimizer := representative_optimizer(config.recipe, trained):
            self.optimizers.append(optimizer)
        self._write_weights()

    def _write_weights(self) -> None:
        for name, weight in self.weights.items():
            values = self.representatives[name].detach()
            torch.index_select(values, 0, flat(self.assignments[name]), out=flat(weight.detach()))

    def forward_weights(self, epochs_done: float) -> AbstractContextManager[None]:
        """Do nothing: the network holds quantized weights."""
        return nullcontext()

    def begin_epoch(self, epoch: int) -> None:
        """Do nothing: a step is told how much of the phase is over."""

    def set_learning_rates(self, share: float) -> None:
        """Set every learning rate to a share of its highest."""
        set_learning_rates(self.optimizers, share)

    def step(self, epochs_done: float) -> None:
        """Update all that is trained; see `Phase.step`."""
        for name, weight in self.weights.items():
            values = self.representatives[name]
            assert weight.grad is not None
            values.grad = torch.zeros_like(values).index_add_(0, flat(self.assignments[name]), flat(weight.grad))
        for optimizer in self.optimizers:
            optimizer.step()
        self._write_weights()

    def codebooks(self) -> dict[str, Codebook]:
        """Return the current codebooks; see `Phase.codebooks`."""
        return {name: (values.detach(), self.assignments[name]) for name, values in self.representatives.items()}

    def penalty(self) -> None:
        """Do nothing: this phase has no penalty."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next step depends on; see `Phase.state_dict`."""
        return {
            "representatives": self.representatives,
            "assignments": self.assignments,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a result of `state_dict`."""
        for name, values in self.representatives.items():
            values.data.copy_(state["representatives"][name])
            self.assignments[name].copy_(state["assignments"][name])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self._write_weights()
