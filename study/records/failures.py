"""Decisions about a trial that has ended by an error, and about a study whose first trials all fail alike."""

import re
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from ray.exceptions import RayActorError, RayTaskError

from study.errors import StorageError, is_of_an_object_store
from study.ledger.history import History
from study.storage.folder import StudyFolder
from trainables.data.datasets import DatasetError
from trainables.result import FAIL

MOST_LOSSES = 3
"""How often a trial whose actor is lost goes on from its last checkpoint before it counts as failed."""

FAILURES_AT_START = 3
"""Trials, the first of a session, after whose identical failures a study ends by itself."""

_NOT_SHARED = "Unable to set up cluster storage"
"""What Ray says on a node that doesn't see the files of the others."""

_VARIABLE = re.compile(r"0x[0-9a-f]+|\d+(\.\d+)?(e[+-]?\d+)?", re.IGNORECASE)
"""Parts of a reason in which identical failures differ: epochs, sizes, addresses, numbers of trials."""


@dataclass(frozen=True)
class Retry:
    """The trial goes on from its last checkpoint."""

    reason: str


@dataclass(frozen=True)
class FailTrial:
    """The trial has failed for good."""

    reason: str


@dataclass(frozen=True)
class StopStudy:
    """The study can't go on: the other trials would meet the same."""

    error: StorageError


class AlikeFailuresError(StorageError):
    """The first trials of a session have all failed for the same reason; the study can be resumed."""


def decide(error: Exception, losses: int, folder: StudyFolder, baseline: str | None) -> Retry | FailTrial | StopStudy:
    """Return what follows from the error that has ended a trial.

    An exception would come again; what takes an actor away (a node, the lack of memory) need not. A bucket out of
    reach may be in reach again, and another node may have room, but the storage's own disk stays full.

    Args:
        error: as Ray keeps it.
        losses: how often the trial went on before.
        folder: of the study.
        baseline: path or URI of the float baseline that the trial begins from, if that is there and whole.
    """
    in_task = isinstance(error, RayTaskError)
    cause = error.cause if isinstance(error, RayTaskError) else error
    lines = (str(cause).strip() or type(cause).__name__).splitlines()
    text, node, may_retry = "\n".join(lines), node_of(error), losses < MOST_LOSSES
    if _NOT_SHARED in text or (baseline is not None and baseline in text):
        return StopStudy(StorageError.not_shared(folder, node))
    if may_retry and is_of_an_object_store(cause):
        return Retry(lines[0])
    if (reason := _dataset_reason(cause, text)) is not None:
        return StopStudy(StorageError.without_dataset(folder, reason, node))
    if (failure := StorageError.behind(cause, folder)) is not None:
        if not isinstance(cause, OSError) or not _lies_outside(cause, folder):
            return StopStudy(failure)
        return Retry(lines[0]) if may_retry else StopStudy(StorageError.of_a_node(folder, cause, node))
    if in_task:
        return FailTrial(lines[0])
    if isinstance(error, RayActorError) and error.actor_init_failed:
        return FailTrial(lines[-1])  # there is a traceback alone, whose last line is the reason
    if may_retry:
        return Retry(lines[0])
    return FailTrial(f"its actor was lost {MOST_LOSSES + 1} times, at last: {lines[0]}")


def failure_at_start(history: History, ended_before: Set[int]) -> str | None:
    """Return the reason for which the first trials of a session have all failed; None if they have not.

    They are the first `FAILURES_AT_START` by number, which are anchors where there are some, and more until two
    configurations are among them: one that diverges under each of its seeds says nothing of the others. Trials that
    end early because they diverge early therefore don't count as long as an earlier trial is still running.

    Args:
        history: of the study.
        ended_before: numbers of the trials that had ended when the session began.
    """
    reasons: list[str] = []
    configurations: set[str] = set()
    for number, trial in sorted(history.trials.items()):
        if number in ended_before:
            continue
        if trial.state != FAIL:
            return None
        reasons.append(trial.failure or "")
        configurations.add(trial.config_hash)
        if len({_VARIABLE.sub("#", reason) for reason in reasons}) > 1:
            return None
        if len(reasons) >= FAILURES_AT_START and len(configurations) > 1:
            return reasons[0]
    return None


def alike_failures(reason: str, folder: object) -> AlikeFailuresError:
    """Return the error that ends a study whose first trials all failed for this reason."""
    return AlikeFailuresError(
        f"the first {FAILURES_AT_START} trials all failed alike: {reason}; correct that, then go on with: qar resume "
        f"{folder}, or launch it anew under another --name"
    )


def _dataset_reason(cause: Exception, text: str) -> str | None:
    """Return why a node could not load the data set, if that is what has ended a trial."""
    if isinstance(cause, DatasetError):
        return text
    # Of an actor that could not begin there is a traceback alone.
    _, found, reason = text.rpartition(f"{DatasetError.__module__}.{DatasetError.__name__}: ")
    return reason.splitlines()[0] if found else None


def _lies_outside(error: OSError, folder: StudyFolder) -> bool:
    """Whether an error is about a file outside of the study, as in a node's folder for temporary files."""
    file = error.filename
    return isinstance(file, str) and not Path(file).is_relative_to(folder.path.resolve())


def node_of(error: Exception) -> str | None:
    """Return the address of the node on which a task or an actor has failed; Ray gives it in the text alone."""
    found = re.search(r"\bip=([^,)\s]+)", str(error))
    return found and found[1]
