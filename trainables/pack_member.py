"""Ray's side of packs: a light Trainable for each trial, and the actor that trains those of a pack together.

Ray Tune sees a Trainable for each trial, as without packs, so that numbers, facts, checkpoints and early stopping are
those of single trials. A process of such a Trainable holds one place of an actor on its node for as long as it lives.
It hands each call on to that actor and waits for the answer. This module does not import torch: only the actor does.
"""

import os
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

import ray
from ray import tune
from ray.exceptions import RayActorError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from trainables.errors import NonFiniteLossError

POLL_SECONDS = 2.0
"""Seconds between two checks for dead processes that hold places."""

IDLE_SECONDS = 30.0
"""Seconds without a live process at any place after which an actor ends."""

JOIN_ATTEMPTS = 50
"""Most attempts to join an actor that fail because the actor is ending at that moment."""

BEGIN_ATTEMPTS = 3
"""Most attempts to begin a trial; after the loss of an actor, the next attempt uses another one."""


class PackActor:
    """Process that trains a pack; see `trainables.packed.pack.Pack`. It ends when no process holds a place."""

    def __init__(self, places: int, threads: int, gpus: str | None) -> None:
        """Prepare the pack.

        Args:
            places: trials that it trains together.
            threads: number of torch's threads.
            gpus: GPUs that it may use, as in the environment variable CUDA_VISIBLE_DEVICES; None for no restriction.
        """
        if gpus is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = gpus  # before torch is imported

        from trainables.packed.pack import Pack
        from trainables.process import prepare_process
        from trainables.trainable import begun_run

        prepare_process(threads)
        self._pack = Pack(places, begun_run)
        threading.Thread(target=self._free_dead_places, daemon=True).start()

    def _free_dead_places(self) -> None:
        """Free the places of processes that have died; end when there has been none for a while."""
        last_owned = time.monotonic()
        while time.monotonic() - last_owned < IDLE_SECONDS:
            time.sleep(POLL_SECONDS)
            for place, pid in self._pack.owners.items():
                if _lives(int(str(pid))):
                    last_owned = time.monotonic()
                else:
                    self._pack.leave(place)
        os._exit(0)  # sys.exit would end only this thread

    def join(self, pid: int) -> int | None:
        """Return a place for a process of this node, by its number; None if all are taken."""
        return self._pack.join(pid)

    def leave(self, place: int) -> None:
        """Give a place back."""
        self._pack.leave(place)

    def begin(self, place: int, config: dict[str, Any]) -> int:
        """Begin a trial, and return its last epoch; see `CompressionTrial` for `config`."""
        from trainables.trainable import free_memory

        epochs = self._pack.begin(place, config)
        free_memory()
        return epochs

    def epoch(self, place: int) -> dict[str, Any]:
        """Train an epoch of a trial, and return its metrics or the reason of a failure."""
        from trainables.trainable import device_name

        try:
            metrics = self._pack.epoch(place)
        except NonFiniteLossError as error:
            return {"epoch": self._pack.run(place).epoch, "failure": str(error), "done": True}
        return metrics | {"device": device_name(), "done": self._pack.run(place).finished}

    def save(self, place: int, folder: str) -> str:
        """Write the checkpoint of a trial into a folder of this node, and return its checksum."""
        from trainables.files.checkpoint import write_checkpoint

        return self._pack.save(place, lambda state: write_checkpoint(Path(folder), state))


class PackedTrial(tune.Trainable):
    """Ray Trainable of a trial that is trained in a pack; configuration and results are as in `CompressionTrial`.

    Attributes:
        places: trials that an actor trains together.
        threads: number of its threads.
    """

    places: ClassVar[int] = 1
    threads: ClassVar[int] = 1

    def setup(self, config: dict[str, Any]) -> None:
        """Take a place of an actor on this node, and begin the trial there."""
        self._actor, self._place = _joined(self.places, self.threads)
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another trial at the place of this one; return True."""
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        """Begin a trial, with another actor where this one is lost."""
        for attempt in range(1, BEGIN_ATTEMPTS + 1):
            try:
                self._call("begin", config)
            except RayActorError:
                if attempt == BEGIN_ATTEMPTS:
                    raise
                self._actor, self._place = _joined(self.places, self.threads)
            else:
                return

    def step(self) -> dict[str, Any]:
        """Train one epoch and return its metrics, or the reason of a failure."""
        metrics: dict[str, Any] = self._call("epoch")
        return metrics

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Let the actor write the state of the trial into `checkpoint_dir`."""
        self._checksum = self._call("save", checkpoint_dir)

    def save(self, checkpoint_dir: str | None = None) -> Any:
        """Save a checkpoint; Ray's object for it carries the checksum to the driver in the attribute `sha256`."""
        result = super().save(checkpoint_dir)
        result.checkpoint.sha256 = self._checksum
        return result

    def cleanup(self) -> None:
        """Give the place back."""
        self._actor.leave.remote(self._place)

    def _call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the actor, and raise what it raises, as if it were this process.

        Raises:
            RayActorError: the actor is lost; the trial then continues from its last checkpoint.
        """
        try:
            return ray.get(getattr(self._actor, method).remote(self._place, *arguments))
        except RayTaskError as error:
            raise error.cause from None


def packed_trial(places: int, threads: int) -> type[PackedTrial]:
    """Return the Trainable of trials of which each actor trains several together.

    Args:
        places: most trials of an actor.
        threads: number of threads of an actor.
    """
    return type("PackedTrial", (PackedTrial,), {"places": places, "threads": threads})


def _joined(places: int, threads: int) -> tuple[Any, int]:
    """Return an actor on this node with a place that this process now holds, and the place.

    Actors have numbers, for each node and GPU from 0. The first with a free place is taken, so that packs are full.
    """
    context = ray.get_runtime_context()
    node, gpus = context.get_node_id(), os.environ.get("CUDA_VISIBLE_DEVICES")
    number = attempts = 0
    while True:
        try:
            actor = (
                ray.remote(PackActor)
                .options(
                    name=f"pack-{node}-{gpus or ''}-{number}",
                    namespace=context.namespace,
                    get_if_exists=True,
                    lifetime="detached",  # the process that starts it may end before the others
                    num_cpus=0,  # its trials hold the resources
                    num_gpus=0,
                    max_concurrency=2 * places + 2,
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
                )
                .remote(places, threads, gpus)
            )
            place = ray.get(actor.join.remote(os.getpid()))
        except RayActorError:  # it has just ended
            attempts += 1
            if attempts >= JOIN_ATTEMPTS:
                raise
            time.sleep(0.2)
            continue
        if place is not None:
            return actor, place
        number += 1


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
