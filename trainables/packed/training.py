"""Epochs of the trials of a pack: their steps side by side on a GPU, or shared forward and backward passes."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from trainables.config import TrialConfig
from trainables.packed.stacked import StackedNetworks
from trainables.run import CompressionRun, Metrics


class PackedTraining:
    """Trains up to n trials in lockstep, an epoch at a time.

    Trials whose steps the host does not wait for (`Phase.on_device`) take them side by side, each place in a CUDA
    stream of its own: a GPU that one small network leaves idle runs the kernels of several at a time, and each result
    is that of the trial alone. The other trials share a forward and a backward pass for each batch.

    The trials must have the same network and batches of the same sizes. They may be in different phases and epochs, and
    have different families, K, λ, seeds and learning rates. What goes wrong in one trial leaves the others alone.
    """

    def __init__(self, places: int) -> None:
        """Prepare a pack of n places."""
        self.places = places
        self._networks: StackedNetworks | None = None
        self._shape: dict[str, object] | None = None
        self._tensors: dict[str, torch.Size] = {}
        self._streams: dict[int, torch.cuda.Stream] = {}  # by place

    def check(self, run: CompressionRun) -> None:
        """Check that a trial can be trained with those before it.

        Raises:
            ValueError: its network draws random numbers, or its network or the sizes of its batches differ from those
                of the pack.
        """
        if any(isinstance(layer, _DropoutNd) and layer.p > 0 for layer in run.model.modules()):
            raise ValueError(
                f"trials of one actor must have a network without dropout, got {run.config.model!r}; "
                "set resources.trials_per_actor to 1"
            )
        if self._shape is None:
            self._shape, self._tensors = _shape_of(run), _tensors_of(run.model)
        if self._shape != _shape_of(run) or self._tensors != _tensors_of(run.model):
            raise ValueError(
                f"trials of one actor must have the same network and batches, got {_told(_shape_of(run))} beside "
                f"{_told(self._shape)}; set resources.trials_per_actor to 1"
            )

    def run_epoch(self, runs: Mapping[int, CompressionRun]) -> dict[int, Metrics | Exception]:
        """Train the next epoch of each trial, and evaluate it.

        Args:
            runs: trials that are not finished, by their place in [0, n).

        Returns:
            By place, the metrics of `CompressionRun.run_epoch`, or the exception that it would raise.
            `train_seconds` is that of the pack, evaluations included.
        """
        started = time.perf_counter()
        members = [_Member(place, run) for place, run in runs.items()]
        for member in members:
            self.check(member.run)
            member.attempt(member.run.begin_epoch)
        ready = [member for member in members if member.error is None]
        self._train_side_by_side([member for member in ready if member.run.phase.on_device])
        together = [member for member in ready if not member.run.phase.on_device]
        try:
            self._train_together(together)
        except Exception as error:  # of the shared passes, such as a lack of memory: none of these trials can go on
            for member in together:
                member.error = member.error or error
        for member in members:
            member.attempt(partial(member.end, started))
        seconds = time.perf_counter() - started
        return {
            member.place: member.error if member.error is not None else member.metrics | {"train_seconds": seconds}
            for member in members
        }

    def _train_side_by_side(self, members: list["_Member"]) -> None:
        """Train all batches of an epoch, a step of each trial at a time, and wait for none of them."""
        for member in members:
            stream = self._stream(member)
            if stream is not None:  # which begins after all that the GPU has been given to do
                stream.wait_stream(torch.cuda.current_stream(stream.device))
            member.attempt(member.begin_steps)
        training = members
        while training:
            for member in training:
                with torch.cuda.stream(self._stream(member)):
                    member.attempt(member.take_step)
            training = [member for member in training if not member.is_over]
        for member in members:
            stream = self._stream(member)
            if stream is not None:
                torch.cuda.current_stream(stream.device).wait_stream(stream)
            member.attempt(member.read_losses)

    def _stream(self, member: "_Member") -> torch.cuda.Stream | None:
        """Return the stream of a trial's place; None where the device has none."""
        device = member.run.device
        if device.type == "cuda" and member.place not in self._streams:
            self._streams[member.place] = torch.cuda.Stream(device)
        return self._streams.get(member.place)

    def _train_together(self, members: list["_Member"]) -> None:
        """Train all batches of an epoch by shared passes."""
        for member in members:
            member.attempt(member.begin)
        members = [member for member in members if member.error is None]
        if not members:
            return
        if self._networks is None:
            self._networks = StackedNetworks(members[0].run.model, self.places)
        networks = self._networks
        models = _models(members)
        networks.take_buffers(models)
        training, first = members, members[0].run
        images, labels = self._batch_memory(first)
        for index, size in enumerate(first.train_split.batch_sizes(first.config.recipe.batch_size)):
            for member in training:
                batch = images[member.place, :size], labels[member.place, :size]
                member.attempt(partial(member.begin_step, index, *batch))
            training = [member for member in training if member.error is None]
            losses = networks.losses(_models(training), images[:, :size], labels[:, :size])
            stepping = [member for member in training if member.read(losses)]
            losses.sum().backward()
            networks.give_gradients(_models(stepping))
            for member in training:
                member.attempt(member.end_step if member in stepping else member.leave_step)
            training = [member for member in stepping if member.error is None]
            if not training:
                break
        networks.give_buffers(models)

    def _batch_memory(self, run: CompressionRun) -> tuple[Tensor, Tensor]:
        """Return memory for the images and classes of a batch of each place, zeros: (n, b, c, h, w) and (n, b)."""
        split, size = run.train_split, (self.places, run.config.recipe.batch_size)
        images = torch.zeros(*size, *split.pool.shape[1:], device=run.device)
        return images, torch.zeros(size, dtype=split.labels.dtype, device=run.device)


class _Member:
    """A trial in an epoch of its pack.

    Attributes:
        place: its place in the pack.
        run: the trial.
        losses: cross-entropy of each batch, nats.
        metrics: of the epoch, at its end.
        error: exception that has ended the epoch for this trial; None so far.
        is_over: whether its last step is taken, or it has failed.
    """

    def __init__(self, place: int, run: CompressionRun) -> None:
        self.place = place
        self.run = run
        self.losses: list[float] = []
        self.metrics: Metrics = {}
        self.error: Exception | None = None
        self._steps: Iterator[None] = iter(())
        self._no_step_is_left = False
        self._batches: Iterator[tuple[Tensor, Tensor]] = iter(())
        self._epochs_done = 0.0
        self._transformed: AbstractContextManager[None] | None = None

    @property
    def is_over(self) -> bool:
        return self._no_step_is_left or self.error is not None

    def attempt(self, work: Callable[[], object]) -> None:
        """Do a part of the epoch, and keep the exception that it raises; do nothing after an earlier one."""
        if self.error is None:
            try:
                work()
            except Exception as error:  # code of users, such as a family of their own, may raise anything
                self.error = error

    def begin_steps(self) -> None:
        """Begin an epoch whose steps are not waited for, as `CompressionRun.train_epoch` does."""
        run = self.run
        run.draw_seed()  # unused, for a pack has no dropout; keeps the generator as in `CompressionRun.train_epoch`
        self._steps = run.training.steps(run.phase, run.epoch_of_phase, run.generator)

    def take_step(self) -> None:
        """Launch the next step of that epoch, if there is one."""
        if next(self._steps, self) is self:
            self._no_step_is_left = True

    def read_losses(self) -> None:
        """Wait for the losses of that epoch."""
        self.losses = self.run.training.losses

    def begin(self) -> None:
        """Begin an epoch of shared passes, as `CompressionRun.train_epoch` and `EpochTraining.run_epoch` do."""
        run, recipe = self.run, self.run.config.recipe
        run.draw_seed()  # unused, as in `begin_steps`
        run.model.train()
        run.phase.begin_epoch(run.epoch_of_phase)
        self._batches = run.train_split.batches(recipe.batch_size, run.generator, recipe.augmentation)

    def begin_step(self, index: int, images: Tensor, labels: Tensor) -> None:
        """Write the next batch into the memory of the pack, and let the network hold its weights of the forward pass.

        Args:
            index: number of the batch, from 0.
            images: (b, c, h, w), overwritten.
            labels: (b,), overwritten.
        """
        run, phase = self.run, self.run.phase
        batch_images, batch_labels = next(self._batches)
        images.copy_(batch_images)
        labels.copy_(batch_labels)
        schedule = run.schedule
        self._epochs_done = run.epoch_of_phase + index / schedule.batches_per_epoch
        phase.set_learning_rates(schedule.share(self._epochs_done))
        run.model.zero_grad()
        transformed = phase.forward_weights(self._epochs_done)
        transformed.__enter__()
        self._transformed = transformed

    def read(self, losses: Tensor) -> bool:
        """Read the loss of this trial among those of all places, and return whether it is finite."""
        self.losses.append(losses[self.place].item())
        return math.isfinite(self.losses[-1])

    def end_step(self) -> None:
        """Take the step of the phase, from the gradients in the network."""
        self.leave_step()
        self.run.phase.step(self._epochs_done)

    def leave_step(self) -> None:
        """Give the network its own weights back."""
        if self._transformed is not None:
            transformed, self._transformed = self._transformed, None
            transformed.__exit__(None, None, None)

    def end(self, started: float) -> None:
        """Evaluate the network."""
        self.metrics = self.run.end_epoch(self.run.checked_mean(self.losses), started)


def _models(members: list[_Member]) -> dict[int, nn.Module]:
    return {member.place: member.run.model for member in members}


def _tensors_of(model: nn.Module) -> dict[str, torch.Size]:
    """Return the shapes of a network's parameters and buffers by name."""
    return {name: one.shape for name, one in (*model.named_parameters(), *model.named_buffers())}


def _shape_of(run: CompressionRun) -> dict[str, object]:
    """Return all that trials of a pack must have in common, besides the shapes of parameters and buffers."""
    config: TrialConfig = run.config
    return {
        "model": config.model,
        "model_options": dict(config.model_options or {}),
        "width": config.width,
        "images": len(run.train_split),
        "batch_size": config.recipe.batch_size,
    }


def _told(shape: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in shape.items())
