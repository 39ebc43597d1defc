"""The ledger: what happened in a study, one fact a line, appended before it is acted on and never changed.

The searcher, the tables, the progress display and `qar status` all derive from it, so after a crash they agree.
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
    """Pickles as nothing: Ray pickles all that a Tuner is given, and ours is made again from the ledger instead."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class LedgerCopy(Protocol):
    """Where a ledger's facts are kept too, if its file is not to be relied on: `study.storage.bucket.BucketLedger`."""

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
        self._file.truncate(intact)  # a torn last line was never acted on

    def record(self, fact: str, **content: Any) -> None:
        """Write a fact to disk, then take it into the history.

        Raises:
            ValueError: it makes no sense, by itself or after those before it.
            StorageError: it can't be written, or one before it couldn't: then nothing that follows is a fact either.
        """
        if self._unwritable:
            raise self._unwritable
        if fact == SESSION_STARTED:
            self._session_began = time.monotonic()
        entry = {"fact": fact, "time": time.time(), "elapsed": self._elapsed()} | content
        line = encode(entry)
        checked = decode(line)
        check_order(self.history, checked)  # what could not be read again must not be written
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
        """Raises StorageError if the next fact could not be written, as far as that is known.

        Of some facts that can't be written, Ray logs the exception and goes on.
        """
        if self._unwritable:
            raise self._unwritable
        if self._copy:
            self._copy.check()

    def _elapsed(self) -> float:
        """Return the seconds since this process began a session; before that, those of the last session."""
        if self._session_began is not None:
            return time.monotonic() - self._session_began
        return self.history.sessions[-1].seconds if self.history.sessions else 0.0

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
    """Return the history that a ledger holds, and the offset behind the last whole line: a torn one is no fact yet.

    Raises:
        DamagedFileError: a whole line can't be read, or makes no sense after those before it.
    """
    history, offset, before = History(), 0, b""
    lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
    for number, line in enumerate(lines[:-1], start=1):
        try:
            if line == before:
                raise ValueError("it is the line before it once more")
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
        raise StorageUnlockable(path.parent, error) from None
    return False


def read_history(path: Path) -> History:
    """The history that a ledger tells, without opening it for writing; raises DamagedFileError as `Ledger` does."""
    return _replay(path)[0]
