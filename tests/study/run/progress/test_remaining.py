"""The time to go, replayed on the timelines of real studies, and in cases that a sum on paper decides."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from study.config import StudyConfig
from study.ledger.epochs import EpochLog
from study.ledger.facts import ASKED, ENDED, EPOCH, FACTS, SESSION_STARTED, Fact
from study.ledger.history import History
from study.run.progress.remaining import expected_epochs, seconds_left
from tests.support.example_studies import PROVENANCE, asked, history_of, metrics, study_config
from trainables.result import TrialState

TIMELINES = Path(__file__).parents[3] / "support" / "timelines"
"""Events of four studies that ran on two cores, some beside others: seconds, event, number of the trial, and for an
asked one whether it is an anchor, for an epoch its number and seconds of training, for an ended one its state."""


def planned(count: int) -> StudyConfig:
    plan = [{"family": "none", "num_levels": 4, "placement": "kmeans"}] * count
    lengths = {"regularize_epochs": 12, "finetune_epochs": 6}
    return study_config(plan=plan, trials=count, trial=lengths, early_stopping={"scheduler": "none", "grace_period": 1})


def searched(trials: int, *, is_recent: bool) -> StudyConfig:
    """The digits study of 8 + 4 epochs a trial, or of an earlier version: 12 + 6, without anchors of all families."""
    six, five = ["none", "quantize-first", "RS", "RC", "RM", "RE"], ["none", "RS", "RC", "RM", "RE"]
    regularize, finetune, grace = (8, 4, 9) if is_recent else (12, 6, 13)
    rules = {"grace_period": grace, "reduction_factor": 2, "first_of_family": "finished" if is_recent else "compared"}
    return study_config(
        trials=trials,
        trial={"regularize_epochs": regularize, "finetune_epochs": finetune},
        anchors={"num_levels": [2, 4], "family": six} if is_recent else {"num_levels": [2, 3, 4, 8]},
        space={"family": six if is_recent else five},
        early_stopping=rules,
    )


CONFIGS = {
    "digits-48": searched(48, is_recent=True),
    "digits-64": searched(64, is_recent=False),
    "digits-12": searched(12, is_recent=False),
    "confirmation-22": planned(22),
}


def fact(kind: str, seconds: float, **content: Any) -> Fact:
    return FACTS[kind](time=seconds, elapsed=seconds, **content)


def replayed(name: str, config: StudyConfig) -> Iterator[History]:
    """Yield the history of a study after each of its epochs and ends of trials."""
    history = History()
    history.apply(fact(SESSION_STARTED, 0.0, session=1, pid=1, hostname="head", provenance=PROVENANCE))
    trial = config.trial_config({"family": "none", "num_levels": 4})
    with (TIMELINES / f"{name}.csv").open() as file:
        for row in csv.DictReader(file):
            number, seconds = int(row["number"]), float(row["seconds"])
            kind: str
            content: dict[str, Any]
            if row["event"] == "asked":
                kind, content = ASKED, asked(number, trial, anchor=row["detail"] == "1")
            elif row["event"] == "epoch":
                result = metrics(int(row["detail"])) | {"train_seconds": float(row["train_seconds"])}
                kind, content = EPOCH, {"number": number, "metrics": result}
            else:
                kind, content = ENDED, {"number": number, "state": TrialState(row["detail"]), "failure": None}
            history.apply(fact(kind, seconds, **content))
            yield history


@pytest.mark.parametrize("name", CONFIGS)
def test_time_left_is_within_a_factor_of_two_from_a_quarter_on(name: str) -> None:
    """Where the last trials end one by one, an error of ten seconds, or 3% of the whole, counts as none."""
    config = CONFIGS[name]
    estimates = []
    for history in replayed(name, config):
        if config.trials / 4 <= history.num_ended < config.trials:
            estimates.append((history.seconds, seconds_left(history, config)))
    total = history.seconds
    for seconds, estimate in estimates:
        assert estimate is not None
        left = total - seconds
        close = abs(estimate - left) <= max(10.0, 0.03 * total)
        assert close or left / 2 <= estimate <= 2 * left, (name, seconds, estimate, left)


def test_nothing_is_said_before_a_few_epochs_and_nothing_is_left_at_the_end() -> None:
    assert seconds_left(History(), study_config()) is None
    complete = history_of(*[(0.5, 2.0, TrialState.COMPLETE, 4)] * 2)
    assert seconds_left(complete, study_config(trials=2)) == 0.0


def test_epochs_that_are_left_go_on_at_the_pace_of_the_latest() -> None:
    """One of a plan of four trials of 18 epochs has ended; the epochs took 2 s each, and a session 100 s to start."""
    config = planned(4)
    history = history_of((0.5, 2.0, TrialState.COMPLETE, 4))
    history.trials[0].anchor = True
    history.epochs = EpochLog()
    for place in range(18):
        seconds = 100.0 + 2 * (place % 9)
        history.epochs.append(0, 1 + place // 9, {"train_seconds": 2.0}, seconds=seconds)
    assert seconds_left(history, config) == pytest.approx(3 * 18 * 2.0)
    assert seconds_left(history, config, now=12.0) == pytest.approx(3 * 18 * (2.0 + 12.0 / 6)), "12 s without an epoch"


def test_early_stopping_leaves_a_part_of_a_budget() -> None:
    config = study_config(early_stopping={"grace_period": 1, "reduction_factor": 2})
    assert expected_epochs(config) == 1 + 1 / 2 + 2 / 4
    assert expected_epochs(study_config(early_stopping={"scheduler": "none", "grace_period": 1})) == 4
