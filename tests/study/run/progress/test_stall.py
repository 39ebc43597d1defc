"""Standstill of a study: when it is noticed, as tables, without a clock."""

import pytest

from study.ledger.facts import ASKED, BASELINE
from study.run.progress.stall import (
    LONGEST_GAP,
    SHORTEST_STALL,
    STALL_BEFORE_EPOCHS,
    StallDetector,
    longest_epoch,
    stall_seconds,
)
from tests.support.example_studies import Unwritten, asked, study_config, train


@pytest.mark.parametrize(
    ("longest", "expected"), [(None, STALL_BEFORE_EPOCHS), (0.1, SHORTEST_STALL), (30.0, 600.0), (100.0, 2000.0)]
)
def test_silence_of_a_standstill_grows_with_the_epochs(longest: float | None, expected: float) -> None:
    assert stall_seconds(longest) == expected


def notices(detector: StallDetector, begin: int, end: int) -> list[int]:
    """Return the seconds at which a check every ten seconds shows a notice."""
    return [now for now in range(begin, end + 1, 10) if detector.notice(float(now))]


# Longest epoch, seconds at which an epoch of one second ends, and seconds at which the notice is shown.
COURSES = {
    "no epoch yet": (None, [], [1800]),
    "short epochs": (1.0, [], [600]),
    "long epochs": (60.0, [], [1200]),
    "epochs end in time": (1.0, [500, 1000, 1500], []),
    "second standstill": (1.0, [900], [600, 1500]),
}


@pytest.mark.parametrize(("longest", "epochs", "expected"), COURSES.values(), ids=COURSES)
def test_each_standstill_is_noticed_once(longest: float | None, epochs: list[int], expected: list[int]) -> None:
    detector = StallDetector(longest, 0.0)
    shown, begin = [], 0
    for epoch in epochs:
        shown += notices(detector, begin, epoch)
        detector.progress(float(epoch), 1.0)
        begin = epoch
    assert shown + notices(detector, begin, 2000) == expected


def test_longer_epoch_of_this_session_counts() -> None:
    detector = StallDetector(1.0, 0.0)
    detector.progress(100.0, 60.0)
    assert notices(detector, 100, 2000) == [1300]


def test_time_in_which_the_process_was_stopped_does_not_count() -> None:
    detector = StallDetector(1.0, 0.0)
    assert detector.notice(10.0) is None
    woken = 10.0 + 10 * SHORTEST_STALL
    assert detector.notice(woken) is None
    assert [now for now in (woken + LONGEST_GAP * step for step in range(1, 12)) if detector.notice(now)] == [
        woken + SHORTEST_STALL
    ]


def test_notice_names_the_silence_and_what_to_do() -> None:
    detector = StallDetector(8.0, 0.0)
    lines = [line for now in range(0, 721, 60) if (line := detector.notice(float(now)))]
    assert lines == [
        "no epoch has ended for 10:00; the longest so far took 0:08; see `ray status` and the load of the machines; "
        "Ctrl-C, then qar resume, continues from the checkpoints"
    ]


def test_longest_epoch_is_that_of_trials_and_float_networks() -> None:
    ledger = Unwritten()
    assert longest_epoch(ledger.history) is None
    config = study_config().trial_config({"family": "none", "num_levels": 4, "placement": "kmeans"})
    ledger.record(ASKED, **asked(0, config))
    train(ledger, 0, 2)
    seconds = max(epoch["train_seconds"] for epoch in ledger.history.trials[0].epochs.values())
    assert longest_epoch(ledger.history) == seconds
    ledger.record(BASELINE, seed=0, epoch=1, val_accuracy=0.5, train_seconds=seconds + 7.0)
    assert longest_epoch(ledger.history) == seconds + 7.0
