"""Group commit: one write to the disk or the store makes all facts durable that have gathered meanwhile."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread

from study.errors import StorageError, StorageUnwritable

WEIGHT_OF_LATEST = 0.3
"""Weight of the latest commit in the average of their times."""


class GroupCommit:
    """Commits of a growing number of facts: on demand in the caller's thread, or soon in a thread of its own.

    After a failure nothing is committed any more, since no fact may follow a missing one.

    Attributes:
        done: number of facts that are durable.
        seconds: time that commits take lately, a moving average.
    """

    def __init__(self, make_durable: Callable[[], None], study: str) -> None:
        """Prepare to commit; no fact is written yet.

        Args:
            make_durable: function that makes all facts durable that were written before its call. It may raise
                OSError or StorageError. It is never called twice at the same time.
            study: path of the study, quoted for a shell, for messages.
        """
        self.done = 0
        self.seconds = 0.0
        self._make_durable = make_durable
        self._study = study
        self._requested = 0
        self._failure: StorageError | None = None
        self._committing = Lock()
        self._wake, self._closed = Event(), False
        self._thread: Thread | None = None

    def check(self) -> None:
        """Raise StorageError if a commit has failed."""
        if self._failure:
            raise self._failure

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Turn an error of the storage in the block into a StorageError that stays. Raises StorageError."""
        try:
            yield
        except OSError as error:
            self._failure = StorageUnwritable(self._study, error)
            raise self._failure from error
        except StorageError as error:
            self._failure = error
            raise

    def commit(self, written: int) -> None:
        """Make facts durable, waiting for a commit that is under way.

        Args:
            written: number of facts that were written.

        Raises:
            StorageError: this or an earlier commit has failed.
        """
        with self._committing:
            self.check()
            if self.done < written:
                self._commit(written)

    def request(self, written: int) -> None:
        """Have facts made durable soon, by the thread; `done` shows when, and `check` if it fails."""
        self._requested = written
        if self._thread is None:
            self._thread = Thread(target=self._serve, name="qar-commit", daemon=True)
            self._thread.start()
        self._wake.set()

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _commit(self, written: int) -> None:
        began = time.monotonic()
        with self.failing():
            self._make_durable()
        self.done = written
        self.seconds += WEIGHT_OF_LATEST * (time.monotonic() - began - self.seconds)

    def _serve(self) -> None:
        while not self._closed:
            self._wake.wait()
            self._wake.clear()
            with self._committing:
                requested = self._requested
                if self._failure is None and self.done < requested:
                    try:
                        self._commit(requested)
                    except StorageError:
                        return  # `check` raises it
