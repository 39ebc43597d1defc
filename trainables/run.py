"""A trial in progress: both phases, epoch by epoch, and what is measured after each. No Ray.

`run_epoch` trains one epoch of whichever phase the trial is in and returns the metrics that are reported;
`state_dict` holds all that the next epoch depends on.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables.codebooks.artifact import Artifact
from trainables.codebooks.assignment import Codebook
from trainables.compiled.phase import CompiledRegularizePhase
from trainables.config import TrialConfig
from trainables.data.batches import Split, test_split, train_and_validation
from trainables.data.datasets import load_dataset
from trainables.errors import NonFiniteLossError
from trainables.families import QUANTIZE_FIRST
from trainables.fused.phases import FusedFinetunePhase, FusedRegularizePhase, is_fused_by_default
from trainables.initial_weights import load_float_network, load_initial_weights
from trainables.measurement.network import HardQuantized, accuracy, hard_quantized
from trainables.measurement.operations import macs_by_weight, weight_bops
from trainables.measurement.recalibration import BatchNorm, normalizations, recalibrate, recalibrated
from trainables.models import build_model, quantized_weights
from trainables.phases import FinetunePhase, Phase, RegularizePhase
from trainables.phases.schedule import PhaseSchedule
from trainables.result import (
    FINETUNE,
    PRE_TUNING,
    REGULARIZE,
    TEST_ACCURACIES,
    VALIDATION_ACCURACIES,
    pre_tuning_name,
)
from trainables.training import EpochTraining

Metrics = dict[str, Any]

RECALIBRATED = "recalibrated"


def _require_current(gpu: int) -> None:
    """Require a GPU to be the current one, on which kernels are launched and steps are captured."""
    if gpu != (current := torch.cuda.current_device()):
        raise ValueError(
            f"the device must be the current GPU, cuda:{current}, got cuda:{gpu}; "
            f"call torch.cuda.set_device({gpu}) first"
        )


class CompressionRun:
    """A trial in progress.

    Attributes:
        config: of the trial.
        epoch: epochs trained so far, across both phases.
        model: the network; its weights are float in the first phase and quantized in the second.
        training: trains its epochs.
    """

    def __init__(
        self,
        config: TrialConfig,
        device: str | torch.device = "cpu",
        initial_weights: Mapping[str, Tensor] | None = None,
        fetch: bool = True,
        fused: bool | None = None,
    ) -> None:
        """Prepare a trial, and restrict cuDNN to deterministic algorithms.

        Args:
            config: of the trial.
            device: where the network and its images are; of several GPUs, the current one.
            initial_weights: of the float network, as `model.state_dict()`, when `config.init` is `pretrained`; None
                where `config.initial_weights` names them.
            fetch: whether the data set may be downloaded or fetched.
            fused: whether all layers are trained at once, by the kernels of `trainables.fused`; False for layer by
                layer; None for what is fastest.

        Raises:
            ValueError: the data set or the model can't be had, `initial_weights` doesn't fit the model or
                `config.init`, or the device is not the current GPU.
        """
        begins_from_given = config.init == "pretrained" and config.initial_weights is None
        if begins_from_given and initial_weights is None:
            raise ValueError("initial weights must be given where init is 'pretrained', got none; set initial_weights")
        if initial_weights is not None and config.init != "pretrained":
            raise ValueError(f"initial weights must be given only where init is 'pretrained', got {config.init!r}")
        self.config = config
        self.device = torch.device(device)
        if self.device.type == "cuda" and self.device.index is not None:
            _require_current(self.device.index)
        # Applies to the whole process. On a GPU, a restored trial then continues with identical results.
        torch.backends.cudnn.deterministic = True
        self._fused = is_fused_by_default(self.device) if fused is None else fused
        self._uses_loops = fused is None and self.device.type == "cpu"
        self.epoch = 0
        self._fetch = fetch
        dataset = load_dataset(config.dataset, config.data_dir, fetch)
        split_seed, weight_seed, order_seed = trial_seeds(config.seed)
        self.train_split, self.validation_split = train_and_validation(
            dataset, config.validation_fraction, np.random.default_rng(split_seed), self.device, config.subset
        )
        self.model = build_model(
            config.model, dataset.image_shape, dataset.num_classes, weight_seed, config.width, config.model_options
        ).to(device=self.device)
        self.model.to(memory_format=torch.channels_last)
        if initial_weights is not None:
            load_float_network(self.model, initial_weights, config.model)
        elif config.init == "pretrained" and config.initial_weights is not None:
            load_initial_weights(self.model, config.initial_weights, config.model, fetch)
        self.weights = quantized_weights(self.model)
        self.generator = torch.Generator().manual_seed(order_seed)
        self.macs = macs_by_weight(self.model, dataset.image_shape)
        self.batches_per_epoch = math.ceil(len(self.train_split) / config.recipe.batch_size)
        self.training = EpochTraining(self.model, self.train_split, config.recipe, on_device=self._fused)
        self.phase: Phase = self._regularize()
        self.float_val_accuracy: float | None = None
        self.pre_tuning: dict[str, float | None] = dict.fromkeys(PRE_TUNING)
        if config.family == QUANTIZE_FIRST:
            self.float_val_accuracy = accuracy(self.model, self.validation_split)
            self.quantize()

    @property
    def finished(self) -> bool:
        """Whether all epochs of both phases are trained."""
        return self.epoch >= self.config.epochs

    def run_epoch(self) -> Metrics:
        """Train one epoch and evaluate the hard-quantized network.

        Returns:
            A value for each of `trainables.result.EPOCH_COLUMNS` except `trial_id`, `number` and `session`; and
            `artifact_bytes`, `weight_bops`, `PRE_TUNING` (None before epoch `regularize_epochs`, and for the float
            baseline) and `TEST_ACCURACIES` (None except in the last epoch of a trial with `evaluate_test`).

        Raises:
            NonFiniteLossError: a batch's loss, a weight or the penalty is not finite; the run can't go on.
        """
        started = time.perf_counter()
        self.begin_epoch()
        return self.end_epoch(self.train_epoch(), started)

    def begin_epoch(self) -> None:
        """Begin the finetune phase where the next epoch is its first."""
        if self.epoch == self.config.regularize_epochs and self.phase.name == REGULARIZE:
            self.quantize()

    def end_epoch(self, loss: float, started: float) -> Metrics:
        """Evaluate the hard-quantized network after an epoch of training; returns and raises as `run_epoch`.

        Args:
            loss: mean cross-entropy of the epoch's batches, nats.
            started: `time.perf_counter()` when the epoch began.
        """
        penalty = self.phase.penalty()
        if penalty is not None:
            self._require_finite("penalty", penalty)
        self.epoch += 1
        if self.phase.name == REGULARIZE:
            self.float_val_accuracy = accuracy(self.model, self.validation_split)
        ends_first_phase = self.config.num_levels is not None and self.epoch == self.config.regularize_epochs
        splits = {"val": self.validation_split}
        if self.config.evaluate_test and (self.finished or ends_first_phase):
            dataset = load_dataset(self.config.dataset, self.config.data_dir, self._fetch)
            splits["test"] = test_split(dataset, self.train_split)
        with self.hard_quantized() as (bits, error):
            accuracies = self._accuracies(splits)
        if self.config.num_levels is None:
            self.float_val_accuracy = accuracies["val_accuracy"]
        if ends_first_phase:
            self.pre_tuning |= {pre_tuning_name(name): value for name, value in accuracies.items()}
        at_last = accuracies if self.finished else {}
        return {
            "epoch": self.epoch,
            "phase": self.phase.name,
            "train_loss": loss,
            "penalty": penalty,
            "quantization_error": error,
            **{name: accuracies.get(name) for name in VALIDATION_ACCURACIES},
            **{name: at_last.get(name) for name in TEST_ACCURACIES},
            **self.pre_tuning,
            "float_val_accuracy": self.float_val_accuracy,
            "bits_per_weight": bits.bits_per_weight,
            "index_bits_per_weight": bits.index_bits_per_weight,
            "entropy_bits_per_weight": bits.entropy_bits_per_weight,
            "conv_bits_per_weight": bits.conv_bits_per_weight,
            "linear_bits_per_weight": bits.linear_bits_per_weight,
            "artifact_bytes": bits.payload_bytes,
            "weight_bops": weight_bops(self.macs, {name: len(layer.counts) for name, layer in bits.layers.items()}),
            "train_seconds": time.perf_counter() - started,
        }

    def _accuracies(self, splits: Mapping[str, Split]) -> dict[str, float | None]:
        """Return the accuracy of the network on each split: the objective, kept, and recalibrated.

        The re-estimated ones are None for a float baseline and where there is nothing to re-estimate.
        """
        kept = {split: accuracy(self.model, images) for split, images in splits.items()}
        recalibrated: dict[str, float | None] = dict.fromkeys(splits)
        if self.config.num_levels is not None:
            with self._recalibrated() as changed:
                if changed:
                    recalibrated = {split: accuracy(self.model, images) for split, images in splits.items()}
        result: dict[str, float | None] = {}
        for split in splits:
            chosen = recalibrated[split] if self.config.recipe.statistics == RECALIBRATED else kept[split]
            result[f"{split}_accuracy"] = kept[split] if chosen is None else chosen
            result[f"{split}_accuracy_kept"] = kept[split]
            result[f"{split}_accuracy_recalibrated"] = recalibrated[split]
        return result

    def quantize(self) -> None:
        """End the regularize phase: place the final representatives and fix the assignments."""
        self.phase = self._finetune(self.phase.codebooks())
        if self.config.recipe.statistics == RECALIBRATED:
            recalibrate(self.model, self._normalizations(), self._recalibration_images())

    @contextmanager
    def hard_quantized(self) -> Iterator[HardQuantized]:
        """Replace each weight by its nearest representative for the time of the block; measure error and bits."""
        codebooks = self.phase.codebooks()
        is_float = self.phase.name == REGULARIZE and bool(codebooks)
        with hard_quantized(self.model, self.weights, codebooks, self.config.recipe.coding, replace=is_float) as result:
            yield result

    def artifact(self, provenance: Mapping[str, Any]) -> Artifact:
        """Return the hard-quantized network as of now, ready to be written to a file.

        Args:
            provenance: where the network comes from; anything that JSON can hold.
        """
        codebooks = self.phase.codebooks()
        with self.hard_quantized(), self.evaluation_statistics() if codebooks else nullcontext():
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
            coding=self.config.recipe.coding,
        )

    def evaluation_statistics(self) -> AbstractContextManager[object]:
        """Give batch normalization the statistics of the objective for the time of a block, as the recipe says."""
        return self._recalibrated() if self.config.recipe.statistics == RECALIBRATED else nullcontext()

    def _recalibrated(self) -> AbstractContextManager[bool]:
        """Re-estimate the statistics of batch normalization for the time of a block."""
        return recalibrated(self.model, self._normalizations(), self._recalibration_images())

    def _normalizations(self) -> list[BatchNorm]:
        """Layers of batch normalization whose statistics are to be re-estimated: none where the recipe says so."""
        return normalizations(self.model) if self.config.recipe.recalibration_batches else []

    def _recalibration_images(self) -> Iterator[Tensor]:
        """Yield batches of training images, in their order."""
        batches = self.train_split.batches(self.config.recipe.batch_size)
        for _, (images, _) in zip(range(self.config.recipe.recalibration_batches), batches, strict=False):
            yield images

    def train_epoch(self) -> float:
        """Train one epoch of the current phase; return the mean cross-entropy of its batches, nats."""
        # Dropout uses PyTorch's global generator. Seed a fork of it from the trial's generator.
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self.draw_seed())
            losses = self.training.run_epoch(self.phase, self.schedule, self.epoch_of_phase, self.generator)
        return self.checked_mean(losses)

    def draw_seed(self) -> int:
        """Draw the seed of an epoch's dropout. Each epoch draws it before all other random numbers."""
        return int(torch.randint(2**62, (), generator=self.generator))

    @property
    def schedule(self) -> PhaseSchedule:
        """Learning rates of the phase that the trial is in."""
        return self._schedule(self.phase.name)

    @property
    def epoch_of_phase(self) -> int:
        """Epochs of the present phase that are over."""
        from_start = self.phase.name == REGULARIZE or self.config.family == QUANTIZE_FIRST
        return self.epoch if from_start else self.epoch - self.config.regularize_epochs

    def checked_mean(self, losses: Sequence[float]) -> float:
        """Return the mean of the losses of an epoch's batches.

        Raises:
            NonFiniteLossError: a loss, or a weight after the epoch, is not finite.
        """
        for batch, loss in enumerate(losses, start=1):
            self._require_finite("loss", loss, f", batch {batch}")
        largest = [parameter.detach().abs().max() for parameter in self.model.parameters()]
        for value in torch.stack(largest).tolist():
            self._require_finite("largest weight", value)
        return sum(losses) / len(losses)

    def _schedule(self, phase: str) -> PhaseSchedule:
        """Return how the learning rates change over a phase."""
        regularize, config = phase == REGULARIZE, self.config
        tuned = config.epochs if config.family == QUANTIZE_FIRST else config.finetune_epochs
        return PhaseSchedule(
            schedule=config.recipe.schedule,
            epochs=config.regularize_epochs if regularize else tuned,
            batches_per_epoch=self.batches_per_epoch,
            warmup_epochs=config.recipe.warmup_epochs if regularize else 0.0,
        )

    def _regularize(self, num_levels: Mapping[str, int] | None = None) -> Phase:
        """Return the regularize phase at its beginning; see `RegularizePhase` for `num_levels`."""
        if self._fused:
            schedule = self._schedule(REGULARIZE)
            return FusedRegularizePhase(self.config, self.model, self.weights, schedule, num_levels)
        phase = CompiledRegularizePhase if self._uses_loops else RegularizePhase
        return phase(self.config, self.model, self.weights, num_levels, self.batches_per_epoch)

    def _finetune(self, codebooks: dict[str, Codebook]) -> Phase:
        """Return the finetune phase at its beginning."""
        if self._fused:
            return FusedFinetunePhase(self.config, self.model, self.weights, codebooks, self._schedule(FINETUNE))
        return FinetunePhase(self.config, self.model, self.weights, codebooks)

    def _require_finite(self, name: str, value: float, batch: str = "") -> None:
        if not math.isfinite(value):
            raise NonFiniteLossError(
                f"the {name} is not finite ({value}) in epoch {self.epoch + 1}{batch}; lower the learning rate or λ"
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
            "pre_tuning": self.pre_tuning,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a result of `state_dict` of a run of the same configuration."""
        self.epoch = state["epoch"]
        phase_state = state["phase_state"]
        if state["phase"] == FINETUNE:
            assignments = phase_state["assignments"]
            codebooks = {name: (values, assignments[name]) for name, values in phase_state["representatives"].items()}
            self.phase = self._finetune(codebooks)
        elif isinstance(self.phase, RegularizePhase):
            # Earlier versions gave a layer K representatives even if it had fewer weights.
            num_levels = {name: len(values) for name, values in phase_state["representatives"].items()}
            if any(len(self.phase.quantizers[name].state) != size for name, size in num_levels.items()):
                self.phase = self._regularize(num_levels)
        self.phase.load_state_dict(phase_state)
        self.model.load_state_dict(state["model"])
        self.generator.set_state(state["generator"])
        self.float_val_accuracy = state["float_val_accuracy"]
        # Checkpoints of earlier versions have them one by one.
        self.pre_tuning = state.get("pre_tuning") or {name: state.get(name) for name in PRE_TUNING}


def trial_seeds(seed: int) -> tuple[int, int, int]:
    """Independent seeds of a trial's split, initial weights, and order of images."""
    split, weights, order = np.random.SeedSequence(seed).generate_state(3).tolist()
    return split, weights, order
