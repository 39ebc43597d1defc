"""The two phases for a device: all layers at once, and no step that the host waits for.

Both train as `trainables.phases` does, and their checkpoints are the same. Layers may differ in λ and K, and some may
stay in float. A phase trains layer by layer, as on a CPU, if the kernels do not know its family, if weights are not
float32, or if a layer has more levels than `layout.MOST_LEVELS` and needs a sum for each.
"""

import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from trainables.codebooks.assignment import Codebook
from trainables.config import TrialConfig
from trainables.fused import launching
from trainables.fused.controls import StepControls
from trainables.fused.device_optimizers import bind, control_rows, highest_rates, portable
from trainables.fused.layers import FusedCodebooks, FusedPenalty, are_float32, can_fuse, levels_fit
from trainables.fused.layout import AMOUNT, FAMILIES, MOST_LEVELS, RATE, TEMPERATURE
from trainables.fused.transforms import FUSED_TRANSFORMS, FusedTransform, can_fuse_transforms
from trainables.phases import FinetunePhase, Phase, RegularizePhase
from trainables.phases.schedule import PhaseSchedule


def is_fused_by_default(device: torch.device) -> bool:
    """Return whether a device trains all layers at once: a GPU on which Triton works. On other GPUs, warn why not."""
    if device.type != "cuda":
        return False
    if reason := launching.why_not():
        warnings.warn(
            f"layers are trained one by one, which is several times slower: Triton can't launch kernels on this GPU "
            f"({reason}); Triton, a C compiler and Python's headers must be installed",
            stacklevel=3,
        )
    return reason is None


def warn_of_layer_by_layer(phase: Phase, weights: Collection[Tensor]) -> None:
    """Warn that a phase trains layer by layer because of its weights or the number of their levels, if it does."""
    if phase.on_device:
        return
    if are_float32(weights):
        reason = f"has a layer with more than {MOST_LEVELS:,} levels"
        remedy = "lower num_levels"
    else:
        reason = f"has weights of type {next(one.dtype for one in weights if one.dtype != torch.float32)}"
        remedy = "give the layers float32 weights"
    warnings.warn(
        f"the {phase.name} phase {reason}, and goes layer by layer, for which the host waits in each step; {remedy} to "
        "train all layers at once",
        stacklevel=3,
    )


class FusedRegularizePhase(RegularizePhase):
    """`RegularizePhase` with a few launches for the penalties or the transforms of all layers."""

    def __init__(
        self,
        config: TrialConfig,
        model: nn.Module,
        weights: dict[str, nn.Parameter],
        schedule: PhaseSchedule,
        num_levels: Mapping[str, int] | None = None,
    ) -> None:
        """Begin the phase; see `RegularizePhase`."""
        super().__init__(config, model, weights, num_levels, schedule.batches_per_epoch)
        self._schedule = schedule
        self._last_step = 0.0
        quantizers = list(self.quantizers.values())
        quantized = [weights[name] for name in self.quantizers]
        known = not quantizers or can_fuse(quantizers) or can_fuse_transforms(quantizers)
        self.on_device = known and are_float32(quantized)
        if any(type(quantizer) in FAMILIES or type(quantizer) in FUSED_TRANSFORMS for quantizer in quantizers):
            warn_of_layer_by_layer(self, quantized)
        self._penalty: FusedPenalty | None = None
        self._transform: FusedTransform | None = None
        if not self.on_device:
            return
        device = next(model.parameters()).device
        if self.transforms:
            transform = FUSED_TRANSFORMS[type(quantizers[0])]
            self._transform = transform(quantized, quantizers, highest_rates(self.optimizers))
        elif quantizers:
            self._penalty = FusedPenalty(
                quantized,
                quantizers,
                config.recipe.lam_unit == "half_spacings",
                highest_rates(self.optimizers),
                [self._lams[name] for name in self.quantizers],
            )
        self._controls = StepControls(self._rows(), device)
        self._adopt()

    def _rows(self) -> list[list[float]]:
        """Return the controls of every step."""
        rows = control_rows(self._schedule, self.config.recipe.learning_rate)
        form = self.config.penalty
        for step, row in enumerate(rows):
            epochs_done = step / self._schedule.batches_per_epoch
            row[AMOUNT] = self.amount(1.0, epochs_done, row[RATE])
            fraction = epochs_done / self.config.regularize_epochs
            transform = self._transform
            row[TEMPERATURE] = transform.control(form, fraction) if transform else form.temperature_at(fraction)
        return rows

    def _adopt(self) -> None:
        bind(self.optimizers, self._controls.current[RATE])
        owner = self._penalty or self._transform
        if owner is not None and owner.trained:
            owner.representatives.adopt(self.optimizers[1])

    def begin_epoch(self, epoch: int) -> None:
        """Take the controls of an epoch; see `Phase.begin_epoch`."""
        if self.on_device:
            steps = self._schedule.batches_per_epoch
            self._controls.begin(epoch * steps)
            self._last_step = epoch + (steps - 1) / steps

    def forward_weights(self, epochs_done: float) -> AbstractContextManager[None]:
        """Take the controls of a step, and transform the weights; see `Phase.forward_weights`."""
        return self._transformed_at_once() if self.on_device else super().forward_weights(epochs_done)

    @contextmanager
    def _transformed_at_once(self) -> Iterator[None]:
        self._controls.advance()
        if self._transform is None:
            yield
            return
        self._transform.apply(self._controls.current)
        try:
            yield
            gradients = list(self._own_gradients().values())
            if any(gradient is not None for gradient in gradients):
                self._transform.chain(gradients, self._controls.current)
            else:  # there was no backward pass
                self._transform.put_back()
        except BaseException:
            if not self._transform.is_being_captured:  # a step that is captured has not changed the weights
                self._transform.put_back()
            raise

    def penalty(self) -> float:
        """Return the sum of the layers' penalties; see `Phase.penalty`."""
        if self.on_device:
            self._progress(self._last_step)
        return super().penalty()

    def set_learning_rates(self, share: float) -> None:
        """Do nothing where the controls hold the learning rates; see `Phase.set_learning_rates`."""
        if not self.on_device:
            super().set_learning_rates(share)

    def step(self, epochs_done: float) -> None:
        """Update all that is trained; see `Phase.step`."""
        if not self.on_device:
            super().step(epochs_done)
            return
        controls = self._controls.current
        coupled = self.config.recipe.penalty_application == "coupled"
        if self._penalty is not None and coupled:
            gradients = [gradient for gradient in self._own_gradients().values() if gradient is not None]
            self._penalty.add_gradient(gradients, controls)
        self.optimizers[0].step()
        if self._penalty is not None and not coupled:
            proximal = self.config.recipe.penalty_application == "proximal"
            self._penalty.move(controls, self._penalty.proximal_step if proximal else "draw")

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next step depends on; see `Phase.state_dict`."""
        return portable(super().state_dict()) if self.on_device else super().state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a result of `state_dict`."""
        super().load_state_dict(state)
        if self.on_device:
            self._adopt()


class FusedFinetunePhase(FinetunePhase):
    """`FinetunePhase` with one launch for the training of all codebooks, and one for the weights."""

    def __init__(
        self,
        config: TrialConfig,
        model: nn.Module,
        weights: dict[str, nn.Parameter],
        codebooks: dict[str, Codebook],
        schedule: PhaseSchedule,
    ) -> None:
        """Begin the phase; see `FinetunePhase`."""
        super().__init__(config, model, weights, codebooks)
        self._schedule = schedule
        quantized = self.weights.values()
        self.on_device = levels_fit(self.representatives.values()) and are_float32(quantized)
        warn_of_layer_by_layer(self, quantized)
        self._codebooks: FusedCodebooks | None = None
        if not self.on_device:
            return
        if self.representatives:
            self._codebooks = FusedCodebooks(
                list(self.weights.values()),
                list(self.representatives.values()),
                list(self.assignments.values()),
                highest_rates(self.optimizers),
            )
            levels = self._codebooks.levels.split([weight.numel() for weight in self.weights.values()])
            for (name, one), view in zip(self.assignments.items(), levels, strict=True):
                self.assignments[name] = view.as_strided(one.shape, one.stride(), view.storage_offset())
        rows = control_rows(schedule, self.highest_learning_rate)
        self._controls = StepControls(rows, next(model.parameters()).device)
        self._adopt()

    def _adopt(self) -> None:
        bind(self.optimizers, self._controls.current[RATE])
        if self._codebooks is not None:
            self._codebooks.representatives.adopt(self.optimizers[1])

    def begin_epoch(self, epoch: int) -> None:
        """Take the controls of an epoch; see `Phase.begin_epoch`."""
        if self.on_device:
            self._controls.begin(epoch * self._schedule.batches_per_epoch)

    def forward_weights(self, epochs_done: float) -> AbstractContextManager[None]:
        """Take the controls of a step; see `Phase.forward_weights`."""
        if self.on_device:
            self._controls.advance()
        return super().forward_weights(epochs_done)

    def set_learning_rates(self, share: float) -> None:
        """Do nothing where the controls hold the learning rates; see `Phase.set_learning_rates`."""
        if not self.on_device:
            super().set_learning_rates(share)

    def step(self, epochs_done: float) -> None:
        """Update all that is trained; see `Phase.step`."""
        if not self.on_device:
            super().step(epochs_done)
            return
        self.optimizers[0].step()
        if self._codebooks is not None:
            self._codebooks.step([weight.grad for weight in self.weights.values()], self._controls.current)

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next step depends on; see `Phase.state_dict`."""
        return portable(super().state_dict()) if self.on_device else super().state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a result of `state_dict`."""
        super().load_state_dict(state)
        if self.on_device:
            self._adopt()
