"""The recorder of facts, which regularly has the files derived from the ledger written."""

import pickle
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.result import DONE, SHOULD_CHECKPOINT

from study.errors import TrialsFailAlike
from study.interruption import interruption
from study.ledger.facts import CHECKPOINT, ENDED, EPOCH, LOST
from study.ledger.ledger import DerivedFromLedger, Ledger
from study.records.checkpoints import CheckpointRule
from study.records.failures import FAILURES_AT_START, FailTrial, Retry, StopStudy, decide, failure_at_start
from study.records.optuna_mirror import OptunaMirror
from study.records.tables import TableWriter
from study.search.gate import Gate
from study.search.outcomes import outcome
from study.storage.folder import StudyFolder
from trainables.result import EPOCH_COLUMNS, PRE_TUNING, TEST_ACCURACIES, TrialState

EVERY_EPOCH = CheckpointRule(every_epoch=True)

MIN_INTERVAL_FACTOR = 30
"""Least time between two writings of the tables, as a multiple of the time that the last writing took."""

CONVERTED_TOGETHER = 256
"""Ended trials whose rows are converted together, before the tables are due: a writing then makes no long pause."""

REPORTED = {column.name for column in EPOCH_COLUMNS} - {"trial_id", "number", "session"} | {
    *PRE_TUNING,
    *TEST_ACCURACIES,
    "artifact_bytes",
    "weight_bops",
    "device",
    "hostname",
}
"""Metrics of an epoch that the ledger keeps; Ray adds others to its results."""


class Recorder(DerivedFromLedger, Callback):
    """Ray callback that records every fact in the ledger, and regularly writes the files derived from it."""

    def __init__(
        self,
        folder: StudyFolder,
        ledger: Ledger,
        mirror: OptunaMirror,
        epochs: int,
        seconds_between_tables: float = 10.0,
        gate: Gate | None = None,
        fields: Sequence[str] = (),
        checkpoints: CheckpointRule = EVERY_EPOCH,
    ) -> None:
        """Create the callback of one session.

        Args:
            folder: folder of the study.
            ledger: ledger of the study, open for writing.
            mirror: mirror of the ledger in Optuna's database.
            epochs: full budget of a trial, in epochs.
            seconds_between_tables: least seconds between two writings of the tables.
            gate: holds trials until their facts are durable; None for none.
            fields: dotted names of further searched fields.
            checkpoints: rule by which trials write checkpoints.
        """
        self._checkpoints = checkpoints
        self._gate = gate
        self._tables = TableWriter(folder, fields)
        self._folder = folder
        self._ledger = ledger
        self._mirror = mirror
        self._epochs = epochs
        trials = ledger.history.trials.values()
        self._ended_before = {trial.number for trial in trials if trial.state != TrialState.RUNNING}
        self._newly_ended: list[int] = []
        self._common_failure: str | None = None
        self._seconds_between_tables = seconds_between_tables
        self._tables_due = time.monotonic() + seconds_between_tables

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Record an epoch, and tell Ray whether the trial writes a checkpoint after it."""
        if "val_accuracy" in result:  # a trial that fails without an exception reports only the reason
            number = trial.config["number"]
            metrics = {name: value for name, value in result.items() if name in REPORTED}
            self._ledger.submit(EPOCH, number=number, metrics=metrics)
            recorded = self._ledger.history.trials[number]
            result[SHOULD_CHECKPOINT] = self._checkpoints.is_due(recorded, ends=bool(result.get(DONE)))

    def on_checkpoint(self, iteration: int, trials: list[Any], trial: Any, checkpoint: Any, **info: Any) -> None:
        """Record a checkpoint."""
        if "val_accuracy" not in trial.last_result:
            return  # the trial failed within an epoch
        path = self._folder.storage.name_of(checkpoint.path)
        number, epoch = trial.config["number"], trial.last_result["epoch"]
        checksum = getattr(checkpoint, "sha256", None)  # a Trainable of another kind may save none
        fact = self._ledger.submit(CHECKPOINT, number=number, epoch=epoch, path=path, sha256=checksum)
        if self._gate is not None:
            self._gate.need(number, fact)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Record the end of a trial that was completed or stopped."""
        self._end(trial, *outcome(trial.last_result, self._epochs))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Record the loss or the failure of a trial, or raise the error that stops the study."""
        if interruption.received is not None:
            return  # the signal has also ended the trial's process, which is no failure
        number = trial.config["number"]
        losses = self._ledger.history.trials[number].losses
        match decide(_error_of(trial), losses, self._folder, self._whole_baseline(trial)):
            case Retry(reason):
                self._ledger.submit(LOST, number=number, reason=reason)
            case FailTrial(reason):
                self._end(trial, TrialState.FAIL, reason)
            case StopStudy(error):
                raise error

    def _whole_baseline(self, trial: Any) -> str | None:
        """Return the address of the float network from which a trial starts, if it exists and is whole."""
        weights = trial.config.get("initial_weights")
        if not weights:
            return None
        seed = trial.config["trial"]["seed"]
        digest = self._ledger.history.baseline_sums.get(seed)
        return str(weights) if self._folder.has_baseline(seed, digest) else None

    def _end(self, trial: Any, state: str, failure: str | None) -> None:
        number = trial.config["number"]
        self._ledger.submit(ENDED, number=number, state=state, failure=failure)
        self._newly_ended.append(number)
        if state == TrialState.FAIL:
            self._common_failure = failure_at_start(self._ledger.history, self._ended_before)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Check the ledger, and write the derived files when they are due.

        Raises:
            StudyInterrupted: the ledger can't be written, or the first trials have all failed for the same reason.
        """
        self._ledger.check()
        if self._gate is not None:
            self._gate.release()
        if self._common_failure is not None:
            raise TrialsFailAlike(self._folder, self._common_failure, FAILURES_AT_START)
        if len(self._newly_ended) >= CONVERTED_TOGETHER:
            self._tables.convert(self._ledger.history, self._newly_ended)
            self._newly_ended = []
        began = time.monotonic()
        if began > self._tables_due:
            self._ledger.commit()  # the tables show durable facts alone
            self._tables.write(self._ledger.history)
            self._mirror.sync(self._ledger.history)
            self._folder.publish()
            self._ledger.write_snapshot()
            seconds = time.monotonic() - began
            self._tables_due = began + max(self._seconds_between_tables, MIN_INTERVAL_FACTOR * seconds)


def _error_of(trial: Any) -> Exception:
    """Return the exception that ended a trial, which Ray keeps in a file."""
    try:
        error: Exception = pickle.loads(Path(trial.pickled_error_file).read_bytes())
    except Exception as unreadable:  # of any type: unpickling runs arbitrary code
        return unreadable
    return error
