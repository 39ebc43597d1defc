"""Decisions about failures, as tables, without Ray's processes."""

import errno
import re
from pathlib import Path

import pytest
from ray.exceptions import ActorDiedError, LocalRayletDiedError, RayTaskError, WorkerCrashedError

from study.errors import BaselineFailed, NodeLacksDataset, NodeUnusable, StorageNotShared, StorageUnwritable
from study.ledger.facts import ASKED, ENDED
from study.ledger.history import History
from study.records.failures import (
    FAILURES_AT_START,
    MOST_LOSSES,
    FailTrial,
    Retry,
    StopStudy,
    baseline_failure,
    decide,
    failure_at_start,
)
from study.storage.folder import StudyFolder
from tests.support.example_studies import Unwritten, asked, study_config
from trainables.data.datasets import DatasetError
from trainables.errors import NonFiniteLossError
from trainables.result import TrialState

IN_A_BUCKET = OSError("When uploading part for key 'x': AWS Error NETWORK_CONNECTION during UploadPart")
FULL_NODE = OSError(errno.ENOSPC, "No space left on device", "/tmp/tmp4_1x/trial.pt")
UNSEEN = RuntimeError("/shared/baseline/seed-0 holds no complete checkpoint")


def in_task(cause: Exception) -> RayTaskError:
    return RayTaskError("step", "Traceback …", cause)


# Error, losses so far, whether the float network is whole here; the decision, or why the study stops; its words.
DECISIONS = {
    "exception": (in_task(ValueError("the reason\nand advice")), 0, False, FailTrial, "the reason"),
    "exception without words": (in_task(MemoryError()), 0, False, FailTrial, "MemoryError"),
    "lost actor": (ActorDiedError(), MOST_LOSSES - 1, False, Retry, "actor died"),
    "actor lost too often": (ActorDiedError(), MOST_LOSSES, False, FailTrial, f"lost {MOST_LOSSES + 1} times"),
    "lost pack": (in_task(ActorDiedError()), MOST_LOSSES - 1, False, Retry, "actor died"),
    "pack lost too often": (in_task(ActorDiedError()), MOST_LOSSES, False, FailTrial, f"lost {MOST_LOSSES + 1} times"),
    "unreadable error": (EOFError("Ran out of input"), 0, False, Retry, "Ran out of input"),
    "full storage": (in_task(OSError(errno.ENOSPC, "No space")), 0, False, StorageUnwritable, "free space there"),
    "full disk of a node": (in_task(FULL_NODE), MOST_LOSSES - 1, False, Retry, "No space left"),
    "disk of a node that stays full": (
        in_task(FULL_NODE),
        MOST_LOSSES,
        False,
        NodeUnusable,
        "/tmp/tmp4_1x/trial.pt on",
    ),
    "bucket": (in_task(IN_A_BUCKET), MOST_LOSSES - 1, False, Retry, "AWS Error"),
    "bucket that stays away": (in_task(IN_A_BUCKET), MOST_LOSSES, False, StorageUnwritable, "can't be reached"),
    "missing data set": (
        in_task(DatasetError("x.npz is missing")),
        0,
        False,
        NodeLacksDataset,
        "can't load the data set",
    ),
    "unshared storage": (
        in_task(RuntimeError("Unable to set up cluster storage")),
        0,
        False,
        StorageNotShared,
        "seen by all",
    ),
    "unseen baseline": (in_task(UNSEEN), 0, True, StorageNotShared, "seen by all"),
    "damaged baseline": (in_task(UNSEEN), 0, False, FailTrial, "no complete checkpoint"),
    "missing file": (
        in_task(FileNotFoundError(errno.ENOENT, "No such", "x")),
        0,
        False,
        FailTrial,
        "No such",
    ),
}


@pytest.mark.parametrize(("error", "losses", "whole", "kind", "words"), DECISIONS.values(), ids=DECISIONS)
def test_error_leads_to_its_decision(
    error: Exception, losses: int, whole: bool, kind: type, words: str, tmp_path: Path
) -> None:
    decision = decide(error, losses, StudyFolder(tmp_path), "/shared/baseline/seed-0" if whole else None)
    assert type(decision.error if isinstance(decision, StopStudy) else decision) is kind
    assert words in str(decision.error if isinstance(decision, StopStudy) else decision.reason)


# Error of the task that trains a float network; what ends the study, and its words.
BASELINE_FAILURES = {
    "diverges": (NonFiniteLossError("the loss is nan in epoch 1"), ValueError, "lower trial.recipe.learning_rate"),
    "missing data set": (DatasetError("x.npz is missing"), NodeLacksDataset, "can't load the data set: x.npz"),
    "full storage": (OSError(errno.ENOSPC, "No space"), StorageUnwritable, "free space there"),
    "bucket": (IN_A_BUCKET, StorageUnwritable, "can't be reached"),
    "other exception": (RuntimeError("out of memory\nadvice"), BaselineFailed, "out of memory; correct that, then"),
}


@pytest.mark.parametrize(("cause", "kind", "words"), BASELINE_FAILURES.values(), ids=BASELINE_FAILURES)
def test_baseline_that_cant_be_trained_ends_the_study(cause: Exception, kind: type, words: str) -> None:
    failure = baseline_failure(in_task(cause), "studies/digits")
    assert type(failure) is kind
    assert words in str(failure)
    assert "\n" not in str(failure)


def test_lost_node_of_a_baseline_needs_no_correction() -> None:
    line = str(baseline_failure(LocalRayletDiedError(), "studies/digits"))
    assert re.fullmatch(r"a process of Ray has ended, [^\n]*; go on with: qar resume studies/digits", line)


def test_lost_worker_of_a_baseline_ends_the_study() -> None:
    failure = baseline_failure(WorkerCrashedError(), "studies/digits")
    assert type(failure) is BaselineFailed
    assert str(failure).endswith("go on with: qar resume studies/digits")


def history_of(*ends: tuple[str, str | None] | None, one_configuration: bool = False) -> History:
    """Trials that have ended so, in order of their numbers; None for one that runs."""
    ledger = Unwritten()
    for number, end in enumerate(ends):
        levels = 2 if one_configuration else 2 + number
        config = study_config().trial_config({"family": "none", "num_levels": levels, "placement": "kmeans"})
        ledger.record(ASKED, **asked(number, config))
        if end is not None:
            ledger.record(ENDED, number=number, state=end[0], failure=end[1])
    return ledger.history


ALIKE = [
    (TrialState.FAIL, f"the loss is not finite (nan) in epoch {epoch}") for epoch in range(1, FAILURES_AT_START + 1)
]


def test_first_trials_that_fail_alike_are_noticed_whatever_numbers_they_name() -> None:
    assert failure_at_start(history_of(*ALIKE), set()) == ALIKE[0][1]
    assert failure_at_start(history_of(*ALIKE, None), set()) == ALIKE[0][1]


@pytest.mark.parametrize(
    "ends",
    [
        ALIKE[1:],
        [None, *ALIKE],
        [(TrialState.COMPLETE, None), *ALIKE],
        [ALIKE[0], (TrialState.PRUNED, None), *ALIKE],
        [(TrialState.FAIL, "out of memory"), *ALIKE],
    ],
    ids=["too few", "an earlier one runs", "one was trained", "one was stopped", "another reason"],
)
def test_other_beginnings_let_the_study_go_on(ends: list[tuple[str, str | None] | None]) -> None:
    assert failure_at_start(history_of(*ends), set()) is None


def test_failures_of_earlier_sessions_are_not_counted_again() -> None:
    history = history_of(*ALIKE, None)
    assert failure_at_start(history, set(range(FAILURES_AT_START))) is None


def test_one_configuration_that_fails_under_every_seed_stops_no_plan() -> None:
    assert failure_at_start(history_of(*ALIKE, one_configuration=True), set()) is None
