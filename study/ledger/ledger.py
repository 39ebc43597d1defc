"""The ledger: what happened in a study, one fact a line, appended before it is acted on and never changed.

The searcher, the tables, the progress display and `qar status` all derive from it, so after a crash they agree.
"""

import errno
import fcntl
import json
import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from study.containment import is_file_name, is_inner_path
from trainables.result import COMPLETE, FAIL, PRUNED, RUNNING, DamagedFileError

PRIOR = "prior"
"""A result of another study to learn from: `params`, `distributions`, `metrics`, `source`."""
BASELINE = "baseline"
"""A float baseline has trained an epoch: `seed`, `epoch`, `val_accuracy`, `train_seconds`."""
ASKED = "asked"
"""A trial was decided on: `number`, `trial_id`, `anchor`, Optuna's `params` and `distributions`, `config`, its hash,
`sampler_state`."""
REPEATED = "repeated"
"""Optuna proposed what was run before, and was told that trial's result: `number` of that trial, `state`, `failure` and
`metrics` as known then, `params`, `distributions`, `sampler_state`."""
EPOCH = "epoch"
"""A trial has trained an epoch: `number`, `metrics`."""
LOST = "lost"
"""The actor that trained a trial is gone: `number`, `reason`. The trial goes on from its last checkpoint."""
CHECKPOINT = "checkpoint"
"""A trial's state is on disk: `number`, `epoch`, `path` relative to the study folder."""
ENDED = "ended"
"""A trial has come to its end: `number`, `state`, `failure`."""
SESSION_STARTED = "session_started"
"""A driver begins: `session` (from 1), `pid`, `hostname`, `provenance`."""
SESSION_ENDED = "session_ended"
"""A driver ends by its own will: `session`, `outcome`."""

CHECKPOINTS_KEPT = 2
"""Of each trial: the newest, and one to go back to if that is damaged."""

Fact = dict[str, Any]

_ASKED_FIELDS = ("number", "trial_id", "anchor", "params", "distributions", "config", "config_hash")
_REPEATED_FIELDS = ("number", "state", "metrics", "params", "distributions", "sampler_state")


@dataclass(frozen=True)
class Saved:
    """A checkpoint: after which epoch it was taken, and where it lies, relative to the study folder."""

    epoch: int
    path: str


@dataclass
class Trial:
    """What is known of one trial.

    Attributes:
        sampler_state: what Optuna's sampler wants to be kept: `trial` and `study`, its attributes of both.
        checkpoints: those that are kept, the newest last.
        epochs: metrics by epoch; of an epoch that was trained twice the later account, which was gone on from.
        sessions: by epoch, which session trained it.
        losses: how often its actor was lost.
        seconds_lost: of training that had to be done again, seconds.
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
    checkpoints: list[Saved] = field(default_factory=list)
    epochs: dict[int, dict[str, Any]] = field(default_factory=dict)
    sessions: dict[int, int] = field(default_factory=dict)
    losses: int = 0
    seconds_lost: float = 0.0

    @property
    def checkpoint(self) -> Saved | None:
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
class Told:
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
class Arrival:
    """A trial has come to the end of an epoch for the first time, with these metrics."""

    number: int
    metrics: dict[str, Any]


@dataclass
class Session:
    """One run of a driver: times in seconds since 1970; `latest` of its last fact, `outcome` None if it was killed."""

    number: int
    started: float
    pid: int
    hostname: str
    provenance: dict[str, Any]
    latest: float
    outcome: str | None = None


@dataclass
class History:
    """All facts so far, in the shape in which they are asked for.

    Attributes:
        trials: by number.
        proposals: all that Optuna knows of, in the order in which it came to know.
        arrivals: in order; early stopping decides by the first account of an epoch, on resume too.
        sessions: in order.
        baseline_seconds: of training, by epoch, by seed of a float baseline.
    """

    trials: dict[int, Trial] = field(default_factory=dict)
    proposals: list[Trial | Told] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    baseline_seconds: dict[int, dict[int, float]] = field(default_factory=dict)

    def apply(self, fact: Fact) -> None:
        """Takes in one fact; raises LookupError, TypeError or ValueError if it makes no sense after those before."""
        if self.sessions and fact["fact"] != SESSION_STARTED:
            self.sessions[-1].latest = fact["time"]
        match fact["fact"]:
            case "prior":
                self.proposals.append(Told(fact["params"], fact["distributions"], COMPLETE, fact["metrics"]))
            case "baseline":
                self.baseline_seconds.setdefault(fact["seed"], {})[fact["epoch"]] = fact["train_seconds"]
            case "asked":
                trial = Trial(**{name: fact[name] for name in _ASKED_FIELDS})
                if not is_file_name(trial.trial_id):  # it names the trial's folder
                    raise ValueError(f"trial_id {trial.trial_id!r} is no file name")
                trial.sampler_state = fact.get("sampler_state", {})
                self.trials[trial.number] = trial
                self.proposals.append(trial)
            case "repeated":
                told = {name: fact[name] for name in _REPEATED_FIELDS}
                self.proposals.append(Told(**told, failure=fact.get("failure")))
            case "epoch":
                self._take_in(self.trials[fact["number"]], fact["metrics"])
            case "lost":
                self.trials[fact["number"]].losses += 1
            case "checkpoint":
                trial = self.trials[fact["number"]]
                if not is_inner_path(fact["path"]):
                    raise ValueError(f"checkpoint {fact['path']!r} lies outside of the study")
                trial.checkpoints = [*trial.checkpoints[1 - CHECKPOINTS_KEPT :], Saved(fact["epoch"], fact["path"])]
            case "ended":
                trial = self.trials[fact["number"]]
                trial.state, trial.failure = fact["state"], fact["failure"]
            case "session_started":
                session = Session(
                    number=fact["session"],
                    started=fact["time"],
                    pid=fact["pid"],
                    hostname=fact["hostname"],
                    provenance=fact["provenance"],
                    latest=fact["time"],
                )
                self.sessions.append(session)
            case "session_ended":
                self.sessions[-1].outcome = fact["outcome"]
            case unknown:
                raise KeyError(f"unknown fact {unknown!r}")

    def _take_in(self, trial: Trial, metrics: dict[str, Any]) -> None:
        earlier = trial.epochs.get(metrics["epoch"])
        if earlier is None:
            self.arrivals.append(Arrival(trial.number, metrics))
        else:
            trial.seconds_lost += earlier["train_seconds"]
        trial.epochs[metrics["epoch"]] = metrics
        trial.sessions[metrics["epoch"]] = len(self.sessions)

    @property
    def unfinished(self) -> list[Trial]:
        """Trials that were begun and have not ended, in order of their numbers."""
        return [trial for _, trial in sorted(self.trials.items()) if trial.state == RUNNING]

    def count(self, state: str) -> int:
        return sum(trial.state == state for trial in self.trials.values())

    @property
    def num_ended(self) -> int:
        return sum(self.count(state) for state in (COMPLETE, PRUNED, FAIL))

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of all sessions, each up to its last fact."""
        return sum(session.latest - session.started for session in self.sessions)


_STORAGE_FAILS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG),
    *(errno.ESTALE, errno.ENOTCONN),  # of file systems on a network
}
_OF_AN_OBJECT_STORE = re.compile(r"AWS Error|google::cloud::Status")
"""In what the clients of object stores raise, which have no error numbers."""


class StorageError(Exception):
    """A study's storage can't be written; the message says where, why and what to do, in one line."""

    @classmethod
    def of(cls, folder: object, error: OSError) -> "StorageError":
        if not error.errno:
            reason = " ".join(str(error).split())
            return cls(f"storage {folder} can't be reached: {reason}; once it can, go on with: qar resume {folder}")
        reason = os.strerror(error.errno)
        return cls(
            f"storage {folder} can't be written: {reason}; make room or give the right to write, "
            f"then go on with: qar resume {folder}"
        )

    @classmethod
    def of_a_node(cls, folder: object, error: OSError, node: str | None) -> "StorageError":
        """Of what is not the storage, as a node's folder for temporary files, and stays as it is."""
        return cls(
            f"{error.filename} on {node or 'a node'} can't be used: {os.strerror(error.errno or 0)}; make room or give "
            f"the right there, then go on with: qar resume {folder}"
        )

    @classmethod
    def not_shared(cls, folder: object, node: str | None) -> "StorageError":
        """Of a node that came to the cluster without it."""
        return cls(
            f"storage {folder} must be seen by all nodes, but is not by {node or 'one of them'}; mount it there, or "
            f"take the node away, then go on with: qar resume {folder}"
        )

    @classmethod
    def without_dataset(cls, folder: object, reason: str, node: str | None) -> "StorageError":
        """Of a node that can't load what a study trains on."""
        return cls(
            f"{node or 'a node'} can't load the data set: {reason}; or take that node away; then go on with: "
            f"qar resume {folder}"
        )

    @classmethod
    def of_a_baseline(cls, folder: object, cause: BaseException, node: str | None) -> "StorageError":
        """Of a float baseline that could not be trained, for a reason that is not the storage's."""
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        return cls(
            f"a float baseline that all trials begin from could not be trained on {node or 'a node'}: {reason}; mend "
            f"that, then go on with: qar resume {folder}"
        )

    @classmethod
    def without_locks(cls, folder: object, error: OSError) -> "StorageError":
        """Of a file system that keeps no locks, as Lustre does not unless it is mounted with them."""
        return cls(
            f"storage {folder} must be able to lock files, so that a study has one driver: "
            f"{os.strerror(error.errno or 0)}; mount it with flock, or choose another --storage"
        )

    @classmethod
    def behind(cls, error: BaseException | None, folder: object) -> "StorageError | None":
        """The storage's failure that has led to an error, if one has; libraries wrap what they are told.

        Args:
            error: that was caught.
            folder: of the study, as its user names it.
        """
        while error is not None:
            if isinstance(error, cls):
                return error
            if isinstance(error, OSError) and (error.errno in _STORAGE_FAILS or is_of_an_object_store(error)):
                return cls.of(folder, error)
            error = error.__cause__ or error.__context__
        return None


def is_of_an_object_store(error: BaseException) -> bool:
    """Whether an error comes from an object store's client, be it inside of an actor: no answer, or a refusal."""
    return _OF_AN_OBJECT_STORE.search(str(error)) is not None


class DerivedFromLedger:
    """Pickles as nothing: Ray pickles all that a Tuner is given, and ours is made again from the ledger instead."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class LedgerCopy(Protocol):
    """Where a ledger's facts are kept too, if its file is not to be relied on: `study.storage.remote.RemoteLedger`."""

    def append(self, line: bytes, durable: bool) -> None: ...
    def check(self) -> None: ...
    def close(self) -> None: ...


class Ledger:
    """The file of facts, open for writing, and the history it tells.

    Only one process at a time can hold it; the lock goes with the process, however that ends.

    Attributes:
        path: of the file, in the study's folder.
        history: kept up to date with every fact that is recorded.

    Raises:
        ValueError: another process holds it.
        DamagedFileError: a line can't be read.
        StorageError: the file can't be opened for writing.
    """

    def __init__(self, path: Path, copy: LedgerCopy | None = None) -> None:
        self.path = path
        self._copy = copy
        self._unwritable: StorageError | None = None
        try:
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise StorageError.of(path.parent, error) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise ValueError(
                f"{path.parent} is being run by another process; watch it with: qar status {path.parent}"
            ) from None
        except OSError as error:
            self._file.close()
            raise StorageError.without_locks(path.parent, error) from None
        self.history, intact = _replay(path)
        self._file.truncate(intact)  # a torn last line was never acted on

    def record(self, fact: str, **content: Any) -> None:
        """Writes a fact to disk, then takes it into the history.

        Raises:
            StorageError: it can't be written, or one before it couldn't: then nothing that follows is a fact either.
        """
        if self._unwritable:
            raise self._unwritable
        entry = {"fact": fact, "time": time.time()} | content
        try:
            self._append(json.dumps(entry).encode() + b"\n", durable=fact != EPOCH)
        except OSError as error:
            self._unwritable = StorageError.of(self.path.parent, error)
            raise self._unwritable from error
        except StorageError as error:
            self._unwritable = error
            raise
        self.history.apply(entry)

    def check(self) -> None:
        """Raises StorageError if the next fact could not be written, as far as that is known.

        Of some facts that can't be written, Ray logs the exception and goes on.
        """
        if self._unwritable:
            raise self._unwritable
        if self._copy:
            self._copy.check()

    def _append(self, line: bytes, durable: bool) -> None:
        left = line
        while left:  # a disk that is nearly full takes a part
            left = left[self._file.write(left) :]
        if durable:
            os.fsync(self._file.fileno())
        if self._copy:
            self._copy.append(line, durable)

    def close(self) -> None:
        self._file.close()
        if self._copy:
            self._copy.close()


def _replay(path: Path) -> tuple[History, int]:
    """The history that a ledger tells, and the offset behind the last whole line: a torn one is no fact yet.

    Raises:
        DamagedFileError: a line that is not the last can't be read, or makes no sense after those before it.
    """
    history, offset = History(), 0
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    for number, line in enumerate(lines, start=1):
        try:
            fact = json.loads(line)
            if not line.endswith(b"\n"):
                break
            history.apply(fact)
        except (ValueError, LookupError, TypeError):
            if number == len(lines) and not line.endswith(b"\n"):
                break
            raise DamagedFileError(f"{path} is damaged in line {number}; restore the file from a copy") from None
        offset += len(line)
    return history, offset


def is_being_written(path: Path) -> bool:
    """Whether a process holds the ledger; one on another machine may go unseen where locks aren't shared.

    Raises StorageError if the file can't be asked.
    """
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError as error:
        raise StorageError.without_locks(path.parent, error) from None
    return False


def read_history(path: Path) -> History:
    """The history that a ledger tells, without opening it for writing; raises DamagedFileError as `Ledger` does."""
    return _replay(path)[0]
