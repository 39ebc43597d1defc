"""What happened, for the outside: trials.parquet, epochs.parquet and study.json, all derived from the ledger."""

import json
import pickle
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from ray.tune import Callback

from study.errors import TrialsFailAlike
from study.interruption import interruption
from study.ledger.facts import CHECKPOINT, ENDED, EPOCH, LOST
from study.ledger.history import History, Trial
from study.ledger.ledger import DerivedFromLedger, Ledger
from study.records.failures import FAILURES_AT_START, FailTrial, Retry, StopStudy, decide, failure_at_start
from study.records.optuna_mirror import OptunaMirror
from study.search.searcher import outcome
from study.storage.folder import StudyFolder, write_atomically
from trainables.atomic import replacing
from trainables.config import TrialConfig
from trainables.families import FAMILIES
from trainables.result import (
    EPOCH_COLUMNS,
    FAIL,
    PRE_TUNING,
    RUNNING,
    SCHEMA_VERSION,
    SCHEMA_VERSION_KEY,
    TEST_ACCURACIES,
    TRIAL_COLUMNS,
    Column,
)

MOST_OFTEN = 30
"""The tables of a large study are written at most so often: as many times as long as writing them takes."""

REPORTED = {column.name for column in EPOCH_COLUMNS} - {"trial_id", "number", "session"} | {
    *PRE_TUNING,
    *TEST_ACCURACIES,
    "artifact_bytes",
    "device",
    "hostname",
}
"""Metrics of an epoch that the ledger keeps; the rest of Ray's results is about Ray."""

_ARROW_TYPES = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "str": pa.string()}


def trial_row(trial: Trial) -> dict[str, Any]:
    """The row of trials.parquet that tells of a trial: a value for each of `TRIAL_COLUMNS`."""
    config = TrialConfig.from_dict(trial.config)
    quantized = config.num_levels is not None
    row = {column.name: trial.last.get(column.name) for column in TRIAL_COLUMNS}
    return row | {
        "trial_id": trial.trial_id,
        "number": trial.number,
        "state": trial.state,
        "anchor": trial.anchor,
        "family": config.family,
        "num_levels": config.num_levels,
        "lam": config.lam if FAMILIES[config.family].has_penalty else None,
        "placement": config.placement if quantized else None,
        "seed": config.seed,
        "model": config.model,
        "dataset": config.dataset,
        "epochs": len(trial.epochs),
        "train_seconds": sum(metrics["train_seconds"] for metrics in trial.epochs.values()),
        "config_hash": trial.config_hash,
        "failure": trial.failure,
        "checkpoint": trial.checkpoint.path if trial.checkpoint else None,
    }


def epoch_rows(trial: Trial) -> list[dict[str, Any]]:
    """The rows of epochs.parquet that tell of a trial, in order."""
    return [
        {column.name: metrics.get(column.name) for column in EPOCH_COLUMNS}
        | {"trial_id": trial.trial_id, "number": trial.number, "session": trial.sessions[epoch]}
        for epoch, metrics in sorted(trial.epochs.items())
    ]


def _write_table(path: Path, columns: tuple[Column, ...], rows: list[dict[str, Any]]) -> None:
    fields = [
        pa.field(column.name, _ARROW_TYPES[column.type], metadata={"meaning": column.meaning}) for column in columns
    ]
    schema = pa.schema(fields, metadata={SCHEMA_VERSION_KEY: str(SCHEMA_VERSION)})
    with replacing(path) as file:
        pq.write_table(pa.Table.from_pylist(rows, schema), file, write_page_checksum=True)


def write_tables(folder: StudyFolder, history: History) -> None:
    """Writes both tables and study.json anew, each replaced in one stroke."""
    trials = [trial for _, trial in sorted(history.trials.items())]
    _write_table(folder.trials, TRIAL_COLUMNS, [trial_row(trial) for trial in trials])
    _write_table(folder.epochs, EPOCH_COLUMNS, [row for trial in trials for row in epoch_rows(trial)])
    write_atomically(folder.study_json, json.dumps(provenance_of(history), indent=2) + "\n")


def provenance_of(history: History) -> dict[str, Any]:
    """What study.json holds: where the study's results come from."""

    def instant(seconds: float) -> str:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")

    trials = history.trials.values()
    return {
        "schema_version": SCHEMA_VERSION,
        "seeds": sorted({trial.config["seed"] for trial in trials}),
        "hosts": sorted({trial.last["hostname"] for trial in trials if "hostname" in trial.last}),
        "wall_seconds": round(history.seconds, 1),
        "sessions": [
            {
                "started": instant(session.started),
                "latest": instant(session.latest),
                "outcome": session.outcome,
                "driver": session.hostname,
                **session.provenance,
            }
            for session in history.sessions
        ],
    }


class Recorder(DerivedFromLedger, Callback):
    """Ray's callback that writes every fact to the ledger, and what is derived from it now and then."""

    def __init__(
        self,
        folder: StudyFolder,
        ledger: Ledger,
        mirror: OptunaMirror,
        epochs: int,
        seconds_between_tables: float = 10.0,
    ) -> None:
        self._folder = folder
        self._ledger = ledger
        self._mirror = mirror
        self._epochs = epochs
        trials = ledger.history.trials.values()
        self._ended_before = {trial.number for trial in trials if trial.state != RUNNING}
        self._alike: str | None = None
        self._seconds_between_tables = seconds_between_tables
        self._tables_due = time.monotonic() + seconds_between_tables

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if "val_accuracy" in result:  # a trial that fails without an exception reports only why
            metrics = {name: value for name, value in result.items() if name in REPORTED}
            self._ledger.record(EPOCH, number=trial.config["number"], metrics=metrics)

    def on_checkpoint(self, iteration: int, trials: list[Any], trial: Any, checkpoint: Any, **info: Any) -> None:
        if "val_accuracy" not in trial.last_result:
            return  # it has failed in the middle of an epoch
        path = self._folder.storage.name_of(checkpoint.path)
        self._ledger.record(CHECKPOINT, number=trial.config["number"], epoch=trial.last_result["epoch"], path=path)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._end(trial, *outcome(trial.last_result, self._epochs))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if interruption.received is not None:
            return  # the signal has reached the trial's process too; nothing is wrong with it
        number = trial.config["number"]
        losses = self._ledger.history.trials[number].losses
        match decide(_error_of(trial), losses, self._folder, self._whole_baseline(trial)):
            case Retry(reason):
                self._ledger.record(LOST, number=number, reason=reason)
            case FailTrial(reason):
                self._end(trial, FAIL, reason)
            case StopStudy(error):
                raise error

    def _whole_baseline(self, trial: Any) -> str | None:
        """Return the address of the float baseline that a trial begins from, if that is there and whole."""
        weights = trial.config.get("initial_weights")
        return str(weights) if weights and self._folder.has_baseline(trial.config["trial"]["seed"]) else None

    def _end(self, trial: Any, state: str, failure: str | None) -> None:
        self._ledger.record(ENDED, number=trial.config["number"], state=state, failure=failure)
        if state == FAIL:
            self._alike = failure_at_start(self._ledger.history, self._ended_before)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._ledger.check()
        if self._alike is not None:
            raise TrialsFailAlike(self._folder, self._alike, FAILURES_AT_START)
        began = time.monotonic()
        if began > self._tables_due:
            write_tables(self._folder, self._ledger.history)
            self._mirror.sync(self._ledger.history)
            self._folder.publish()
            took = time.monotonic() - began
            self._tables_due = began + max(self._seconds_between_tables, MOST_OFTEN * took)


def _error_of(trial: Any) -> Exception:
    """What ended a trial; Ray keeps it in a file."""
    try:
        error: Exception = pickle.loads(Path(trial.pickled_error_file).read_bytes())
    except Exception as unreadable:  # of any type: pickles hold what they want
        return unreadable
    return error
