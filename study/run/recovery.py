"""Recovery after a killed driver: trials whose end it did not record, and files it left behind."""

from study.config import StudyConfig
from study.ledger.facts import ENDED
from study.ledger.history import History
from study.ledger.ledger import Ledger
from study.search.rungs import Rungs
from study.search.searcher import outcome
from study.storage.folder import StudyFolder


def end_finished_trials(ledger: Ledger, config: StudyConfig) -> Rungs:
    """End the trials whose driver was killed between their last epoch and the record of their end.

    Returns:
        The rungs of the study, replayed from the ledger.
    """
    rungs = Rungs.replay(config, ledger.history)
    for trial in ledger.history.unfinished:
        # Without a checkpoint of its last epoch, a trial could not be exported.
        whole = trial.checkpoint is not None and trial.checkpoint.epoch == config.epochs
        if whole or rungs.stopped(trial.number):
            state, failure = outcome(trial.last, config.epochs)
            # While the last session ran, or its clocks would go on until now.
            last = ledger.history.sessions[-1]
            times = {"time": last.latest, "elapsed": last.seconds}
            ledger.record(ENDED, number=trial.number, state=state, failure=failure, **times)
    return rungs


def prune_checkpoints(folder: StudyFolder, history: History) -> None:
    """Remove what earlier sessions of Ray have left: their state, and checkpoints that no trial goes back to.

    Raises:
        ValueError: the study holds a symbolic link.
        OSError: something can't be removed.
        StorageError: the study lies in a bucket that can't be reached.
    """
    folder.storage.prune_checkpoints(saved.path for trial in history.trials.values() for saved in trial.checkpoints)
