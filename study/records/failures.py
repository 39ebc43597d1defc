"""Decisions about trials that ended with an error, and about studies whose first trials all fail alike."""

import re
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from ray.exceptions import LocalRayletDiedError, RayActorError, RayTaskError

from study.errors import (
    BaselineFailed,
    NodeLacksDataset,
    NodeUnusable,
    StorageNotShared,
    StudyInterrupted,
    interruption_behind,
    is_object_store_error,
)
from study.ledger.history import History
from study.storage.folder import StudyFolder
from trainables.data.datasets import DatasetError
from trainables.errors import NonFiniteLossError
from trainables.result import TrialState

MOST_LOSSES = 3
"""Number of times that a trial with a lost actor continues from its last checkpoint before it counts as failed."""

FAILURES_AT_START = 3
"""Number of trials at the start of a session whose identical failures end the study."""

_NOT_SHARED = "Unable to set up cluster storage"
"""Start of Ray's message on a node that doesn't see the files of the others."""

_VARIABLE = re.compile(r"0x[0-9a-f]+|\d+(\.\d+)?(e[+-]?\d+)?", re.IGNORECASE)
"""Parts of a reason in which identical failures differ: epochs, sizes, addresses, numbers of trials."""


@dataclass(frozen=True)
class Retry:
    """The trial continues from its last checkpoint."""

    reason: str


@dataclass(frozen=True)
class FailTrial:
    """The trial has failed for good."""

    reason: str


@dataclass(frozen=True)
class StopStudy:
    """The study can't go on: its other trials would fail for the same reason."""

    error: StudyInterrupted


def decide(error: Exception, losses: int, folder: StudyFolder, baseline: str | None) -> Retry | FailTrial | StopStudy:
    """Return the action to take after an error that ended a trial.

    An exception of the trial would be raised again, so the trial fails. The loss of an actor, a bucket out of reach
    and a node without free space may pass, so the trial is retried. The other failures of the storage and a missing
    data set would end every trial, so the study stops.

    Args:
        error: the exception that Ray has kept for the trial.
        losses: number of times that the trial was retried before.
        folder: folder of the study.
        baseline: path or URI of the float network that the trial begins from, if it is there and whole.
    """
    in_task = isinstance(error, RayTaskError)
    cause = error.cause if isinstance(error, RayTaskError) else error
    lines = (str(cause).strip() or type(cause).__name__).splitlines()
    text, node, may_retry = "\n".join(lines), node_of(error), losses < MOST_LOSSES
    if _NOT_SHARED in text or (baseline is not None and baseline in text):
        return StopStudy(StorageNotShared(folder, node))
    if may_retry and is_object_store_error(cause):
        return Retry(lines[0])
    if (reason := _dataset_reason(cause, text)) is not None:
        return StopStudy(NodeLacksDataset(folder, reason, node))
    if (failure := interruption_behind(cause, folder)) is not None:
        if not isinstance(cause, OSError) or not _lies_outside(cause, folder):
            return StopStudy(failure)
        return Retry(lines[0]) if may_retry else StopStudy(NodeUnusable(folder, cause, node))
    lost = isinstance(cause, RayActorError)  # its own actor, or the one that trains several trials together
    if in_task and not lost:
        return FailTrial(lines[0])
    if isinstance(cause, RayActorError) and cause.actor_init_failed:
        return FailTrial(lines[-1])  # the message is a traceback, whose last line is the reason
    if may_retry:
        return Retry(lines[0])
    return FailTrial(f"its actor was lost {MOST_LOSSES + 1} times, at last: {lines[0]}")


def baseline_failure(error: Exception, folder: object) -> Exception:
    """Return the exception that ends a study whose float network could not be trained.

    Args:
        error: the exception of the task, as Ray raises it in the driver.
        folder: path or URI of the study.
    """
    if isinstance(error, LocalRayletDiedError):
        return StudyInterrupted(
            "a process of Ray has ended, killed or out of memory, while the float network was trained; go on with: "
            f"qar resume {folder}"
        )
    cause = error.cause if isinstance(error, RayTaskError) else error  # a lost worker has no cause
    if isinstance(cause, NonFiniteLossError):
        return ValueError(
            f"the float network that all trials begin from must converge, but {cause}; "
            "lower trial.recipe.learning_rate in another study"
        )
    if isinstance(cause, DatasetError):
        return NodeLacksDataset(folder, str(cause), node_of(error))
    return interruption_behind(cause, folder) or BaselineFailed(folder, cause, node_of(error))


def failure_at_start(history: History, ended_before: Set[int]) -> str | None:
    """Return the reason for which the first trials of a session have all failed; None if they have not.

    The first trials are the first `FAILURES_AT_START` by number, the anchors among them, and more until they hold two
    configurations: a configuration that diverges under each of its seeds says nothing about the others. While an
    earlier trial is still running, the result is None.

    Args:
        history: history of the study.
        ended_before: numbers of the trials that had ended when the session began.
    """
    reasons: list[str] = []
    configurations: set[str] = set()
    for number, trial in history.trials.items():  # in the order of their numbers
        if number in ended_before:
            continue
        if trial.state != TrialState.FAIL:
            return None
        reasons.append(trial.failure or "")
        configurations.add(trial.config_hash)
        if len({_VARIABLE.sub("#", reason) for reason in reasons}) > 1:
            return None
        if len(reasons) >= FAILURES_AT_START and len(configurations) > 1:
            return reasons[0]
    return None


def _dataset_reason(cause: Exception, text: str) -> str | None:
    """Return why a node could not load the data set, if that is what has ended a trial."""
    if isinstance(cause, DatasetError):
        return text
    # An actor that could not start leaves a traceback as text, no exception.
    _, separator, reason = text.rpartition(f"{DatasetError.__module__}.{DatasetError.__name__}: ")
    return reason.splitlines()[0] if separator else None


def _lies_outside(error: OSError, folder: StudyFolder) -> bool:
    """Whether an error is about a file outside of the study, as in a node's folder for temporary files."""
    file = error.filename
    return isinstance(file, str) and not Path(file).is_relative_to(folder.path.resolve())


def node_of(error: Exception) -> str | None:
    """Return the address of the node on which a task or an actor has failed; Ray names it only in the message."""
    match = re.search(r"\bip=([^,)\s]+)", str(error))
    return match and match[1]
