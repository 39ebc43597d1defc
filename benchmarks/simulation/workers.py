"""Simulated workers: what each does next, when it fails, and the queue of all events in simulated time."""

import heapq
import itertools
import math
import random
from dataclasses import dataclass, field
from typing import Any

from simulation.training import Training

SAVING_SECONDS = 0.2
"""Time from the report of an epoch until its checkpoint is written."""

SHARE_LOST_IN_AN_HOUR = 0.05
"""Share of the workers that are lost in an hour."""

SECONDS_UNTIL_REPLACED = 300.0
"""Time from the loss of a worker until another is in its place, as of a node that a cloud has taken back."""


@dataclass
class RunningTrial:
    """A trial on a worker, with the attributes of Ray's trial that the product reads.

    Attributes:
        trial_id: Ray's name of the trial.
        config: what the searcher has suggested.
        worker: number of the worker.
        latest_epoch: the epoch that was trained last, or the one that it continues from.
        status: state by Ray's name.
        is_saving: whether a checkpoint is being written.
        decision: what the scheduler has decided about the latest epoch.
        last_result: latest result.
        pickled_error_file: file with the exception that has ended it.
    """

    trial_id: str
    config: dict[str, Any]
    worker: int
    latest_epoch: int
    status: str = "RUNNING"
    is_saving: bool = False
    decision: str = ""
    last_result: dict[str, Any] = field(default_factory=dict)
    pickled_error_file: str = ""


@dataclass(frozen=True)
class Reported:
    """A trial reports an epoch."""

    trial: RunningTrial
    result: dict[str, Any]


@dataclass(frozen=True)
class Saved:
    """The checkpoint of a trial's latest epoch is written."""

    trial: RunningTrial


@dataclass(frozen=True)
class WorkerLost:
    """A worker is lost, with the trial on it."""

    worker: int


@dataclass(frozen=True)
class WorkerJoined:
    """A worker takes the place of one that was lost."""

    worker: int


Event = Reported | Saved | WorkerLost | WorkerJoined


class Workers:
    """Workers of one trial each, and the events to come.

    Attributes:
        now: simulated time in seconds.
        idle: numbers of the workers that have nothing to do, with the time since when.
        losses: number of workers lost so far.
        tasks: number of reports and checkpoints to come.
    """

    def __init__(
        self, number: int, training: Training, rng: random.Random, losses_an_hour: float = SHARE_LOST_IN_AN_HOUR
    ) -> None:
        """Create idle workers.

        Args:
            number: number of workers.
            training: training of the trials.
            rng: generator of the failures.
            losses_an_hour: share of the workers that are lost in an hour.
        """
        self._training, self._rng = training, rng
        self._seconds_between_losses = -3600 / math.log(1 - losses_an_hour)  # of one worker, in the mean
        self._events: list[tuple[float, int, Event]] = []
        self._order = itertools.count()
        self._busy: dict[int, RunningTrial] = {}
        self.now = 0.0
        self.losses = self.tasks = 0
        self.idle: dict[int, float] = {}
        for worker in range(number):
            self._join(worker)

    @property
    def alive(self) -> int:
        """Number of workers that are not lost."""
        return len(self._busy) + len(self.idle)

    def next(self) -> Event | None:
        """Return the next event, and move the time to it; None if the trial that it concerns is gone."""
        time, _, event = heapq.heappop(self._events)
        self.now = max(self.now, time)
        self.tasks -= isinstance(event, Reported | Saved)
        match event:
            case Reported() | Saved() if event.trial.status != "RUNNING":
                return None
            case WorkerJoined():
                self._join(event.worker)
        return event

    def start(self, trial: RunningTrial) -> None:
        """Let an idle worker train a trial."""
        del self.idle[trial.worker]
        self._busy[trial.worker] = trial
        self.train_next(trial)

    def train_next(self, trial: RunningTrial) -> None:
        """Let a trial train its next epoch."""
        epoch = trial.latest_epoch + 1
        result = self._training.result(trial.config, epoch)
        self._add(self._training.seconds(trial.config, epoch), Reported(trial, result))

    def save(self, trial: RunningTrial) -> None:
        """Let a trial write a checkpoint."""
        self._add(SAVING_SECONDS, Saved(trial))

    def release(self, trial: RunningTrial, status: str) -> None:
        """Take a trial that has ended from its worker."""
        trial.status = status
        del self._busy[trial.worker]
        self.idle[trial.worker] = self.now

    def lose(self, worker: int) -> RunningTrial | None:
        """Lose a worker, and return the trial on it; None if it was idle."""
        self.losses += 1
        self.idle.pop(worker, None)
        self._add(SECONDS_UNTIL_REPLACED, WorkerJoined(worker))
        return self._busy.pop(worker, None)

    def forget_trials(self) -> None:
        """Take all trials from their workers, as the end of a driver does."""
        for trial in list(self._busy.values()):
            self.release(trial, "ERROR")

    def _join(self, worker: int) -> None:
        """Add an idle worker, which will be lost at some time."""
        self.idle[worker] = self.now
        self._add(self._rng.expovariate(1 / self._seconds_between_losses), WorkerLost(worker))

    def _add(self, seconds: float, event: Event) -> None:
        self.tasks += isinstance(event, Reported | Saved)
        heapq.heappush(self._events, (self.now + seconds, next(self._order), event))
