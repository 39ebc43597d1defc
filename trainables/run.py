"""A trial in progress: both phases, epoch by epoch, and what is measured after each. No Ray.

`run_epoch` trains one epoch of whichever phase the trial is in and returns the metrics that are reported;
`state_dict` holds all that the next epoch depends on.
"""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from trainables.codebooks.artifact import Artifact
from trainables.codebooks.bits import NetworkBits, network_bits
from trainables.config import TrialConfig
from trainables.data.batches import Split, test_split, train_and_validation
from trainables.data.datasets import load_dataset
from trainables.models import build_model, quantized_weights
from trainables.phases import FinetunePhase, Phase, RegularizePhase
from trainables.result import FINETUNE, REGULARIZE
from trainables.schedule import learning_rate_share, warmup_share

Metrics = dict[str, Any]


class NonFiniteLossError(Exception):
    """Training diverged: a batch's cross-entropy, a weight or the penalty is not finite."""


class CompressionRun:
    """A trial in progress.

    Attributes:
        config: of the trial.
        epoch: epochs trained so far, across both phases.
        model: the network; its weights are float in the first phase and quantized in the second.
    """

    def __init__(
        self,
        config: TrialConfig,
        device: str | torch.device = "cpu",
        initial_weights: Mapping[str, Tensor] | None = None,
        fetch: bool = True,
    ) -> None:
        """Prepares a trial.

        Args:
            config: of the trial.
            device: where the network and its images are.
            initial_weights: of the float baseline, as `model.state_dict()`, when `config.init` is `pretrained`.
            fetch: whether the data set may be downloaded or fetched.

        Raises:
            ValueError: the data set or the model can't be had, or `initial_weights` doesn't fit `config.init`.
        """
        if (config.init == "pretrained") != (initial_weights is not None):
            raise ValueError(f"initial weights must be given if and only if init is 'pretrained', got {config.init!r}")
        self.config = config
        self.device = torch.device(device)
        self.epoch = 0
        self._fetch = fetch
        dataset = load_dataset(config.dataset, config.data_dir, fetch)
        split_seed, weight_seed, order_seed = trial_seeds(config.seed)
        self.train_split, self.validation_split = train_and_validation(
            dataset, config.validation_fraction, np.random.default_rng(split_seed), self.device, config.subset
        )
        self.model = build_model(config.model, dataset.image_shape, dataset.num_classes, weight_seed, config.width).to(
            device=self.device
        )
        self.model.to(memory_format=torch.channels_last)
        if initial_weights is not None:
            self.model.load_state_dict(initial_weights)
        self._network = torch.compile(self.model) if config.recipe.compile else self.model
        self.weights = quantized_weights(self.model)
        self.generator = torch.Generator().manual_seed(order_seed)
        self.phase: Phase = RegularizePhase(config, self.model, self.weights)
        self.float_val_accuracy: float | None = None
        self.val_accuracy_pre_tuning: float | None = None
        self.test_accuracy_pre_tuning: float | None = None

    @property
    def finished(self) -> bool:
        """Whether all epochs of both phases are trained."""
        return self.epoch >= self.config.epochs

    def run_epoch(self) -> Metrics:
        """Trains one epoch and evaluates the hard-quantized network.

        Returns:
            One value for each of `trainables.result.EPOCH_COLUMNS` but the trial's names, `artifact_bytes`,
            `val_accuracy_pre_tuning` (None before quantization), and the same two on the test split (None but of a
            trial with `evaluate_test`, `test_accuracy` until the last epoch).

        Raises:
            NonFiniteLossError: a batch's loss is not finite; the run can't go on.
        """
        started = time.perf_counter()
        if self.epoch == self.config.regularize_epochs:
            self.quantize()
        loss = self.train_epoch()
        penalty = self.phase.penalty()
        if penalty is not None:
            self._require_finite("penalty", penalty)
        self.epoch += 1
        if self.phase.name == REGULARIZE:
            self.float_val_accuracy = accuracy(self.model, self.validation_split)
        test_accuracy = None
        pre_tuning = self.config.num_levels is not None and self.epoch == self.config.regularize_epochs
        with self.hard_quantized() as bits:
            val_accuracy = accuracy(self.model, self.validation_split)
            if self.config.evaluate_test and (self.finished or pre_tuning):
                dataset = load_dataset(self.config.dataset, self.config.data_dir, self._fetch)
                test_accuracy = accuracy(self.model, test_split(dataset, self.train_split))
        if self.config.num_levels is None:
            self.float_val_accuracy = val_accuracy
        if pre_tuning:
            self.val_accuracy_pre_tuning, self.test_accuracy_pre_tuning = val_accuracy, test_accuracy
        return {
            "epoch": self.epoch,
            "phase": self.phase.name,
            "train_loss": loss,
            "penalty": penalty,
            "val_accuracy": val_accuracy,
            "val_accuracy_pre_tuning": self.val_accuracy_pre_tuning,
            "float_val_accuracy": self.float_val_accuracy,
            "bits_per_weight": bits.bits_per_weight,
            "index_bits_per_weight": bits.index_bits_per_weight,
            "entropy_bits_per_weight": bits.entropy_bits_per_weight,
            "conv_bits_per_weight": bits.conv_bits_per_weight,
            "linear_bits_per_weight": bits.linear_bits_per_weight,
            "artifact_bytes": bits.payload_bytes,
            "test_accuracy_pre_tuning": self.test_accuracy_pre_tuning,
            "test_accuracy": test_accuracy if self.finished else None,
            "train_seconds": time.perf_counter() - started,
        }

    def quantize(self) -> None:
        """Ends the first phase: places the final representatives and fixes the assignments."""
        self.phase = FinetunePhase(self.config, self.model, self.weights, self.phase.codebooks())
        self._recalibrate()

    @contextmanager
    def hard_quantized(self) -> Iterator[NetworkBits]:
        """Replaces each weight by its nearest representative for the time of the block, and counts the bits."""
        codebooks = self.phase.codebooks()
        float_phase = self.phase.name == REGULARIZE and codebooks
        before = {name: tensor.clone() for name, tensor in self.model.state_dict().items()} if float_phase else {}
        counts = {}
        for name, (representatives, assignment) in codebooks.items():
            levels = assignment.flatten()
            counts[name] = torch.bincount(levels, minlength=len(representatives)).tolist()
            if float_phase:
                self.weights[name].data.copy_(representatives.index_select(0, levels).view(assignment.shape))
        if float_phase:
            self._recalibrate()
        try:
            yield network_bits(self.model, counts)
        finally:
            if float_phase:
                self.model.load_state_dict(before)

    def artifact(self, provenance: Mapping[str, Any]) -> Artifact:
        """Return the hard-quantized network as of now, ready to be written to a file.

        Args:
            provenance: where the network comes from; anything that JSON can hold.
        """
        codebooks = self.phase.codebooks()
        with self.hard_quantized():
            floats = {
                name: tensor.detach().to("cpu", torch.float32, copy=True).contiguous()
                for name, tensor in self.model.state_dict().items()
                if name not in codebooks and tensor.is_floating_point()
            }
        dataset = load_dataset(self.config.dataset, self.config.data_dir, self._fetch)
        return Artifact(
            config=self.config,
            image_shape=dataset.image_shape,
            num_classes=dataset.num_classes,
            mean=tuple(self.train_split.mean.tolist()),
            std=tuple(self.train_split.std.tolist()),
            codebooks={name: (values.detach().cpu(), levels.cpu()) for name, (values, levels) in codebooks.items()},
            floats=floats,
            provenance=provenance,
        )

    @torch.no_grad()
    def _recalibrate(self) -> None:
        """Estimates the statistics of batch normalization anew, from training images in their order."""
        layers = [module for module in self.model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
        if not self.config.recipe.recalibration_batches or not layers:
            return
        self.model.eval()
        momenta = [layer.momentum for layer in layers]
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # a plain mean over the batches
            layer.train()
        batches = self.train_split.batches(self.config.recipe.batch_size)
        for _, (images, _) in zip(range(self.config.recipe.recalibration_batches), batches, strict=False):
            self.model(images)
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum

    def train_epoch(self) -> float:
        """Trains one epoch of the phase that the trial is in; returns the mean cross-entropy of its batches, nats."""
        recipe = self.config.recipe
        first, length = (
            (0, self.config.regularize_epochs)
            if self.phase.name == REGULARIZE
            else (self.config.regularize_epochs, self.config.finetune_epochs)
        )
        warmup = recipe.warmup_epochs if self.phase.name == REGULARIZE else 0.0
        num_batches = math.ceil(len(self.train_split) / recipe.batch_size)
        self.model.train()
        losses = []
        # Dropout draws from the global generator: lend it one that the trial's own decides.
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(int(torch.randint(2**62, (), generator=self.generator)))
            for index, (images, labels) in enumerate(
                self.train_split.batches(recipe.batch_size, self.generator, recipe.augmentation)
            ):
                epochs_done = self.epoch - first + index / num_batches
                # The first step of a warm-up is a small one, not none.
                share = learning_rate_share(recipe.schedule, epochs_done / length)
                _set_learning_rates(self.phase.optimizers, share * warmup_share(epochs_done + 1 / num_batches, warmup))
                self.model.zero_grad()
                # bfloat16 is emulated on most CPUs, and slow.
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
                    loss = cross_entropy(self._network(images), labels)
                losses.append(loss.item())
                self._require_finite("loss", losses[-1])
                loss.backward()
                self.phase.step(epochs_done)
        for parameter in self.model.parameters():
            self._require_finite("largest weight", parameter.abs().max().item())
        return sum(losses) / len(losses)

    def _require_finite(self, name: str, value: float) -> None:
        if not math.isfinite(value):
            raise NonFiniteLossError(
                f"the {name} is not finite ({value}) in epoch {self.epoch + 1}; lower the learning rate or λ"
            )

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
            "test_accuracy_pre_tuning": self.test_accuracy_pre_tuning,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` of a run of the same configuration returned."""
        self.epoch = state["epoch"]
        phase_state = state["phase_state"]
        if state["phase"] == FINETUNE:
            assignments = phase_state["assignments"]
            codebooks = {name: (values, assignments[name]) for name, values in phase_state["representatives"].items()}
            self.phase = FinetunePhase(self.config, self.model, self.weights, codebooks)
        elif isinstance(self.phase, RegularizePhase):
            # Earlier versions gave a layer K representatives even if it had fewer weights.
            num_levels = {name: len(values) for name, values in phase_state["representatives"].items()}
            if any(len(self.phase.regularizers[name].representatives) != size for name, size in num_levels.items()):
                self.phase = RegularizePhase(self.config, self.model, self.weights, num_levels)
        self.phase.load_state_dict(phase_state)
        self.model.load_state_dict(state["model"])
        self.generator.set_state(state["generator"])
        self.float_val_accuracy = state["float_val_accuracy"]
        self.val_accuracy_pre_tuning = state["val_accuracy_pre_tuning"]
        self.test_accuracy_pre_tuning = state.get("test_accuracy_pre_tuning")  # older checkpoints have none


def trial_seeds(seed: int) -> tuple[int, int, int]:
    """Independent seeds of a trial's split, initial weights, and order of images."""
    split, weights, order = np.random.SeedSequence(seed).generate_state(3).tolist()
    return split, weights, order


def _set_learning_rates(optimizers: list[torch.optim.Optimizer], share: float) -> None:
    """Sets every learning rate to a share of its highest."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
            group["lr"] = group["initial_lr"] * share


@torch.no_grad()
def accuracy(model: nn.Module, split: Split, batch_size: int = 1000) -> float:
    """Share of a split's images that the network, in evaluation mode, classifies correctly, in [0, 1]."""
    model.eval()
    correct = sum((model(images).argmax(1) == labels).sum() for images, labels in split.batches(batch_size))
    return int(correct) / len(split)
