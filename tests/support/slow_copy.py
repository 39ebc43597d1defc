"""A second place of a ledger's facts that is as slow as a test wants it."""

import threading

from study.errors import StorageError

PATIENCE = 30.0
"""Most seconds that a write waits until it is let go."""


class SlowCopy:
    """A copy whose writes return when they are let go."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.failure: StorageError | None = None

    def append(self, lines: bytes) -> None:
        self.begun.release()
        assert self.go.acquire(timeout=PATIENCE)
        if self.failure:
            raise self.failure
        self.written.append(lines)

    def check(self) -> None:
        pass

    def close(self) -> None:
        pass
