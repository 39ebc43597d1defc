"""Figures of a simulated study: what its driver takes, at numbers of trials that have ended."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from simulation.witness import Witness
from simulation.workers import Workers

LONG_STEP = 0.5
"""Seconds of the processor from which a step counts as a pause: other trials wait meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Figures from the stage before up to a number of ended trials.

    Attributes:
        trials: number of trials that have ended.
        facts: number of facts so far.
        hours: simulated time in hours so far.
        facts_a_second: facts of this stage for each second of the processor that the driver took.
        busy: seconds of the processor of this stage, as a share of its simulated time.
        memory: resident memory of the process at its end, in GB.
        ask: milliseconds of the processor for a proposal, median and 99th percentile of this stage.
        idle: seconds of simulated time from when a worker is free until its next trial is started, likewise.
        pause: longest step, in seconds of the processor.
        wall: seconds of the wall of this stage.
    """

    trials: int
    facts: int
    hours: float
    facts_a_second: float
    busy: float
    memory: float
    ask: tuple[float, float]
    idle: tuple[float, float]
    pause: float
    wall: float


@dataclass
class Figures:
    """Stopwatch of a driver in seconds of the processor; what the witness takes is left out.

    With `is_timed`, the time that the driver takes passes for the workers too, which wait for it.

    Attributes:
        witness: witness of the study.
        is_timed: whether simulated time passes while the driver works.
        openings: seconds that each opening of the study took.
        stages: stages so far.
    """

    witness: Witness
    is_timed: bool = True
    openings: list[float] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin the first stage."""
        self._facts_before, self._hours_before = 0, 0.0
        self._begin_stage()

    def _begin_stage(self) -> None:
        self._seconds, self._pause, self._wall_began = 0.0, 0.0, time.perf_counter()
        self._asks: list[float] = []
        self._idle: list[float] = []

    def _clock(self) -> float:
        return time.process_time() - self.witness.seconds

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Time the opening of a study."""
        began = self._clock()
        yield
        self.openings.append(self._clock() - began)

    @contextmanager
    def busy(self, workers: Workers) -> Iterator[None]:
        """Time a step of the driver."""
        began = self._clock()
        yield
        seconds = self._clock() - began
        self._seconds += seconds
        self._pause = max(self._pause, seconds)
        if self.is_timed:
            workers.now += seconds

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Time a proposal."""
        began = self._clock()
        yield
        self._asks.append(self._clock() - began)

    def started(self, workers: Workers, worker: int) -> None:
        """Note how long a worker was idle that gets a trial now."""
        self._idle.append(workers.now - workers.idle[worker])

    def end_stage(self, trials: int, facts: int, workers: Workers) -> Stage:
        """Return the figures of the stage that ends with a number of ended trials and facts."""
        hours = workers.now / 3600
        milliseconds = np.array(self._asks) * 1e3
        stage = Stage(
            trials=trials,
            facts=facts,
            hours=hours,
            facts_a_second=(facts - self._facts_before) / self._seconds,
            busy=self._seconds / (hours - self._hours_before) / 3600,
            memory=_resident() / 1e9,
            ask=_quantiles(milliseconds),
            idle=_quantiles(np.array(self._idle)),
            pause=self._pause,
            wall=time.perf_counter() - self._wall_began,
        )
        self.stages.append(stage)
        self._facts_before, self._hours_before = facts, hours
        self._begin_stage()
        return stage


def _quantiles(values: np.ndarray) -> tuple[float, float]:
    """Return median and 99th percentile."""
    return float(np.quantile(values, 0.5)), float(np.quantile(values, 0.99))


def _resident() -> int:
    """Return the resident memory of this process in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024
