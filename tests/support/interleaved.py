"""Drivers in threads of which one runs at a time, as a seed says, on a store in memory and a clock of their own.

A driver stops before each of its requests and whenever it sleeps. Then the scheduler lets any of them make its next
step. So every order of requests can happen, and the same choices give the same order again.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeVar

import obstore
from obstore.store import MemoryStore

from study.storage.object_store import BucketFolder

STEPS = 20_000
"""Steps after which drivers count as stuck."""

_Answer = TypeVar("_Answer")


class Killed(BaseException):
    """The driver's process is gone."""


class Race:
    """A race of drivers.

    Attributes:
        now: seconds on the clock that all share; it advances when all drivers that are left sleep.
        order: the drivers in the order of their steps.
    """

    def __init__(self, choose: Callable[[int], int], stop: Callable[[], float] = lambda: 0.0) -> None:
        """Take what chooses the next of so many drivers, and for how many seconds one is stopped before a request."""
        self.now = 0.0
        self._stop = stop
        self.order: list[int] = []
        self._choose = choose
        self._store = MemoryStore()
        self._turns: dict[int, threading.Semaphore] = {}
        self._wakes: dict[int, float] = {}
        self._doomed: dict[int, int] = {}
        self._made: Counter[int] = Counter()
        self._stepped = threading.Semaphore(0)
        self._current = threading.local()

    def bucket(self) -> BucketFolder:
        """Return a folder whose requests are steps of the driver that makes them."""
        return SteppingFolder("s3://bucket/study", None, "bucket/study", lambda size: self._store, self)

    def clock(self) -> Any:
        """Return what stands in for the module `time`."""
        return SimpleNamespace(monotonic=lambda: self.now, time=lambda: self.now, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        """Let the others go on until the clock has advanced."""
        self._wait(self.now + seconds)
        self._die_if_doomed()

    def step(self, request: Callable[[], _Answer]) -> _Answer:
        """Make a request when it is this driver's turn."""
        self._wait(self.now + self._stop())
        try:
            return request()
        finally:
            self._die_if_doomed()

    def kill_after(self, driver: int, steps: int) -> None:
        """End a driver in its step of this number: its request is still made, but it never sees the answer."""
        self._doomed[driver] = steps

    def _wait(self, until: float) -> None:
        driver = getattr(self._current, "driver", None)
        if driver is None:  # not one of the drivers
            return
        self._wakes[driver] = until
        self._stepped.release()
        self._turns[driver].acquire()

    def _die_if_doomed(self) -> None:
        driver = getattr(self._current, "driver", None)
        if driver is not None and self._made[driver] >= self._doomed.get(driver, STEPS):
            raise Killed

    def run(self, drivers: list[Callable[[], None]]) -> None:
        """Run the drivers to their ends."""

        def drive(number: int, driver: Callable[[], None]) -> None:
            self._current.driver = number
            try:
                self._wait(self.now)
                driver()
            except Killed:
                pass
            finally:
                del self._wakes[number]
                self._stepped.release()

        threads = [threading.Thread(target=drive, args=item, daemon=True) for item in enumerate(drivers)]
        self._turns = {number: threading.Semaphore(0) for number in range(len(drivers))}
        for thread in threads:
            thread.start()
            self._stepped.acquire()  # it waits for its first turn
        for _ in range(STEPS):
            if not self._wakes:
                break
            self.now = max(self.now, min(self._wakes.values()))
            ready = sorted(number for number, wake in self._wakes.items() if wake <= self.now)
            number = ready[self._choose(len(ready))]
            self.order.append(number)
            self._made[number] += 1
            self._turns[number].release()
            self._stepped.acquire()
        assert not self._wakes, f"drivers are stuck: {sorted(self._wakes)}"
        for thread in threads:
            thread.join()


class SteppingFolder(BucketFolder):
    """A folder of the store in memory, each of whose requests is a step."""

    def __init__(self, uri: str, filesystem: Any, path: str, client: Any, race: Race) -> None:
        super().__init__(uri, filesystem, path, client)
        object.__setattr__(self, "race", race)

    def _patiently(self, operation: Callable[[], _Answer]) -> _Answer:
        return self.race.step(operation)  # type: ignore[attr-defined]

    def sizes(self, folder: str = "") -> dict[str, int]:
        root = self._key("")
        listed = self._patiently(lambda: obstore.list(self.client(0), self._key(folder)).collect())
        return {entry["path"].removeprefix(root): entry["size"] for entry in sorted(listed, key=lambda e: e["path"])}


def by_seed(seed: int) -> Callable[[int], int]:
    """Return what chooses at random."""
    return random.Random(seed).randrange


class EveryOrder:
    """Chooses differently from race to race, until every order has happened once."""

    def __init__(self) -> None:
        self._path: list[tuple[int, int]] = []  # what was chosen, of how many, at each step
        self._depth = 0

    def __call__(self, ready: int) -> int:
        """Choose the next of so many drivers."""
        if self._depth == len(self._path):
            self._path.append((0, ready))
        choice, _ = self._path[self._depth]
        self._depth += 1
        return choice

    def advance(self) -> bool:
        """Turn to the next order; False if there is none."""
        self._depth = 0
        while self._path:
            choice, ready = self._path.pop()
            if choice + 1 < ready:
                self._path.append((choice + 1, ready))
                return True
        return False
