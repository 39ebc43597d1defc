"""The ledger: an append-only file with one fact per line; a fact is written before the program acts on it.

The searcher, the tables, the progress display and `qar status` all derive from it, so that they agree after a crash.
"""

import fcntl
import os
import shlex
import time
from pathlib import Path
from typing import Any, Protocol

from study.errors import StorageError, StorageUnlockable, StorageUnwritable
from study.ledger.facts import EPOCH, SESSION_STARTED, decode, encode
from study.ledger.history import History
from study.ledger.order import check_order
from trainables.errors import DamagedFileError


class DerivedFromLedger:
    """Base of objects with an empty pickle: Ray pickles a Tuner's callbacks, which are rebuilt from the ledger."""

    def __getstate__(self) -> dict[str, Any]:
        """Return no state."""
        return {}


class LedgerCopy(Protocol):
    """A second place for a ledger's facts, where its file is only a working copy: `study.storage.bucket.BucketLedger`.

    Methods raise StorageError if the place can't be written.
    """

    def append(self, line: bytes, durable: bool) -> None:
        """Write the line of a fact; one that isn't `durable` may be written later."""

    def check(self) -> None:
        """Raise what `append` would raise."""

    def close(self) -> None:
        """Release the place."""


class Ledger:
    """The file of facts, open for writing, and the history that follows from it.

    Only one process at a time can hold it; the lock ends with the process.

    Attributes:
        path: path of the file, in the study's folder.
        history: state of the study, updated with every recorded fact.
    """

    def __init__(self, path: Path, copy: LedgerCopy | None = None) -> None:
        """Lock the file and read its facts; an incomplete last line is removed.

        Args:
            path: path of the file, which is created if missing.
            copy: second place in which all facts are written; None for none.

        Raises:
            ValueError: another process holds the ledger.
            DamagedFileError: a line can't be read.
            StorageError: the file can't be opened for writing or locked.
        """
        self.path = path
        self._study = shlex.quote(str(path.parent))  # for messages
        self._copy = copy
        self._unwritable: StorageError | None = None
        self._session_began: float | None = None
        try:
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise StorageUnwritable(self._study, error) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise ValueError(
                f"{self._study} is being run by another process; watch it with: qar status {self._study}"
            ) from None
        except OSError as error:
            self._file.close()
            raise StorageUnlockable(self._study, error) from None
        self.history, intact = _replay(path)
        self._file.truncate(intact)  # the program never acted on an incomplete last line

    def record(self, fact: str, **content: Any) -> None:
        """Write a fact to disk, then apply it to the history.

        Args:
            fact: name of the fact, a key of `FACTS`.
            **content: fields of the fact, except its times.

        Raises:
            ValueError: the fact is invalid, or contradicts the facts before it.
            StorageError: the fact can't be written, or an earlier one could not: no fact may follow a missing one.
        """
        if self._unwritable:
            raise self._unwritable
        if fact == SESSION_STARTED:
            self._session_began = time.monotonic()
        entry = {"fact": fact, "time": time.time(), "elapsed": self._elapsed()} | content
        line = encode(entry)
        checked = decode(line)
        check_order(self.history, checked)  # before writing: the file must stay readable
        try:
            self._append(line, durable=fact != EPOCH)
        except OSError as error:
            self._unwritable = StorageUnwritable(self._study, error)
            raise self._unwritable from error
        except StorageError as error:
            self._unwritable = error
            raise
        self.history.apply(checked)

    def check(self) -> None:
        """Raise StorageError if the next fact is known to fail.

        Ray only logs some of the exceptions that `record` raises in its callbacks, so the driver calls this regularly.
        """
        if self._unwritable:
            raise self._unwritable
        if self._copy:
            self._copy.check()

    def _elapsed(self) -> float:
        """Return the seconds since this process started a session; before that, the duration of the last session."""
        if self._session_began is not None:
            return time.monotonic() - self._session_began
        return self.history.sessions[-1].seconds if self.history.sessions else 0.0

    def _append(self, line: bytes, durable: bool) -> None:
        rest = line
        while rest:  # a nearly full disk writes only a part
            rest = rest[self._file.write(rest) :]
        if durable:
            os.fsync(self._file.fileno())
        if self._copy:
            self._copy.append(line, durable)

    def close(self) -> None:
        """Release the lock and the copy."""
        self._file.close()
        if self._copy:
            self._copy.close()


def _replay(path: Path) -> tuple[History, int]:
    """Return the history that follows from a ledger, and the offset after its last complete line.

    Raises:
        DamagedFileError: a complete line can't be read, or contradicts those before it.
    """
    history, offset, before = History(), 0, b""
    lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
    for number, line in enumerate(lines[:-1], start=1):
        try:
            if line == before:
                raise ValueError("it repeats the line before it")
            fact = decode(line)
            check_order(history, fact)
        except ValueError as error:
            reason = " ".join(str(error).split())
            raise DamagedFileError(
                f"{path} is damaged in line {number}: {reason}; restore the file from a copy"
            ) from None
        history.apply(fact)
        before = line
        offset += len(line) + 1
    return history, offset


def is_being_written(path: Path) -> bool:
    """Whether a process holds the ledger; processes of other machines are missed where locks aren't shared.

    Args:
        path: path of the ledger, which need not exist.

    Raises:
        StorageError: the file system can't lock files.
    """
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError as error:
        raise StorageUnlockable(path.parent, error) from None
    return False


def read_history(path: Path) -> History:
    """Return the history that follows from a ledger, without opening it for writing.

    Args:
        path: path of the ledger, which need not exist.

    Raises:
        DamagedFileError: a complete line can't be read, or contradicts those before it.
    """
    return _replay(path)[0]
