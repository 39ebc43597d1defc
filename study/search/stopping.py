"""The rules of the section `stop`, measured on the history of a study."""

from dataclasses import dataclass

import moocore
import numpy as np

from study.config import StudyConfig
from study.durations import duration
from study.ledger.history import History, Trial
from trainables.result import TrialState

REFERENCE_BITS = 32.0
"""Bits per weight of the reference point of the hypervolume; its accuracy is 0."""


@dataclass(frozen=True, kw_only=True)
class Gauge:
    """Distance of a study from one of its rules.

    Attributes:
        text: value and limit, in words.
        reached: whether the rule is met.
    """

    text: str
    reached: bool


class StopWatch:
    """Measures the rules of a study; each ended trial is counted once, so that a call takes the time of what is new."""

    def __init__(self, config: StudyConfig, history: History) -> None:
        """Follow a history; a study without rules is never ended."""
        self._config = config
        self._history = history
        self._seen = 0
        self._open: list[Trial] = []
        self._trained = 0.0
        self._points = np.empty((0, 2))
        self._hypervolumes = [0.0]
        self._best: Trial | None = None

    def reason(self) -> str | None:
        """Return the rule that is met, in words; None if none is."""
        return next((gauge.text for gauge in self.gauges() if gauge.reached), None)

    def gauges(self) -> list[Gauge]:
        """Return how near the study is to each of its rules."""
        rules = self._config.stop
        if rules is None:
            return []
        self._follow()
        gauges = []
        if rules.hours is not None:
            seconds = self._history.seconds
            text = f"{duration(seconds)} of {rules.hours:g} hours"
            gauges.append(Gauge(text=text, reached=seconds >= 3600 * rules.hours))
        if rules.gpu_hours is not None:
            _, gpus = self._config.resources.of_a_trial
            hours = gpus * self._hours
            gauges.append(Gauge(text=f"{hours:.4g} of {rules.gpu_hours:g} GPU-hours", reached=hours >= rules.gpu_hours))
        if rules.cost is not None and rules.price is not None:
            cost = rules.price * self._hours
            gauges.append(Gauge(text=f"cost {cost:.4g} of {rules.cost:g}", reached=cost >= rules.cost))
        if rules.plateau is not None:
            gauges.append(self._plateau(rules.plateau.trials, rules.plateau.hypervolume))
        if rules.target is not None:
            met = "not reached" if self._best is None else f"reached by trial {self._best.number}"
            gauges.append(Gauge(text=f"target {rules.target} {met}", reached=self._best is not None))
        return gauges

    def _plateau(self, trials: int, least: float) -> Gauge:
        counted = len(self._hypervolumes) - 1
        if counted < trials:
            return Gauge(text=f"plateau after {trials} trials, {counted} have ended", reached=False)
        growth = self._hypervolumes[-1] - self._hypervolumes[-1 - trials]
        text = f"hypervolume grew by {growth:.2g} in the last {trials} trials, plateau below {least:g}"
        return Gauge(text=text, reached=growth < least)

    @property
    def _hours(self) -> float:
        """Hours of training of float networks and of trials that have ended."""
        baselines = sum(sum(epochs.values()) for epochs in self._history.baseline_seconds.values())
        return (baselines + self._trained) / 3600

    def _follow(self) -> None:
        while (trial := self._history.trials.get(self._seen)) is not None:
            self._open.append(trial)
            self._seen += 1
        for trial in self._open:
            if trial.state != TrialState.RUNNING:
                self._count(trial)
        self._open = [trial for trial in self._open if trial.state == TrialState.RUNNING]

    def _count(self, trial: Trial) -> None:
        self._trained += sum(trial.epochs.numbers_of("train_seconds")) + trial.seconds_lost
        grown = self._hypervolumes[-1]
        if trial.is_front_candidate:
            point = (-trial.last["val_accuracy"], trial.last["bits_per_weight"])
            self._points = np.vstack([self._points, point])
            self._points = self._points[moocore.is_nondominated(self._points)]
            within = self._points[self._points[:, 1] < REFERENCE_BITS]
            if len(within):
                grown = float(moocore.hypervolume(within, ref=[0.0, REFERENCE_BITS])) / REFERENCE_BITS
            bounds = self._config.stop.bounds if self._config.stop else []
            if bounds and self._best is None and all(bound.violation(trial.last) <= 0 for bound in bounds):
                self._best = trial
        self._hypervolumes.append(grown)
