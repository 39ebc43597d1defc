"""A driver in a process of its own: a command of `qar` that outlives the process which has begun it."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from study.errors import StudyInterrupted
from study.terminal import say

SECONDS_BETWEEN_CHECKS = 0.5
COLOURED = frozenset({"FORCE_COLOR", "CLICOLOR_FORCE"})
"""Environment variables that a kernel sets for its own output; with them, a file would get a terminal's live panel."""
WRONG_REQUEST = 2
"""Exit status of the command line for a request that it has refused."""


class DriverProcess:
    """A running command of `qar`.

    It has a session of its own, so that neither Ctrl-C nor the end of a kernel reaches it, and writes what it prints
    into a file.

    Attributes:
        log: file with all that the command has printed.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        """Begin a command.

        Args:
            arguments: words after `qar`.

        Raises:
            OSError: no file for temporary files can be written, or no process started.
        """
        with tempfile.NamedTemporaryFile("wb", prefix="qar-", suffix=".log", delete=False) as log:
            self.log = Path(log.name)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "study.cli", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={name: value for name, value in os.environ.items() if name not in COLOURED},
                start_new_session=True,
            )
        self._shown = 0  # characters of the log

    @property
    def is_running(self) -> bool:
        """Whether the command has not ended."""
        return self._process.poll() is None

    def wait_until(self, reached: Callable[[], bool]) -> None:
        """Wait until a condition holds or the command ends.

        Args:
            reached: returns whether the condition holds.

        Raises:
            ValueError: the command refused the request.
            StudyInterrupted: the work failed.
        """
        while self.is_running and not reached():
            time.sleep(SECONDS_BETWEEN_CHECKS)
        self.check()

    def wait(self, timeout: float | None = None, *, quiet: bool = False) -> None:
        """Wait for the end of the command, and print its lines meanwhile.

        Args:
            timeout: most seconds to wait; None for no limit.
            quiet: whether to print nothing.

        Raises:
            TimeoutError: the command runs longer.
            ValueError: the command refused the request.
            StudyInterrupted: the work failed.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.is_running:
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"the study still runs after {timeout:g} seconds; wait again, or stop it")
            time.sleep(SECONDS_BETWEEN_CHECKS)
            if not quiet:
                self._show()
        if not quiet:
            self._show()
        self.check()

    def terminate(self) -> None:
        """Ask the command to end as SIGTERM does, and wait until it has."""
        if self.is_running:
            self._process.terminate()
        self._process.wait()

    def check(self) -> None:
        """Raise the error with which the command has ended; a signal that has ended it in order is none.

        Raises:
            ValueError: the command refused the request.
            StudyInterrupted: the work failed, or the process was killed.
        """
        status = self._process.poll()
        if status == WRONG_REQUEST:
            raise ValueError(self._reason())
        if status == 1:
            raise StudyInterrupted(self._reason())
        if status is not None and status < 0:
            raise StudyInterrupted(f"the driver was killed by signal {-status}; go on with: resume()")

    def _reason(self) -> str:
        """Return the line in which the command has reported its error."""
        lines = self.log.read_text(errors="replace").splitlines()
        errors = [line for line in lines if line.startswith("qar: ") and not line.startswith("qar: warning: ")]
        return (errors or lines or ["the driver has ended without a message"])[-1].removeprefix("qar: ")

    def _show(self) -> None:
        """Print the lines that the command has completed since the last call."""
        whole = self.log.read_text(errors="replace").rpartition("\n")[0]
        if new := whole[self._shown :]:
            say(new.removeprefix("\n"))
            self._shown = len(whole)
