"""`qar enqueue` and `qar stop`: requests to the driver of a study, from any process that can reach its storage."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from study.config import redacted
from study.config.loading import with_overrides
from study.errors import StudyInterrupted
from study.ledger.history import History, Trial
from study.search.enqueued import params_in_space, searched_fields
from study.storage.folder import StudyFolder
from study.storage.liveliness import is_complete, liveliness
from study.storage.requests import ENQUEUE, STOP, Request, pending, send
from trainables.result import TrialState

PATIENCE = 120.0
"""Seconds within which a driver must take a request to stop."""


class DriverSilentError(StudyInterrupted):
    """The driver of a study does not take a request."""


def enqueue(folder: StudyFolder, settings: Sequence[str]) -> list[str]:
    """Ask for a trial, which is created before further proposals of the sampler.

    Args:
        folder: the study.
        settings: searched fields of the trial, each as KEY=VALUE.

    Returns:
        Lines for the user.

    Raises:
        ValueError: the folder holds no study, or the trial is refused; then nothing is written.
        DamagedFileError: the study's files can't be read.
        StorageError: the bucket can't be reached.
    """
    config = folder.read_config()
    history = folder.read_history()
    values: dict[str, Any] = with_overrides({}, settings)
    try:
        searched = searched_fields(values, config)
    except ValueError as error:
        raise ValueError(redacted(f"--set: {error}")) from None
    hash_of_trial = config.trial_config(searched).hash
    known = next((trial for trial in history.trials.values() if trial.config_hash == hash_of_trial), None)
    if known is not None:
        raise ValueError(
            f"--set must give a configuration that the study has not run, got that of trial {known.number} "
            f"({known.state}); see it with: qar status {folder}, or repeat it with: qar confirm {folder}"
        )
    send(folder, Request(kind=ENQUEUE, searched=searched))
    lines = [_when(folder, history)]
    if not params_in_space(searched, config):
        lines.append("it lies outside the study's space, so the sampler does not learn from it")
    return lines


def _when(folder: StudyFolder, history: History) -> str:
    """Return when a trial that was asked for is created."""
    config = folder.read_config()
    if len(history.trials) >= config.trials or is_complete(history, config):
        return f"enqueued; all {config.trials} trials are taken, so extend the study: qar resume {folder} --trials 1"
    if not folder.is_driven():
        return f"enqueued; it is trained with: qar resume {folder}"
    return "enqueued; it is the next trial to start"


def stop_study(folder: StudyFolder, say: Callable[[str], None]) -> None:
    """Ask the driver of a study to end as after Ctrl-C, and wait until it has.

    Raises:
        ValueError: the folder holds no study, or no driver runs it.
        DriverSilentError: the driver does not take the request.
        DamagedFileError: the study's files can't be read.
        StorageError: the bucket can't be reached.
    """
    _check_driven(folder)
    request = Request(kind=STOP)
    send(folder, request)
    say(f"asked the driver of {folder} to end")
    _wait(folder, request, until=lambda: not folder.is_driven())
    folder.storage.remove_request(request.name)


def stop_trial(folder: StudyFolder, name: str) -> Trial:
    """Ask for the end of a trial after its present epoch, as PRUNED, and wait until the driver has noted it.

    Args:
        folder: the study.
        name: number or name of the trial.

    Returns:
        The trial.

    Raises:
        Exception: as `stop_study` raises; ValueError too if there is no such trial, or if it has ended.
    """
    _check_driven(folder)
    trial = trial_named(folder.read_history(), name)
    if trial.state is not TrialState.RUNNING:
        raise ValueError(f"--trial must be one that runs, got {name}, which has ended ({trial.state})")
    request = Request(kind=STOP, number=trial.number)
    send(folder, request)
    _wait(folder, request, until=lambda: request.name not in {one.name for one in pending(folder)[0]})
    folder.storage.fetch_ledger()
    trial = folder.read_history().trials[trial.number]
    if trial.stopped_by is None:
        raise ValueError(f"--trial must be one that runs, got {name}, which has ended meanwhile ({trial.state})")
    return trial


def trial_named(history: History, name: str) -> Trial:
    """Return the trial with a number or name. Raises ValueError if there is none."""
    for trial in history.trials.values():
        if name in (str(trial.number), trial.trial_id):
            return trial
    raise ValueError(f"--trial must be the number or name of one of {len(history.trials)} trials, got {name!r}")


def _check_driven(folder: StudyFolder) -> None:
    config, history = folder.read_config(), folder.read_history()
    if not folder.is_driven():
        raise ValueError(
            f"qar stop needs a study that runs, got {folder} ({liveliness(folder, history, config)}); nothing is to do"
        )


def _wait(folder: StudyFolder, request: Request, until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    pause = 1.0 if folder.storage.has_working_copy else 0.2
    while not until():
        if time.monotonic() > deadline:
            folder.storage.remove_request(request.name)
            raise DriverSilentError(
                f"the driver of {folder} has not answered for {PATIENCE:.0f} s, and the request is withdrawn; end its "
                "process by a signal, then continue with qar resume"
            )
        time.sleep(pause)
