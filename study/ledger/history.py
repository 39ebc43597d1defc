"""History: the state of a study that follows from its facts, as searcher, rungs, tables and progress read it."""

import marshal
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from study.ledger import facts
from study.ledger.chain import LedgerPosition
from study.ledger.epochs import EpochLog, RungReports, TrialEpochs
from study.ledger.facts import Fact, SessionOutcome
from trainables.families import QUANTIZE_FIRST
from trainables.result import ALLOCATED, TrialState

CHECKPOINTS_KEPT = 2
"""Number of checkpoints kept for each trial: the newest, and the one before it in case the newest is damaged."""

_NO_EPOCHS = EpochLog()
"""Log of the trials that were not added to a history; a log of its own for each would take most of a reading."""


@dataclass(frozen=True, slots=True)
class CheckpointRecord:
    """A checkpoint of a trial.

    Attributes:
        epoch: epoch after which it was written.
        path: path relative to the study folder.
        sha256: checksum of its file; None if the ledger does not hold it.
    """

    epoch: int
    path: str
    sha256: str | None = None


@dataclass(slots=True)
class Trial:
    """State of one trial.

    Attributes:
        sampler_state: attributes that Optuna's sampler stored in its `trial` and its `study`.
        space_version: version of the study that proposed it, from 1.
        request: request of the user who asked for it; None for a proposal of the sampler.
        stopped_by: user who asked it to end; None if none did.
        state: RUNNING, COMPLETE, PRUNED or FAIL.
        failure: reason of a failure, in one line; None otherwise.
        checkpoints: checkpoints that are kept, the newest last.
        epochs: metrics by epoch; for an epoch that was trained twice, those of the second time.
        latest_epoch: epoch that was trained last; lower than the highest one while lost epochs are trained again.
        may_go_back: whether the actor was lost since the latest epoch, so that earlier epochs may follow.
        losses: number of times that its actor was lost.
        seconds_lost: seconds of training that had to be repeated.
    """

    number: int
    trial_id: str
    anchor: bool
    params: dict[str, Any]
    distributions: dict[str, str]
    config: dict[str, Any]
    config_hash: str
    sampler_state: dict[str, Any] = field(default_factory=dict)
    space_version: int = 1
    request: str | None = None
    stopped_by: str | None = None
    state: TrialState = TrialState.RUNNING
    failure: str | None = None
    checkpoints: list[CheckpointRecord] = field(default_factory=list)
    epochs: TrialEpochs = field(default_factory=lambda: TrialEpochs(_NO_EPOCHS))
    latest_epoch: int = 0
    may_go_back: bool = False
    losses: int = 0
    seconds_lost: float = 0.0

    @property
    def regularize_epochs(self) -> int:
        """Epochs before quantization; 0 for the family that is quantized first and tuned for both phases."""
        return 0 if self.config["family"] == QUANTIZE_FIRST else int(self.config["regularize_epochs"])

    @property
    def budget(self) -> int:
        """Full budget in epochs of both phases."""
        return int(self.config["regularize_epochs"] + self.config["finetune_epochs"])

    @property
    def checkpoint(self) -> CheckpointRecord | None:
        """The newest checkpoint; None before the first."""
        return self.checkpoints[-1] if self.checkpoints else None

    @property
    def last(self) -> dict[str, Any]:
        """Metrics of the highest epoch; empty before the first."""
        return self.epochs[max(self.epochs)] if self.epochs else {}

    @property
    def sessions(self) -> dict[int, int]:
        """Number of the session that trained each epoch, by epoch."""
        return {epoch: self.epochs.session(epoch) for epoch in self.epochs}

    @property
    def is_allocated(self) -> bool:
        """Whether K was chosen for each layer from measured costs."""
        return any(name.startswith(ALLOCATED) for name in self.config.get("groups", {}))

    @property
    def is_front_candidate(self) -> bool:
        """Whether the trial may be on a front: it was trained for the full budget, and is quantized."""
        return self.state == TrialState.COMPLETE and self.config["num_levels"] is not None


@dataclass(frozen=True)
class KnownResult:
    """A result that Optuna receives without a new trial: of a repeated configuration, or of another study.

    Attributes:
        params: Optuna's parameters, by name.
        distributions: Optuna's distributions of these parameters as JSON, by name.
        state: COMPLETE, PRUNED or FAIL.
        metrics: metrics of the last epoch; empty if there is none.
        number: number of the trial with the same configuration; None for a result of another study.
        failure: reason of a failure, in one line; None otherwise.
        sampler_state: attributes that Optuna's sampler stored in its `trial` and its `study`.
    """

    params: dict[str, Any]
    distributions: dict[str, str]
    state: TrialState
    metrics: dict[str, Any]
    number: int | None = None
    failure: str | None = None
    sampler_state: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class VersionChange:
    """Beginning of a version of a study, whose space or early stopping differs from the one before.

    Attributes:
        time: time of the change in seconds since 1970.
        user: name of the user who made it; None if unknown.
        changes: the change, each part as KEY=VALUE.
        proposals: number of proposals before it.
        epochs: number of epochs before it, those included that were trained again.
    """

    time: float
    user: str | None
    changes: tuple[str, ...]
    proposals: int
    epochs: int


@dataclass
class Session:
    """One run of a driver.

    Attributes:
        number: number of the session, from 1.
        started: time of its start in seconds since 1970, by the driver's clock.
        pid: process id of the driver.
        hostname: host of the driver.
        provenance: command, versions and commit of the driver.
        latest: time of its last fact, by the same clock; before `started` if the clock was set back.
        seconds: duration from its start to its last fact, by a monotonic clock.
        outcome: how it ended; None if it still runs or the driver was killed.
    """

    number: int
    started: float
    pid: int
    hostname: str
    provenance: dict[str, Any]
    latest: float
    seconds: float = 0.0
    outcome: SessionOutcome | None = None


@dataclass
class History:
    """State of a study after all facts so far.

    Attributes:
        trials: trials by number.
        proposals: trials and known results in the order in which Optuna received them.
        epochs: all epochs of all trials in order of arrival.
        sessions: sessions in order.
        baseline_seconds: seconds of training of float networks, by seed and epoch.
        baseline_sums: checksums of the float networks' checkpoints by seed, as far as the ledger holds them.
        sensitivities: sensitivities of float networks as dictionaries, by seed.
        position: the end of the last fact's line in the ledger; None if that line has no checksum.
        stopped: the latest fact of a rule that has ended the study; None if there is none.
        version_changes: beginnings of versions, by number. A version that is announced here but that study.yaml lacks
            has not begun: a crash has come in between.
        enqueued: trials that users have asked for and that were not created yet, by request.
        requests: requests of users that the ledger holds.
    """

    trials: dict[int, Trial] = field(default_factory=dict)
    proposals: list[Trial | KnownResult] = field(default_factory=list)
    epochs: EpochLog = field(default_factory=EpochLog)
    sessions: list[Session] = field(default_factory=list)
    baseline_seconds: dict[int, dict[int, float]] = field(default_factory=dict)
    baseline_sums: dict[int, str] = field(default_factory=dict)
    sensitivities: dict[int, dict[str, Any]] = field(default_factory=dict)
    position: LedgerPosition | None = None
    stopped: facts.Stopped | None = None
    version_changes: dict[int, VersionChange] = field(default_factory=dict)
    enqueued: dict[str, facts.Enqueued] = field(default_factory=dict)
    requests: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Begin to collect values that trials have in common, and to count trials: a display asks for them often."""
        self._known_values: dict[bytes, Any] = {}
        self._unfinished: dict[int, Trial] = {}
        self._num_ended: Counter[TrialState] = Counter()

    def apply(self, fact: Fact) -> None:
        """Update the state by one fact, which `study.ledger.order.check_order` has accepted."""
        if self.sessions and not isinstance(fact, facts.SessionStarted | facts.Configured):
            session = self.sessions[-1]
            session.latest = fact.time
            elapsed = fact.time - session.started if fact.elapsed is None else fact.elapsed
            session.seconds = max(session.seconds, elapsed)
        match fact:
            case facts.Prior():
                self.proposals.append(KnownResult(fact.params, fact.distributions, TrialState.COMPLETE, fact.metrics))
            case facts.Baseline():
                self.baseline_seconds.setdefault(fact.seed, {})[fact.epoch] = fact.train_seconds
            case facts.BaselineWritten():
                self.baseline_sums[fact.seed] = fact.sha256
            case facts.Measured():
                self.sensitivities[fact.seed] = fact.sensitivity
            case facts.Asked():
                self._create_trial(fact)
            case facts.Repeated():
                names = ("params", "distributions", "state", "metrics", "number", "failure", "sampler_state")
                self.proposals.append(KnownResult(**{name: getattr(fact, name) for name in names}))
            case facts.Epoch():
                self._finish_epoch(self.trials[fact.number], fact.metrics)
            case facts.Lost():
                trial = self.trials[fact.number]
                trial.losses += 1
                trial.may_go_back = True
            case facts.Checkpointed():
                trial = self.trials[fact.number]
                trial.checkpoints = [
                    *trial.checkpoints[1 - CHECKPOINTS_KEPT :],
                    CheckpointRecord(fact.epoch, fact.path, fact.sha256),
                ]
            case facts.Ended():
                trial = self.trials[fact.number]
                trial.state, trial.failure = fact.state, fact.failure
                del self._unfinished[fact.number]
                self._num_ended[fact.state] += 1
            case facts.Stopped():
                self.stopped = fact
            case facts.Enqueued():
                self.requests.add(fact.request)
                self.enqueued[fact.request] = fact
            case facts.StopRequested():
                self.requests.add(fact.request)
                if fact.number is not None:
                    self.trials[fact.number].stopped_by = fact.user
            case facts.Configured():
                if fact.version is not None:
                    self.version_changes[fact.version] = VersionChange(
                        fact.time, fact.user, tuple(fact.changes or ()), len(self.proposals), len(self.epochs)
                    )
            case facts.SessionStarted():
                self._start_session(fact)
            case facts.SessionEnded():
                self.sessions[-1].outcome = fact.outcome

    def add(self, trial: Trial) -> None:
        """Add a trial without epochs; what it has in common with others is kept once, for trials differ in little."""
        trial.epochs = TrialEpochs(self.epochs)
        trial.distributions = self._one_of(trial.distributions)
        trial.sampler_state = self._one_of(trial.sampler_state)
        for name, value in trial.config.items():
            if isinstance(value, dict | list):
                trial.config[name] = self._one_of(value)
        self.trials[trial.number] = trial
        if trial.state == TrialState.RUNNING:
            self._unfinished[trial.number] = trial
        else:
            self._num_ended[trial.state] += 1

    def _one_of(self, value: Any) -> Any:
        """Return the first value of the same content and types that was given."""
        return self._known_values.setdefault(marshal.dumps(value, 2), value)  # version 2 depends on the content alone

    def _create_trial(self, fact: facts.Asked) -> None:
        names = ("number", "trial_id", "anchor", "params", "distributions", "config", "config_hash")
        trial = Trial(
            **{name: getattr(fact, name) for name in (*names, "space_version", "request")},
            sampler_state=fact.sampler_state or {},
        )
        if fact.request is not None:
            del self.enqueued[fact.request]
        self.add(trial)
        self.proposals.append(trial)

    def _finish_epoch(self, trial: Trial, metrics: dict[str, Any]) -> None:
        epoch = metrics["epoch"]
        earlier = trial.epochs.row(epoch)
        if earlier is not None:
            trial.seconds_lost += self.epochs.metrics(earlier)["train_seconds"]
        seconds = self.sessions[-1].seconds if self.sessions else 0.0
        row = self.epochs.append(trial.number, len(self.sessions), metrics, earlier, seconds=seconds)
        trial.epochs.record(epoch, row)
        trial.latest_epoch = epoch
        trial.may_go_back = False

    def _start_session(self, fact: facts.SessionStarted) -> None:
        session = Session(fact.session, fact.time, fact.pid, fact.hostname, fact.provenance, latest=fact.time)
        self.sessions.append(session)
        for trial in self.trials.values():
            trial.may_go_back = trial.state == TrialState.RUNNING

    @property
    def rung_reports(self) -> RungReports:
        """First report of each epoch of each trial, in order of arrival.

        Early stopping decides by the first report alone, so that it decides alike after a restart.
        """
        return RungReports(self.epochs)

    @property
    def unfinished(self) -> list[Trial]:
        """Trials that have not ended, in order of their numbers."""
        return [trial for _, trial in sorted(self._unfinished.items())]

    def count(self, state: TrialState) -> int:
        """Return the number of trials in a state."""
        return len(self._unfinished) if state == TrialState.RUNNING else self._num_ended[state]

    @property
    def num_ended(self) -> int:
        """Number of trials that have ended, in any state."""
        return self._num_ended.total()

    @property
    def seconds(self) -> float:
        """Total duration of all sessions in seconds, each up to its last fact."""
        return sum(session.seconds for session in self.sessions)
