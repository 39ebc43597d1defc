"""Group commit: facts that gather share a write, and none counts as durable before that has returned."""

import threading
from pathlib import Path

import pytest

from study.errors import StorageError
from study.ledger.facts import ASKED, CHECKPOINT, EPOCH
from study.ledger.group_commit import GroupCommit
from study.ledger.ledger import Ledger
from study.ledger.reading import read_history
from tests.support.example_studies import asked, metrics, start_session, study_config
from tests.support.slow_copy import PATIENCE, SlowCopy

CONFIG = study_config().trial_config({"family": "none", "num_levels": 2})


@pytest.fixture
def copy() -> SlowCopy:
    return SlowCopy()


@pytest.fixture
def ledger(tmp_path: Path, copy: SlowCopy) -> Ledger:
    """A ledger with a session, whose next commit waits for `copy.go`."""
    ledger = Ledger(tmp_path / "ledger.jsonl", copy)
    copy.go.release()
    start_session(ledger)
    assert copy.begun.acquire(timeout=PATIENCE)
    return ledger


def wait_until_durable(ledger: Ledger, fact: int) -> None:
    ledger.commit()
    assert ledger.durable >= fact


def test_facts_that_gather_during_a_commit_share_the_next(ledger: Ledger, copy: SlowCopy) -> None:
    first = ledger.submit(ASKED, **asked(0, CONFIG))
    assert copy.begun.acquire(timeout=PATIENCE)  # the first is on its way
    others = [ledger.submit(ASKED, **asked(number, CONFIG)) for number in range(1, 50)]
    assert ledger.durable < first, "nothing is durable before the write has returned"
    assert len(ledger.history.trials) == 50
    copy.go.release(2)
    wait_until_durable(ledger, others[-1])
    assert [lines.count(b"\n") for lines in copy.written] == [1, 1, 49]
    assert b"".join(copy.written) == ledger.path.read_bytes()
    ledger.close()


def test_epoch_alone_causes_no_commit_and_is_part_of_the_next(ledger: Ledger, copy: SlowCopy) -> None:
    copy.go.release(10)
    wait_until_durable(ledger, ledger.submit(ASKED, **asked(0, CONFIG)))
    commits = len(copy.written)
    epoch = ledger.submit(EPOCH, number=0, metrics=metrics(1))
    assert not copy.begun.acquire(timeout=0.2) or len(copy.written) == commits
    assert ledger.durable < epoch
    wait_until_durable(ledger, ledger.submit(CHECKPOINT, number=0, epoch=1, path="ray/1"))
    assert copy.written[-1].count(b"\n") == 2
    ledger.close()


def test_commit_that_fails_ends_the_recording_and_leaves_what_is_durable(ledger: Ledger, copy: SlowCopy) -> None:
    copy.failure = StorageError("the store is gone")
    fact = ledger.submit(ASKED, **asked(0, CONFIG))
    copy.go.release(10)
    with pytest.raises(StorageError, match="the store is gone"):
        ledger.commit()
    for act in (ledger.check, lambda: ledger.submit(ASKED, **asked(1, CONFIG)), ledger.commit):
        with pytest.raises(StorageError, match="the store is gone"):
            act()
    assert ledger.durable < fact
    ledger.close()
    assert len(copy.written) == 1


def test_closing_makes_everything_durable(ledger: Ledger, copy: SlowCopy) -> None:
    ledger.submit(ASKED, **asked(0, CONFIG))
    ledger.submit(EPOCH, number=0, metrics=metrics(1))
    copy.go.release(10)
    ledger.close()
    assert b"".join(copy.written) == ledger.path.read_bytes()
    assert read_history(ledger.path) == ledger.history


def test_commits_of_many_threads_never_overlap_and_lose_nothing() -> None:
    """Each commit must cover what was written before it was asked for."""
    running, written, durable = threading.Lock(), [0], [0]

    def make_durable() -> None:
        assert running.acquire(blocking=False), "two commits at the same time"
        durable[0] = written[0]
        running.release()

    commits = GroupCommit(make_durable, "small")
    counting = threading.Lock()

    def write() -> None:
        for number in range(200):
            with counting:
                written[0] += 1
                mine = written[0]
            if number % 2:
                commits.request(mine)
            else:
                commits.commit(mine)
                assert durable[0] >= mine
                assert commits.done >= mine

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    commits.commit(written[0])
    commits.close()
    assert commits.done == durable[0] == 800
