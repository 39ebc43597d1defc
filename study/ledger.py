"""The ledger: what happened in a study, one fact a line, appended before it is acted on and never changed.

The searcher, the tables, the progress display and `qar status` all derive from it, so after a crash they agree.
"""

import fcntl
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainables.result import COMPLETE, FAIL, PRUNED, RUNNING, DamagedFileError

ASKED = "asked"
"""A trial was decided on: `number`, `trial_id`, `anchor`, Optuna's `params` and `distributions`, `config`, its hash."""
EPOCH = "epoch"
"""A trial has trained an epoch: `number`, `metrics`."""
CHECKPOINT = "checkpoint"
"""A trial's state is on disk: `number`, `path` relative to the study folder."""
ENDED = "ended"
"""A trial has come to its end: `number`, `state`, `failure`."""
SESSION_STARTED = "session_started"
"""A driver begins: `session` (from 1), `pid`, `hostname`, `provenance`."""
SESSION_ENDED = "session_ended"
"""A driver ends by its own will: `session`, `outcome`."""

Fact = dict[str, Any]


@dataclass
class Trial:
    """What is known of one trial."""

    number: int
    trial_id: str
    anchor: bool
    params: dict[str, Any]
    distributions: dict[str, str]
    config: dict[str, Any]
    config_hash: str
    state: str = RUNNING
    failure: str | None = None
    checkpoint: str | None = None
    epochs: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def last(self) -> dict[str, Any]:
        """Metrics of the latest epoch; empty before the first."""
        return self.epochs[max(self.epochs)] if self.epochs else {}

    @property
    def is_front_candidate(self) -> bool:
        """Whether it may be on a front: trained for the full budget, and quantized."""
        return self.state == COMPLETE and self.config["num_levels"] is not None


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
    """All facts so far, in the shape in which they are asked for."""

    trials: dict[int, Trial] = field(default_factory=dict)
    sessions: list[Session] = field(default_factory=list)

    def apply(self, fact: Fact) -> None:
        """Takes in one fact; raises LookupError, TypeError or ValueError if it makes no sense after those before."""
        if self.sessions and fact["fact"] != SESSION_STARTED:
            self.sessions[-1].latest = fact["time"]
        match fact["fact"]:
            case "asked":
                fields = ("number", "trial_id", "anchor", "params", "distributions", "config", "config_hash")
                self.trials[fact["number"]] = Trial(**{name: fact[name] for name in fields})
            case "epoch":
                # After a crash an epoch may be trained again; the later account is the one that was gone on from.
                self.trials[fact["number"]].epochs[fact["metrics"]["epoch"]] = fact["metrics"]
            case "checkpoint":
                self.trials[fact["number"]].checkpoint = fact["path"]
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


class DerivedFromLedger:
    """Pickles as nothing: Ray pickles all that a Tuner is given, and ours is made again from the ledger instead."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Ledger:
    """The file of facts, open for writing, and the history it tells.

    Only one process at a time can hold it; the lock goes with the process, however that ends.

    Attributes:
        path: of the file, in the study's folder.
        history: kept up to date with every fact that is recorded.

    Raises:
        ValueError: another process holds it.
        DamagedFileError: a line can't be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise ValueError(
                f"{path.parent} is being run by another process; watch it with: qar status {path.parent}"
            ) from None
        self.history, intact = _replay(path)
        self._file.truncate(intact)  # a torn last line was never acted on

    def record(self, fact: str, **content: Any) -> None:
        """Writes a fact to disk, then takes it into the history."""
        entry = {"fact": fact, "time": time.time()} | content
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()
        if fact != EPOCH:
            os.fsync(self._file.fileno())
        self.history.apply(entry)

    def close(self) -> None:
        self._file.close()


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
    """Whether a process holds the ledger; one on another machine may go unseen where locks aren't shared."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def read_history(path: Path) -> History:
    """The history that a ledger tells, without opening it for writing; raises DamagedFileError as `Ledger` does."""
    return _replay(path)[0]
