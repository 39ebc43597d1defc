"""The ledger: an append-only file with one fact per line; a fact is written before the program acts on it.

The searcher, the tables, the progress display and `qar status` all derive from it, so that they agree after a crash.
"""

import os
import shlex
import time
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from study.errors import StorageError
from study.ledger.coding import decode, encode
from study.ledger.facts import EPOCH, SESSION_STARTED, Fact
from study.ledger.group_commit import GroupCommit
from study.ledger.lock import lock
from study.ledger.order import check_order
from study.ledger.reading import read_file
from study.ledger.snapshot import snapshot_of, write_snapshot

QUICK_SECONDS = 0.01
"""Duration of a commit below which it is waited for; disks take a few milliseconds, stores ten to some hundred."""


LINES_WORTH_A_SNAPSHOT = 20_000
"""New lines after which a snapshot is written; reading them takes half a second."""

SNAPSHOT_INTERVAL_FACTOR = 30
"""Least time between two snapshots of a session, as a multiple of the time that the last one took."""


class DerivedFromLedger:
    """Base of objects with an empty pickle: Ray pickles a Tuner's callbacks, which are rebuilt from the ledger."""

    def __getstate__(self) -> dict[str, Any]:
        """Return no state."""
        return {}


class LedgerCopy(Protocol):
    """A second place for a ledger's facts, where its file is only a working copy: `study.storage.bucket.BucketLedger`.

    Methods raise StorageError if the place can't be written.
    """

    def append(self, lines: bytes) -> None:
        """Write the lines of facts; they are durable when this returns."""

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
        self._waiting: list[bytes] = []
        """Lines that the copy lacks."""
        self._waiting_lock = Lock()
        self._written = 0
        self._commits = GroupCommit(self._make_durable, self._study)
        self._session_began: float | None = None
        self._file = lock(path)
        reading = read_file(path)
        self.history, self._chain = reading.history, reading.chain
        self._lines_in_snapshot, self._snapshot_due = reading.lines_in_snapshot, 0.0
        self._offset, self._content = reading.intact, reading.content
        self._file.truncate(reading.intact)  # the program never acted on an incomplete last line

    def record(self, fact: str, **content: Any) -> None:
        """Make a fact durable, then apply it to the history.

        Args:
            fact: name of the fact, a key of `FACTS`.
            **content: fields of the fact, except its times.

        Raises:
            ValueError: the fact is invalid, or contradicts the facts before it.
            StorageError: the fact can't be written, or an earlier one could not: no fact may follow a missing one.
        """
        checked = self._write(fact, content)
        self.commit()
        self._apply(checked)

    def submit(self, fact: str, **content: Any) -> int:
        """Write a fact and apply it to the history; the commit that makes it durable follows soon.

        Whoever acts on the fact must wait until `durable` has reached the number that is returned. Facts that are
        submitted during a commit share the next one. An epoch alone causes none: it is part of the next commit.

        Args:
            fact: name of the fact, a key of `FACTS`.
            **content: fields of the fact, except its times.

        Returns:
            Number of the fact, counted from 1 since the ledger was opened.

        Raises:
            Exception: as `record` raises.
        """
        self._apply(self._write(fact, content))
        if fact != EPOCH:
            self._commits.request(self._written)
        return self._written

    @property
    def written(self) -> int:
        """Number of facts since the ledger was opened, durable or not."""
        return self._written

    @property
    def durable(self) -> int:
        """Number of facts since the ledger was opened that are durable, with all before them."""
        return self._commits.done

    @property
    def is_quick(self) -> bool:
        """Whether commits take so little time that waiting for one is cheaper than doing something else meanwhile."""
        return self._commits.seconds < QUICK_SECONDS

    def commit(self) -> None:
        """Make all facts durable that were written so far. Raises StorageError."""
        self._commits.commit(self._written)

    def _write(self, fact: str, content: dict[str, Any]) -> Fact:
        self._commits.check()
        if fact == SESSION_STARTED:
            self._session_began = time.monotonic()
        entry = {"fact": fact, "time": time.time(), "elapsed": self._elapsed()} | content
        line = encode(entry)
        checked = decode(line)
        check_order(self.history, checked)  # before writing: the file must stay readable
        line = self._chain.seal(line)
        with self._commits.failing():
            self._append(line)
        self._offset += len(line)
        self._content.update(line)
        self._written += 1
        return checked

    def _apply(self, fact: Fact) -> None:
        self.history.apply(fact)
        self.history.position = self._chain.position(self._offset)

    def write_snapshot(self) -> None:
        """Write a snapshot beside the ledger if one is due, so that a reading after a crash takes little time."""
        if time.monotonic() >= self._snapshot_due:
            self._write_snapshot()

    def _write_snapshot(self) -> None:
        """Write a snapshot if enough lines came since the last; it is left out if it can't be written."""
        new = self._chain.lines - self._lines_in_snapshot
        if new < LINES_WORTH_A_SNAPSHOT or self.history.position is None:
            return
        began = time.monotonic()
        with suppress(OSError):
            write_snapshot(snapshot_of(self.path), self.history, self._chain.lines, self._content.hexdigest())
        self._lines_in_snapshot = self._chain.lines
        now = time.monotonic()
        self._snapshot_due = now + SNAPSHOT_INTERVAL_FACTOR * (now - began)

    def check(self) -> None:
        """Raise StorageError if the next fact is known to fail.

        Ray only logs some of the exceptions that `record` raises in its callbacks, so the driver calls this regularly.
        """
        self._commits.check()
        if self._copy:
            self._copy.check()

    def _elapsed(self) -> float:
        """Return the seconds since this process started a session; before that, the duration of the last session."""
        if self._session_began is not None:
            return time.monotonic() - self._session_began
        return self.history.sessions[-1].seconds if self.history.sessions else 0.0

    def _append(self, line: bytes) -> None:
        rest = line
        while rest:  # a nearly full disk writes only a part
            rest = rest[self._file.write(rest) :]
        if self._copy:
            with self._waiting_lock:
                self._waiting.append(line)

    def _make_durable(self) -> None:
        """Make all lines durable that were written before the call."""
        os.fsync(self._file.fileno())
        if self._copy:
            with self._waiting_lock:
                lines, self._waiting = self._waiting, []
            if lines:
                self._copy.append(b"".join(lines))

    def close(self) -> None:
        """Commit what was written and write a snapshot, unless that fails, and release the lock and the copy."""
        with suppress(StorageError):
            self.commit()
            self._write_snapshot()
        self._commits.close()
        self._file.close()
        if self._copy:
            self._copy.close()
