"""Drivers that begin in the same millisecond: one wins, always, and no fact is ever lost.

`pytest tests/study/storage/test_races.py --races 10000` runs as many of the random races.
"""

import json
import random
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from study.errors import StorageError
from study.storage import lease, segments
from study.storage.bucket import BucketLedger
from study.storage.lease import INTERVAL, NAME, SILENCE, Lease, read_driver
from study.storage.object_store import BucketFolder
from study.storage.segments import Segments, read_ledger, seal_ledger
from tests.support.faulty_store import FaultyStore
from tests.support.interleaved import EveryOrder, Race, by_seed

DRIVERS = 32
"""On the real server."""


def driver_elsewhere(ended: bool) -> bytes:
    return json.dumps({"token": "x", "hostname": "another", "pid": 1, "time": 0, "beat": 1, "ended": ended}).encode()


PLACES: dict[str, bytes | None] = {
    "new": None,
    "ended": driver_elsewhere(ended=True),
    "killed": driver_elsewhere(ended=False),
}
"""Content of the lease's object before the race."""


class SimulatedLease(Lease):
    """A lease without a thread, whose driver renews it between two facts."""

    def _start(self) -> None:
        pass


class OneByOne:
    """Stands in for a pool of threads, so that each request is a step of its driver."""

    def __init__(self, readers: int) -> None:
        pass

    def __enter__(self) -> "OneByOne":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def map(self, function: Callable[[str], Any], names: Iterable[str]) -> Iterator[Any]:
        return map(function, names)


@pytest.fixture
def races(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--races"))


def compete(race: Race, place: bytes | None, drivers: int, monkeypatch: pytest.MonkeyPatch) -> tuple[list[float], int]:
    """Let drivers begin at once; return when each of those that won did so, and how many were refused."""
    monkeypatch.setattr(lease, "time", race.clock())
    bucket = race.bucket()
    if place is not None:
        bucket.write(NAME, place)
    won: list[float] = []
    refused: list[str] = []

    def drive() -> None:
        try:
            held = SimulatedLease(bucket, lambda text: None)
        except ValueError as error:
            refused.append(str(error))
            return
        won.append(race.now)
        while len(won) + len(refused) < drivers:
            race.sleep(INTERVAL)
            held._renew()

    race.run([drive] * drivers)
    assert all("is being run by process" in text for text in refused)
    return won, len(refused)


@pytest.mark.parametrize("place", ["new", "ended"])
def test_in_every_order_of_two_drivers_requests_one_wins(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    orders, choose = 0, EveryOrder()
    while True:
        won, refused = compete(race := Race(choose), PLACES[place], 2, monkeypatch)
        assert (won, refused) == ([0], 1), race.order
        orders += 1
        if not choose.advance():
            break
    assert orders > 20


def test_in_random_races_one_wins(races: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two to five drivers race in a new place, after a driver that has ended, and after one that was killed."""
    for seed in range(races):
        place, drivers = list(PLACES)[seed % 3], 2 + seed // 3 % 4
        won, refused = compete(race := Race(by_seed(seed)), PLACES[place], drivers, monkeypatch)
        assert (len(won), refused) == (1, drivers - 1), (seed, place, race.order)
        assert won == [pytest.approx(SILENCE if place == "killed" else 0)], "only the killed one is waited for"


def test_no_fact_is_lost_whoever_is_stopped_killed_and_taken_over_from(
    races: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drivers write facts, are stopped for minutes before any request, are killed, and follow each other.

    What one of them took for written is in the ledger, once, in the order of writing, and facts of two are not mixed.
    """
    taken_over = 0
    for seed in range(races):
        rng = random.Random(seed)
        race = Race(by_seed(seed), stop=lambda rng=rng: 200 * rng.random() if rng.random() < 0.1 else 0.0)  # type: ignore[misc]
        monkeypatch.setattr(lease, "time", race.clock())
        monkeypatch.setattr(segments, "ThreadPoolExecutor", OneByOne)
        bucket = race.bucket()
        written: list[bytes] = []
        stopped: list[str] = []

        def driver(
            number: int,
            race: Race = race,
            rng: random.Random = rng,
            bucket: BucketFolder = bucket,
            written: list[bytes] = written,
            stopped: list[str] = stopped,
        ) -> Callable[[], None]:
            def drive() -> None:
                race.sleep(rng.choice([0.0, 0.0, 60.0, 120.0]))
                try:
                    held = SimulatedLease(bucket, lambda text: None)
                    seal_ledger(bucket)
                    ledger = BucketLedger(held, Segments(bucket, read_ledger(bucket)))
                    for fact in range(4):
                        race.sleep(rng.choice([0.0, 1.0, 20.0, 100.0]))
                        line = b"%d.%d\n" % (number, fact)
                        ledger.append(line)
                        written.append(line)
                except ValueError:  # another one drives
                    return
                except StorageError as error:
                    stopped.append(str(error))

            return drive

        if rng.random() < 0.5:
            race.kill_after(driver=0, steps=rng.randrange(5, 30))
        race.run([driver(number) for number in range(4)])
        lines = read_ledger(bucket).splitlines(keepends=True)
        assert [line for line in lines if line in written] == written, (seed, lines, written, race.order)
        # A driver that was killed during a request may have written one more fact than it knew of.
        assert len(lines) - len(written) <= 1, (seed, lines, written)
        numbers = [line.partition(b".")[0] for line in lines]
        changes = sum(one != other for one, other in pairwise(numbers))
        assert changes == max(0, len(set(numbers)) - 1), (seed, lines)
        assert all("driven by" in text or "try again" in text for text in stopped)
        taken_over += bool(stopped)
    assert taken_over > races / 20, "takeovers happen"


def test_of_many_drivers_on_a_real_server_one_wins(server: FaultyStore) -> None:
    """And renews its lease while the others are refused."""
    server.fault = lambda method, path: None
    uri = server.uri("bucket/race")
    begin = threading.Barrier(DRIVERS)
    won: list[Lease] = []
    refused: list[str] = []

    def drive() -> None:
        bucket = BucketFolder.open(uri)
        begin.wait()
        try:
            won.append(Lease(bucket, lambda text: None))
        except ValueError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=drive) for _ in range(DRIVERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(refused)) == (1, DRIVERS - 1)
    assert all("is being run by process" in text for text in refused)
    won[0].check()
    won[0].release()
    last = read_driver(BucketFolder.open(uri))
    assert last is not None
    assert last["ended"]
