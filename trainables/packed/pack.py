"""A pack: trials in lockstep in one process, whose methods are called from several threads."""

import threading
import time
from collections.abc import Callable
from typing import Any

from trainables.packed.training import PackedTraining
from trainables.run import CompressionRun, Metrics

SHARE = 0.5
"""Longest wait for a trial that is late for an epoch, as a share of the duration of the last one."""

SHORTEST_WAIT, LONGEST_WAIT = 0.25, 10.0
"""Bounds of that wait, in seconds."""


class Pack:
    """Trials at n places, whose epochs are trained together.

    An epoch begins when every trial that can go on has asked for its next one. One that is late, since its checkpoint
    takes long or since it was stopped, is waited for a little; then the others go on without it. Who takes part
    changes no result, only the time that it takes.

    All methods may be called from several threads. `epoch` blocks until the epoch is over, and so do the other methods
    while one is trained.
    """

    def __init__(self, places: int, begin: Callable[[dict[str, Any]], CompressionRun]) -> None:
        """Prepare a pack of n places.

        Args:
            places: number of places, n.
            begin: returns a trial, at the epoch where it goes on, for its configuration as Ray passes it.
        """
        self._training = PackedTraining(places)
        self._begin = begin
        self._owners: dict[int, object] = {}  # by place
        self._runs: dict[int, CompressionRun] = {}  # by place
        self._expected: set[int] = set()  # places whose trials can go on
        self._waiting: set[int] = set()
        self._results: dict[int, Metrics | Exception] = {}
        self._changed = threading.Condition()
        self._epoch_seconds = 0.0

    @property
    def owners(self) -> dict[int, object]:
        """Owners of the places that are taken, by place."""
        with self._changed:
            return dict(self._owners)

    def join(self, owner: object) -> int | None:
        """Take a place.

        Args:
            owner: whoever drives the trials of this place.

        Returns:
            The place, in [0, n); None if all are taken.
        """
        with self._changed:
            free = (place for place in range(self._training.places) if place not in self._owners)
            place = next(free, None)
            if place is not None:
                self._owners[place] = owner
            return place

    def leave(self, place: int) -> None:
        """Give a place back, and forget its trial."""
        with self._changed:
            self._owners.pop(place, None)
            self._forget(place)

    def begin(self, place: int, config: dict[str, Any]) -> int:
        """Begin a trial, in place of the one before; returns the number of epochs that it has.

        Raises:
            Exception: any that the function `begin` of `__init__` raises.
            ValueError: the trial does not fit the pack.
        """
        with self._changed:
            self._forget(place)
            run = self._begin(config)
            self._training.check(run)
            self._runs[place] = run
            self._expected.add(place)
            return run.config.epochs

    def run(self, place: int) -> CompressionRun:
        """Return the trial at a place."""
        with self._changed:
            return self._runs[place]

    def epoch(self, place: int) -> Metrics:
        """Train the next epoch of a trial, together with those of the others.

        Raises:
            Exception: as `CompressionRun.run_epoch` raises for this trial; the others go on.
        """
        with self._changed:
            self._expected.add(place)
            self._waiting.add(place)
            self._changed.notify_all()
            wait = min(LONGEST_WAIT, max(SHORTEST_WAIT, SHARE * self._epoch_seconds))
            deadline = time.monotonic() + wait
            while place not in self._results:
                left = deadline - time.monotonic()
                if self._waiting >= self._expected or left <= 0:
                    self._train()
                else:
                    self._changed.wait(left)
            result = self._results.pop(place)
        if isinstance(result, Exception):
            raise result
        return result

    def save(self, place: int, write: Callable[[dict[str, Any]], str]) -> str:
        """Write the state of a trial by a function, and return the checksum that it returns."""
        with self._changed:
            return write(self._runs[place].state_dict())

    def _forget(self, place: int) -> None:
        self._runs.pop(place, None)
        self._expected.discard(place)
        self._waiting.discard(place)
        self._results.pop(place, None)
        self._changed.notify_all()

    def _train(self) -> None:
        """Train an epoch of the trials that wait for one. Needs the lock, and keeps it: no trial changes meanwhile."""
        runs = {place: self._runs[place] for place in sorted(self._waiting)}
        started = time.monotonic()
        try:
            self._results |= self._training.run_epoch(runs)
        except Exception as error:  # of the pack as a whole: no trial can go on
            self._results |= dict.fromkeys(runs, error)
        self._epoch_seconds = time.monotonic() - started
        self._waiting.clear()
        # Those that have failed or finished are not waited for.
        ended = {place for place in runs if isinstance(self._results[place], Exception) or runs[place].finished}
        self._expected -= ended
        self._changed.notify_all()
