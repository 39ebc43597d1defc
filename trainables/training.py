"""Epochs of training: forward and backward passes over the batches, and the steps of a phase. No Ray."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from trainables.config import Recipe
from trainables.data.batches import Split
from trainables.data.device_batches import DeviceBatches
from trainables.fused.graph import CapturedStep
from trainables.phases import Phase
from trainables.phases.schedule import PhaseSchedule


def batch_loss(network: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of a batch, nats; the network computes in bfloat16 on a GPU.

    Args:
        network: returns logits, (b, classes), for images.
        images: (b, channels, height, width).
        labels: (b,), classes of the images.
    """
    device = images.device.type
    # bfloat16 is emulated on most CPUs, and slow.
    with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        return cross_entropy(network(images), labels)


class EpochTraining:
    """Trains a network on a split, epoch by epoch.

    If the batches and the phase are on the device (`Phase.on_device`), the host does not wait for each step: it reads
    the losses once an epoch. On a GPU, the step of a full batch is then captured as a CUDA graph, once a phase; a
    smaller last batch of an epoch is trained outside of the graph.

    Attributes:
        batches: of the images on their device; None where the host draws each batch.
    """

    def __init__(self, model: nn.Module, split: Split, recipe: Recipe, on_device: bool) -> None:
        """Prepare the training.

        Args:
            model: the network, on its device.
            split: the images to train on, on the same device.
            recipe: how the network is trained.
            on_device: whether the phases read all that changes from step to step from the device.
        """
        self._model = model
        self._network = torch.compile(model) if recipe.compile else model
        self._split = split
        self._recipe = recipe
        self._device = split.labels.device
        self.batches = DeviceBatches(split, recipe.augmentation) if on_device else None
        self._losses: Tensor = torch.zeros(len(split.batch_sizes(recipe.batch_size)), device=self._device)
        self._captured: tuple[Phase, CapturedStep] | None = None

    def run_epoch(self, phase: Phase, schedule: PhaseSchedule, epoch: int, generator: torch.Generator) -> list[float]:
        """Train one epoch.

        Args:
            phase: what is trained.
            schedule: learning rates of the phase.
            epoch: epochs of the phase that are over.
            generator: for the order of the images, and their crops and flips.

        Returns:
            The cross-entropy of each batch, nats. If the host reads each loss, the list ends at the first that is not
            finite.
        """
        if phase.on_device:
            for _ in self.steps(phase, epoch, generator):
                pass
            return self.losses
        self._model.train()
        phase.begin_epoch(epoch)
        losses: list[float] = []
        batches = self._split.batches(self._recipe.batch_size, generator, self._recipe.augmentation)
        for index, (images, labels) in enumerate(batches):
            epochs_done = epoch + index / schedule.batches_per_epoch
            phase.set_learning_rates(schedule.share(epochs_done))
            self._model.zero_grad()
            with phase.forward_weights(epochs_done):
                loss = batch_loss(self._network, images, labels)
                losses.append(loss.item())
                if not math.isfinite(losses[-1]):
                    break
                loss.backward()
            phase.step(epochs_done)
        return losses

    def steps(self, phase: Phase, epoch: int, generator: torch.Generator) -> Iterator[None]:
        """Train an epoch of a phase that is on the device; each item is a step that is launched, and not waited for.

        The arguments are those of `run_epoch`. Afterwards, `losses` holds what `run_epoch` returns.
        """
        assert self.batches is not None
        self._model.train()
        phase.begin_epoch(epoch)
        self.batches.begin_epoch(generator)
        for size in self._split.batch_sizes(self._recipe.batch_size):
            if size == self._recipe.batch_size and self._device.type == "cuda":
                self._captured_step(phase, self.batches)()
            else:
                self.step_on_device(phase, self.batches, size)
            yield

    @property
    def losses(self) -> list[float]:
        """The cross-entropy of each batch of the last epoch on the device, nats; the host waits for them."""
        losses: list[float] = self._losses.tolist()
        return losses

    @property
    def captured_step(self) -> CapturedStep | None:
        """The step of the phase that was trained last; None before, or where steps are not captured."""
        return None if self._captured is None else self._captured[1]

    def _captured_step(self, phase: Phase, batches: DeviceBatches) -> CapturedStep:
        """Return the step of a whole batch, which is captured anew for each phase."""
        if self._captured is None or self._captured[0] is not phase:
            size = self._recipe.batch_size
            self._captured = phase, CapturedStep(lambda: self.step_on_device(phase, batches, size))
        return self._captured[1]

    def step_on_device(self, phase: Phase, batches: DeviceBatches, size: int) -> None:
        """Train on the next batch; all that changes from step to step is read from the device."""
        index = batches.index.clone()
        images, labels = batches.take(size)
        self._model.zero_grad()
        with phase.forward_weights(0.0):
            loss = batch_loss(self._network, images, labels)
            self._losses.index_copy_(0, index, loss.detach().reshape(1))
            loss.backward()
        phase.step(0.0)
