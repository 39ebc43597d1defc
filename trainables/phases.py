"""The phases of one trial, epoch by epoch: regularize, quantize, finetune. No Ray.

`CompressionRun` is a trial in progress. `run_epoch` trains one epoch of whichever phase it is in and returns the
metrics that are reported; `state_dict` holds all that the next epoch depends on.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from trainables.bits import NetworkBits, network_bits
from trainables.config import Recipe, TrialConfig
from trainables.data import Split, load_dataset, train_and_validation
from trainables.dynamic import mean_spacing
from trainables.models import build_model, quantized_weights
from trainables.regularizers import REGULARIZERS, Regularizer
from trainables.representatives import assign, place
from trainables.result import FINETUNE, REGULARIZE

Metrics = dict[str, Any]


class NonFiniteLossError(Exception):
    """Training diverged: a batch's cross-entropy is not finite."""


def _weight_optimizer(recipe: Recipe, parameters: list[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
    if recipe.optimizer == "adam":
        return torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(parameters, lr=learning_rate, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay)


def _representative_optimizer(recipe: Recipe, representatives: list[Tensor]) -> torch.optim.Optimizer | None:
    """Adam with a step for each layer that is in proportion to the spacing of its representatives."""
    groups = [
        {"params": [values], "lr": recipe.representative_learning_rate * mean_spacing(values.detach())}
        for values in representatives
    ]
    # Gradients carry λ, which may be tiny: a small eps keeps Adam's step independent of it.
    return torch.optim.Adam(groups, eps=1e-20) if groups else None


class Phase(Protocol):
    """What the two phases have in common.

    Attributes:
        name: `regularize` or `finetune`.
        optimizers: their learning rates fall along a cosine over the phase.
    """

    name: str
    optimizers: list[torch.optim.Optimizer]

    def start_epoch(self, fraction: float) -> None:
        """Told before each epoch how much of the phase is over, in [0, 1)."""

    def step(self) -> None:
        """Updates all that is trained, from the gradients that a backward pass has left in `.grad`."""

    def codebooks(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Representatives (k,) and assignment (the weight's shape) of each quantized weight, as of now."""

    def penalty(self) -> float | None:
        """Sum of the layers' penalties as of now, before λ; None in a phase without one."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class RegularizePhase:
    """Trains float weights, and the representatives of the dynamic families, on cross-entropy + λ · penalty."""

    name = REGULARIZE

    def __init__(self, config: TrialConfig, model: nn.Module, weights: dict[str, nn.Parameter]) -> None:
        self.config = config
        self.weights = weights
        self.regularizers: dict[str, Regularizer] = {}
        if config.num_levels is not None and config.family in REGULARIZERS:
            make = REGULARIZERS[config.family]
            self.regularizers = {
                name: make(weight.detach().flatten(), config.num_levels, config.penalty)
                for name, weight in weights.items()
            }
        self.trained_representatives = [
            regularizer.representatives
            for regularizer in self.regularizers.values()
            if regularizer.representatives.requires_grad
        ]
        self.optimizers = [_weight_optimizer(config.recipe, list(model.parameters()), config.recipe.learning_rate)]
        if optimizer := _representative_optimizer(config.recipe, self.trained_representatives):
            self.optimizers.append(optimizer)

    def start_epoch(self, fraction: float) -> None:
        for regularizer in self.regularizers.values():
            regularizer.progress(fraction)

    def step(self) -> None:
        for name, regularizer in self.regularizers.items():
            weight = self.weights[name]
            assert weight.grad is not None
            regularizer.add_gradient(weight.detach().view(-1), weight.grad.view(-1), self.config.lam)
        for optimizer in self.optimizers:
            optimizer.step()
        for representatives in self.trained_representatives:
            representatives.data.copy_(representatives.data.sort().values)

    def codebooks(self) -> dict[str, tuple[Tensor, Tensor]]:
        if self.config.num_levels is None:
            return {}
        result = {}
        for name, weight in self.weights.items():
            regularizer = self.regularizers.get(name)
            own = None if regularizer is None else regularizer.representatives.detach()
            flat = weight.detach().flatten()
            representatives = place(self.config.placement, flat, self.config.num_levels, own)
            result[name] = representatives, assign(weight.detach(), representatives)
        return result

    def penalty(self) -> float:
        return sum(
            regularizer.value(self.weights[name].detach().flatten()) for name, regularizer in self.regularizers.items()
        )

    def state_dict(self) -> dict[str, Any]:
        return {
            "representatives": {name: regularizer.representatives for name, regularizer in self.regularizers.items()},
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, regularizer in self.regularizers.items():
            regularizer.representatives.data.copy_(state["representatives"][name])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)


class FinetunePhase:
    """Trains representatives with fixed assignments, and the parameters that are not quantized.

    The gradient of a representative is the sum of those of the weights assigned to it.

    Source: Han, Mao, Dally, "Deep Compression", arXiv 1510.00149, Sec. 3 (trained quantization).
    """

    name = FINETUNE

    def __init__(
        self,
        config: TrialConfig,
        model: nn.Module,
        weights: dict[str, nn.Parameter],
        codebooks: dict[str, tuple[Tensor, Tensor]],
    ) -> None:
        self.config = config
        self.weights = {name: weights[name] for name in codebooks}
        self.representatives = {
            name: values.detach().clone().requires_grad_() for name, (values, _) in codebooks.items()
        }
        self.assignments = {name: assignment.long() for name, (_, assignment) in codebooks.items()}
        quantized = {id(weight) for weight in self.weights.values()}
        free = [parameter for parameter in model.parameters() if id(parameter) not in quantized]
        self.optimizers = [_weight_optimizer(config.recipe, free, config.recipe.finetune_learning_rate)]
        if optimizer := _representative_optimizer(config.recipe, list(self.representatives.values())):
            self.optimizers.append(optimizer)
        self._write_weights()

    def _write_weights(self) -> None:
        for name, weight in self.weights.items():
            weight.data.copy_(self.representatives[name].detach()[self.assignments[name]])

    def start_epoch(self, fraction: float) -> None:
        pass

    def step(self) -> None:
        for name, weight in self.weights.items():
            values = self.representatives[name]
            assert weight.grad is not None
            values.grad = torch.zeros_like(values).index_add_(0, self.assignments[name].view(-1), weight.grad.view(-1))
            weight.grad = None
        for optimizer in self.optimizers:
            optimizer.step()
        self._write_weights()

    def codebooks(self) -> dict[str, tuple[Tensor, Tensor]]:
        return {name: (values.detach(), self.assignments[name]) for name, values in self.representatives.items()}

    def penalty(self) -> None:
        return None

    def state_dict(self) -> dict[str, Any]:
        return {
            "representatives": self.representatives,
            "assignments": {name: levels.to(torch.int16) for name, levels in self.assignments.items()},
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, values in self.representatives.items():
            values.data.copy_(state["representatives"][name])
            self.assignments[name].copy_(state["assignments"][name])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self._write_weights()


class CompressionRun:
    """A trial in progress.

    Attributes:
        config: of the trial.
        epoch: epochs trained so far, across both phases.
        model: the network; its weights are float in the first phase and quantized in the second.
    """

    def __init__(self, config: TrialConfig, device: str | torch.device = "cpu") -> None:
        self.config = config
        self.device = torch.device(device)
        self.epoch = 0
        dataset = load_dataset(config.dataset)
        split_seed, weight_seed, order_seed = np.random.SeedSequence(config.seed).generate_state(3)
        self.train_split, self.validation_split = train_and_validation(
            dataset, config.validation_fraction, np.random.default_rng(split_seed), self.device
        )
        self.model = build_model(config.model, dataset.image_shape, dataset.num_classes, int(weight_seed))
        self.model.to(self.device)
        self.weights = quantized_weights(self.model)
        self.generator = torch.Generator().manual_seed(int(order_seed))
        self.phase: Phase = RegularizePhase(config, self.model, self.weights)
        self.float_val_accuracy: float | None = None
        self.val_accuracy_pre_tuning: float | None = None

    @property
    def finished(self) -> bool:
        return self.epoch >= self.config.epochs

    def run_epoch(self) -> Metrics:
        """Trains one epoch and evaluates the hard-quantized network.

        Returns:
            One value for each of `trainables.result.EPOCH_COLUMNS` but the trial's names, `artifact_bytes`, and
            `val_accuracy_pre_tuning` (None before quantization).

        Raises:
            NonFiniteLossError: a batch's loss is not finite; the run can't go on.
        """
        started = time.perf_counter()
        if self.epoch == self.config.regularize_epochs:
            self.quantize()
        loss = self._train_epoch()
        self.epoch += 1
        if self.phase.name == REGULARIZE:
            self.float_val_accuracy = accuracy(self.model, self.validation_split)
        with self.hard_quantized() as bits:
            val_accuracy = accuracy(self.model, self.validation_split)
        if self.config.num_levels is None:
            self.float_val_accuracy = val_accuracy
        if self.epoch == self.config.regularize_epochs:
            self.val_accuracy_pre_tuning = val_accuracy
        return {
            "epoch": self.epoch,
            "phase": self.phase.name,
            "train_loss": loss,
            "penalty": self.phase.penalty(),
            "val_accuracy": val_accuracy,
            "val_accuracy_pre_tuning": self.val_accuracy_pre_tuning,
            "float_val_accuracy": self.float_val_accuracy,
            "bits_per_weight": bits.bits_per_weight,
            "index_bits_per_weight": bits.index_bits_per_weight,
            "entropy_bits_per_weight": bits.entropy_bits_per_weight,
            "artifact_bytes": bits.payload_bytes,
            "train_seconds": time.perf_counter() - started,
        }

    def quantize(self) -> None:
        """Ends the first phase: places the final representatives and fixes the assignments."""
        self.phase = FinetunePhase(self.config, self.model, self.weights, self.phase.codebooks())

    @contextmanager
    def hard_quantized(self) -> Iterator[NetworkBits]:
        """Replaces each weight by its nearest representative for the time of the block, and counts the bits."""
        codebooks = self.phase.codebooks()
        trained = {name: self.weights[name].detach().clone() for name in codebooks}
        counts = {}
        for name, (representatives, assignment) in codebooks.items():
            levels = assignment.long()
            self.weights[name].data.copy_(representatives[levels])
            counts[name] = torch.bincount(levels.flatten(), minlength=len(representatives)).tolist()
        try:
            yield network_bits(self.model, counts)
        finally:
            for name, weight in trained.items():
                self.weights[name].data.copy_(weight)

    def _train_epoch(self) -> float:
        phase_start, phase_length = (
            (0, self.config.regularize_epochs)
            if self.phase.name == REGULARIZE
            else (self.config.regularize_epochs, self.config.finetune_epochs)
        )
        batches = math.ceil(len(self.train_split) / self.config.recipe.batch_size)
        self.phase.start_epoch((self.epoch - phase_start) / phase_length)
        self.model.train()
        losses = []
        # Dropout draws from the global generator: lend it one that the trial's own decides.
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(int(torch.randint(2**62, (), generator=self.generator)))
            for index, (images, labels) in enumerate(
                self.train_split.batches(self.config.recipe.batch_size, self.generator)
            ):
                done = (self.epoch - phase_start + index / batches) / phase_length
                _follow_cosine(self.phase.optimizers, done)
                for optimizer in self.phase.optimizers:
                    optimizer.zero_grad(set_to_none=False)
                loss = cross_entropy(self.model(images), labels)
                loss.backward()
                self.phase.step()
                losses.append(loss.detach())
        mean = torch.stack(losses).mean().item()
        if not math.isfinite(mean):
            raise NonFiniteLossError(
                f"the loss is not finite ({mean}) in epoch {self.epoch + 1}; lower the learning rate or λ"
            )
        return mean

    def state_dict(self) -> dict[str, Any]:
        """All that the next epoch depends on; `load_state_dict` of a fresh run of the same config goes on from it."""
        return {
            "config": self.config.to_dict(),
            "phase": self.phase.name,
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "phase_state": self.phase.state_dict(),
            "generator": self.generator.get_state(),
            "float_val_accuracy": self.float_val_accuracy,
            "val_accuracy_pre_tuning": self.val_accuracy_pre_tuning,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from `state`; only the seed-independent parts of the configuration must match."""
        self.epoch = state["epoch"]
        self.model.load_state_dict(state["model"])
        if state["phase"] == FINETUNE and self.phase.name == REGULARIZE:
            self.quantize()
        self.phase.load_state_dict(state["phase_state"])
        self.generator.set_state(state["generator"])
        self.float_val_accuracy = state["float_val_accuracy"]
        self.val_accuracy_pre_tuning = state["val_accuracy_pre_tuning"]


def _follow_cosine(optimizers: list[torch.optim.Optimizer], done: float) -> None:
    """Sets every learning rate to its share at `done` of the phase, falling from all to 0."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
            group["lr"] = group["initial_lr"] * (1 + math.cos(math.pi * done)) / 2


@torch.no_grad()
def accuracy(model: nn.Module, split: Split, batch_size: int = 1000) -> float:
    """Share of a split's images that the network, in evaluation mode, classifies correctly, in [0, 1]."""
    model.eval()
    correct = sum((model(images).argmax(1) == labels).sum() for images, labels in split.batches(batch_size))
    return int(correct) / len(split)
