"""History: all facts of a study so far, in the form in which searcher, rungs, tables and progress need them."""

from dataclasses import dataclass, field
from typing import Any

from study.ledger import facts
from study.ledger.facts import Fact
from trainables.result import COMPLETE, FAIL, PRUNED, RUNNING

CHECKPOINTS_KEPT = 2
"""Checkpoints of a trial that are kept: the newest, and one to go back to if that is damaged."""


@dataclass(frozen=True)
class CheckpointRecord:
    """A checkpoint: the epoch after which it was taken, and its path relative to the study folder."""

    epoch: int
    path: str


@dataclass
class Trial:
    """What is known about one trial.

    Attributes:
        sampler_state: what Optuna's sampler wants to be kept: `trial` and `study`, its attributes of both.
        checkpoints: those that are kept, the newest last.
        epochs: metrics by epoch; if an epoch was trained twice, those of the later time, from which the trial went on.
        sessions: number of the session that trained it, by epoch.
        latest_epoch: epoch that was trained last; lower than the highest one while lost epochs are trained again.
        may_go_back: whether the actor was lost since the latest epoch.
        losses: number of times that its actor was lost.
        seconds_lost: training that had to be repeated, in seconds.
    """

    number: int
    trial_id: str
    anchor: bool
    params: dict[str, Any]
    distributions: dict[str, str]
    config: dict[str, Any]
    config_hash: str
    sampler_state: dict[str, Any] = field(default_factory=dict)
    state: str = RUNNING
    failure: str | None = None
    checkpoints: list[CheckpointRecord] = field(default_factory=list)
    epochs: dict[int, dict[str, Any]] = field(default_factory=dict)
    sessions: dict[int, int] = field(default_factory=dict)
    latest_epoch: int = 0
    may_go_back: bool = False
    losses: int = 0
    seconds_lost: float = 0.0

    @property
    def budget(self) -> int:
        """Epochs of both phases."""
        return int(self.config["regularize_epochs"] + self.config["finetune_epochs"])

    @property
    def checkpoint(self) -> CheckpointRecord | None:
        """The newest."""
        return self.checkpoints[-1] if self.checkpoints else None

    @property
    def last(self) -> dict[str, Any]:
        """Metrics of the latest epoch; empty before the first."""
        return self.epochs[max(self.epochs)] if self.epochs else {}

    @property
    def is_front_candidate(self) -> bool:
        """Whether it may be on a front: trained for the full budget, and quantized."""
        return self.state == COMPLETE and self.config["num_levels"] is not None


@dataclass(frozen=True)
class KnownResult:
    """A result that Optuna knows and that no trial of this study stands for: a repetition, or another study's.

    Attributes:
        state: COMPLETE, PRUNED or FAIL.
        metrics: empty if there are none.
        number: of the trial that is repeated; None for another study's.
        failure: why there is no result.
    """

    params: dict[str, Any]
    distributions: dict[str, str]
    state: str
    metrics: dict[str, Any]
    number: int | None = None
    failure: str | None = None
    sampler_state: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RungReport:
    """A trial has reached the end of an epoch for the first time, with these metrics."""

    number: int
    metrics: dict[str, Any]


@dataclass
class Session:
    """One run of a driver.

    Attributes:
        started: seconds since 1970, by the driver's clock.
        latest: the same of its last fact; before `started` if the clock was set back meanwhile.
        seconds: from its start to its last fact, by a clock that never goes back.
        outcome: None if the driver was killed.
    """

    number: int
    started: float
    pid: int
    hostname: str
    provenance: dict[str, Any]
    latest: float
    seconds: float = 0.0
    outcome: str | None = None


@dataclass
class History:
    """All facts so far.

    Attributes:
        trials: by number.
        proposals: all that Optuna knows, in the order in which it came to know it.
        rung_reports: in order; early stopping decides by the first account of an epoch, on resume too.
        sessions: in order.
        baseline_seconds: of training, by epoch, by seed of a float baseline.
    """

    trials: dict[int, Trial] = field(default_factory=dict)
    proposals: list[Trial | KnownResult] = field(default_factory=list)
    rung_reports: list[RungReport] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    baseline_seconds: dict[int, dict[int, float]] = field(default_factory=dict)

    def apply(self, fact: Fact) -> None:
        """Take in one fact, which `study.ledger.order.check_order` has found to make sense."""
        if self.sessions and not isinstance(fact, facts.SessionStarted):
            session = self.sessions[-1]
            session.latest = fact.time
            elapsed = fact.time - session.started if fact.elapsed is None else fact.elapsed
            session.seconds = max(session.seconds, elapsed)
        match fact:
            case facts.Prior():
                self.proposals.append(KnownResult(fact.params, fact.distributions, COMPLETE, fact.metrics))
            case facts.Baseline():
                self.baseline_seconds.setdefault(fact.seed, {})[fact.epoch] = fact.train_seconds
            case facts.Asked():
                self._ask(fact)
            case facts.Repeated():
                names = ("params", "distributions", "state", "metrics", "number", "failure", "sampler_state")
                self.proposals.append(KnownResult(**{name: getattr(fact, name) for name in names}))
            case facts.Epoch():
                self._train(self.trials[fact.number], fact.metrics)
            case facts.Lost():
                trial = self.trials[fact.number]
                trial.losses += 1
                trial.may_go_back = True
            case facts.Checkpointed():
                trial = self.trials[fact.number]
                trial.checkpoints = [
                    *trial.checkpoints[1 - CHECKPOINTS_KEPT :],
                    CheckpointRecord(fact.epoch, fact.path),
                ]
            case facts.Ended():
                trial = self.trials[fact.number]
                trial.state, trial.failure = fact.state, fact.failure
            case facts.SessionStarted():
                self._start(fact)
            case facts.SessionEnded():
                self.sessions[-1].outcome = fact.outcome

    def _ask(self, fact: facts.Asked) -> None:
        names = ("number", "trial_id", "anchor", "params", "distributions", "config", "config_hash")
        trial = Trial(**{name: getattr(fact, name) for name in names}, sampler_state=fact.sampler_state or {})
        self.trials[trial.number] = trial
        self.proposals.append(trial)

    def _train(self, trial: Trial, metrics: dict[str, Any]) -> None:
        epoch = metrics["epoch"]
        earlier = trial.epochs.get(epoch)
        if earlier is None:
            self.rung_reports.append(RungReport(trial.number, metrics))
        else:
            trial.seconds_lost += earlier["train_seconds"]
        trial.epochs[epoch] = metrics
        trial.sessions[epoch] = len(self.sessions)
        trial.latest_epoch = epoch
        trial.may_go_back = False

    def _start(self, fact: facts.SessionStarted) -> None:
        session = Session(fact.session, fact.time, fact.pid, fact.hostname, fact.provenance, latest=fact.time)
        self.sessions.append(session)
        for trial in self.trials.values():
            trial.may_go_back = trial.state == RUNNING

    @property
    def unfinished(self) -> list[Trial]:
        """Trials that were begun and have not ended, in order of their numbers."""
        return [trial for _, trial in sorted(self.trials.items()) if trial.state == RUNNING]

    def count(self, state: str) -> int:
        """Return how many trials are in a state."""
        return sum(trial.state == state for trial in self.trials.values())

    @property
    def num_ended(self) -> int:
        """Number of trials that have ended, however."""
        return sum(self.count(state) for state in (COMPLETE, PRUNED, FAIL))

    @property
    def seconds(self) -> float:
        """Seconds of all sessions, each up to its last fact."""
        return sum(session.seconds for session in self.sessions)
