"""Studies that really run: the command as a process of its own, and an end to everything that it started."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.load import load_trials
from study.ledger.facts import EPOCH, SESSION_STARTED
from study.ledger.history import History
from study.ledger.reading import read_history

MARK = "QAR_TEST_RUN"
"""Environment variable that all descendants of a run inherit, Ray's daemons and workers included."""

PATIENCE = 240.0
"""Seconds after which a run that should have come to a point counts as stuck."""

NOISE = re.compile(r"(?i:\bray\b|\btune\b|optuna|warning|traceback)|\bERROR\b|\x1b")
"""Text that no line for the user may hold."""


@dataclass(frozen=True)
class Ended:
    """A run that is over."""

    status: int
    stdout: str
    stderr: str


@dataclass
class LiveRun:
    """A running `qar`, in a session of its own as under a terminal, with pipes for stdout and stderr.

    Attributes:
        program: what Python runs in place of `qar`, for one that is to fail in some way.
        within: command that runs it elsewhere, as on another host; none for here.
        environment: variables besides those of this process.
    """

    arguments: tuple[str, ...]
    cwd: Path
    program: tuple[str, ...] = ("-m", "study.cli")
    within: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        terminal = ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "CLICOLOR_FORCE", "RAY_ADDRESS")
        environment = {name: value for name, value in os.environ.items() if name not in terminal}
        self.process = subprocess.Popen(
            [*self.within, sys.executable, *self.program, *self.arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.cwd,
            env=environment | self.environment | {MARK: self.mark},
            start_new_session=True,
        )

    def press_ctrl_c(self) -> None:
        """Send SIGINT to the whole process group, as a terminal does."""
        os.killpg(self.process.pid, signal.SIGINT)

    def kill_driver(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)

    def wait_until(self, ledger: Path, condition: Callable[[History], bool]) -> History:
        """Watches the ledger until the condition holds."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            history = read_history(ledger)
            if condition(history):
                return history
            assert self.process.poll() is None, f"it ended too early: {self.process.communicate()}"
            time.sleep(0.02)
        raise AssertionError(f"not reached within {PATIENCE:g} seconds: {read_history(ledger)}")

    def finish(self) -> Ended:
        """Waits for the end, and ends all that is left of the run."""
        try:
            stdout, stderr = self.process.communicate(timeout=PATIENCE)
            return Ended(self.process.returncode, stdout, stderr)
        finally:
            self.end_what_is_left()

    def end_what_is_left(self) -> None:
        """Kills all that the run has started; no other Ray is touched."""
        kill_marked(self.mark)


def kill_marked(mark: str) -> None:
    """Kills, by their ids, the processes that bear a mark."""
    variable = f"{MARK}={mark}".encode()
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and variable in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)
        except OSError:  # it is gone, or not ours
            continue


def qar(*arguments: str, cwd: Path) -> Ended:
    """Runs the command to its end."""
    run = LiveRun(arguments, cwd)
    return run.finish()


def epochs_by_session(ledger: Path) -> list[dict[int, list[dict[str, Any]]]]:
    """Return the epochs that each session trained, by the number of the trial, in the order of their reports."""
    sessions: list[dict[int, list[dict[str, Any]]]] = []
    for fact in map(json.loads, ledger.read_text().splitlines()):
        if fact["fact"] == SESSION_STARTED:
            sessions.append({})
        elif fact["fact"] == EPOCH:
            sessions[-1].setdefault(fact["number"], []).append(fact["metrics"])
    return sessions


def assert_quiet(ended: Ended) -> None:
    """Plain lines of ours on stdout, nothing on stderr."""
    assert ended.stderr == ""
    assert [line for line in ended.stdout.splitlines() if NOISE.search(line)] == []


def rows(study: Path) -> list[dict[Hashable, Any]]:
    return load_trials(study).astype(object).where(lambda table: table.notna(), None).to_dict("records")


def processes_of(run: LiveRun, name: str) -> list[int]:
    """Return the ids of the descendants of a run whose title begins with a name.

    They are found by their parents: the agents of Ray overwrite their environment by their titles.
    """
    parents: dict[int, int] = {}
    titles: dict[int, bytes] = {}
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit():
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                titles[int(folder.name)] = (folder / "cmdline").read_bytes()
        except OSError:  # it has ended
            continue
    descendants, generation = set(), {run.process.pid}
    while generation:
        generation = {process for process, parent in parents.items() if parent in generation}
        descendants |= generation
    return sorted(process for process in descendants if titles.get(process, b"").startswith(name.encode()))
