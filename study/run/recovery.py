"""Recovery after a killed driver: trials whose end it did not record, and files that it did not remove."""

from study.config import StudyConfig
from study.ledger.facts import ENDED
from study.ledger.history import History, Trial
from study.ledger.ledger import Ledger
from study.search.outcomes import outcome
from study.search.rungs import Rungs
from study.storage.folder import StudyFolder


def end_finished_trials(ledger: Ledger, config: StudyConfig, *, with_checkpoints: bool = True) -> Rungs:
    """End the trials whose driver was killed between their last epoch and the record of their end.

    Args:
        ledger: ledger of the study, open for writing.
        config: configuration of the study.
        with_checkpoints: whether a trial that has trained all epochs must have a checkpoint of the last one, without
            which it could not be exported.

    Returns:
        The rungs of the study, replayed from the ledger.
    """
    rungs = Rungs.replay(config, ledger.history)
    for trial in ledger.history.unfinished:
        if with_checkpoints:
            whole = trial.checkpoint is not None and trial.checkpoint.epoch == config.epochs
        else:
            whole = config.epochs in trial.epochs
        if whole or rungs.stopped(trial.number) or _is_stopped_by_user(trial):
            state, failure = outcome(trial.last, config.epochs)
            # With the current time, the duration of the last session would grow until now.
            last = ledger.history.sessions[-1]
            times = {"time": last.latest, "elapsed": last.seconds}
            ledger.submit(ENDED, number=trial.number, state=state, failure=failure, **times)
    ledger.commit()
    return rungs


def _is_stopped_by_user(trial: Trial) -> bool:
    """Whether a user has stopped a trial that has trained an epoch, but not all."""
    return trial.stopped_by is not None and trial.latest_epoch > 0 and max(trial.epochs) < trial.budget


def prune_checkpoints(folder: StudyFolder, history: History) -> None:
    """Remove the files of earlier sessions of Ray: their state, and checkpoints that no trial needs to continue.

    Raises:
        ValueError: the study holds a symbolic link.
        OSError: a file can't be removed.
        StorageError: the study lies in a bucket that can't be reached.
    """
    folder.storage.prune_checkpoints(
        checkpoint.path for trial in history.trials.values() for checkpoint in trial.checkpoints
    )
