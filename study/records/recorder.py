"""The recorder of facts, and the files derived from the ledger: trials.parquet, epochs.parquet and study.json."""

import json
import pickle
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from ray.tune import Callback

from study.config.dimensions import types_of
from study.errors import TrialsFailAlike
from study.interruption import interruption
from study.ledger.chain import LedgerPosition
from study.ledger.completeness import position_metadata
from study.ledger.facts import CHECKPOINT, ENDED, EPOCH, LOST
from study.ledger.history import History, Trial
from study.ledger.ledger import DerivedFromLedger, Ledger
from study.records.failures import FAILURES_AT_START, FailTrial, Retry, StopStudy, decide, failure_at_start
from study.records.optuna_mirror import OptunaMirror
from study.search.gate import Gate
from study.search.searcher import outcome
from study.search.space import value_at
from study.storage.folder import StudyFolder, write_atomically
from trainables.atomic import replacing
from trainables.config import TrialConfig
from trainables.families import family_of
from trainables.result import (
    EPOCH_COLUMNS,
    PRE_TUNING,
    SCHEMA_VERSION,
    SCHEMA_VERSION_KEY,
    SEARCHED_KEY,
    TEST_ACCURACIES,
    TRIAL_COLUMNS,
    Column,
    TrialState,
    searched_column,
)

MIN_INTERVAL_FACTOR = 30
"""Least time between two writings of the tables, as a multiple of the time that the last writing took."""

REPORTED = {column.name for column in EPOCH_COLUMNS} - {"trial_id", "number", "session"} | {
    *PRE_TUNING,
    *TEST_ACCURACIES,
    "artifact_bytes",
    "weight_bops",
    "device",
    "hostname",
}
"""Metrics of an epoch that the ledger keeps; Ray adds others to its results."""

_ARROW_TYPES = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "str": pa.string()}


def searched_columns(fields: Sequence[str], trials: Sequence[Trial]) -> list[Column]:
    """Return the columns of further searched fields.

    Args:
        fields: dotted names of the fields; those that have a column anyway are left out.
        trials: trials of the study, whose values decide the type of an option of the model.
    """
    known = {column.name for column in TRIAL_COLUMNS}
    columns = []
    for name in fields:
        if name not in known:
            kinds = types_of(name) or tuple({type(value_at(trial.config, name)) for trial in trials})
            columns.append(searched_column(name, _kind_of(kinds)))
    return columns


def _kind_of(kinds: Sequence[type]) -> str:
    """Return the type of a column that holds values of all these types, besides nulls."""
    plain = set(kinds) - {type(None)}
    if plain == {int, float}:
        return "float"
    return {int: "int", float: "float", bool: "bool"}.get(plain.pop(), "str") if len(plain) == 1 else "str"


def trial_row(trial: Trial) -> dict[str, Any]:
    """Return the row of a trial in trials.parquet: a value for each of `TRIAL_COLUMNS`."""
    config = TrialConfig.from_stored(trial.config)
    quantized = config.num_levels is not None
    row = {column.name: trial.last.get(column.name) for column in TRIAL_COLUMNS}
    return row | {
        "trial_id": trial.trial_id,
        "number": trial.number,
        "state": trial.state,
        "anchor": trial.anchor,
        "family": config.family,
        "num_levels": config.num_levels,
        "lam": config.lam if family_of(config.family).has_penalty else None,
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
    """Return the rows of a trial in epochs.parquet, in order of the epochs."""
    return [
        {column.name: metrics.get(column.name) for column in EPOCH_COLUMNS}
        | {"trial_id": trial.trial_id, "number": trial.number, "session": trial.sessions[epoch]}
        for epoch, metrics in sorted(trial.epochs.items())
    ]


def _row_of(further: Sequence[Column], trial: Trial) -> dict[str, Any]:
    """Return the values of further searched fields of a trial; texts where its column has that type."""
    values = {column.name: (column.type, value_at(trial.config, column.name)) for column in further}
    return {
        name: str(value) if kind == "str" and value is not None else value for name, (kind, value) in values.items()
    }


def _write_table(
    path: Path,
    columns: tuple[Column, ...],
    rows: list[dict[str, Any]],
    position: LedgerPosition | None,
    further: Sequence[Column] = (),
) -> None:
    fields = [
        pa.field(column.name, _ARROW_TYPES[column.type], metadata={"meaning": column.meaning})
        for column in (*columns, *further)
    ]
    metadata = {SCHEMA_VERSION_KEY.encode(): str(SCHEMA_VERSION).encode()} | position_metadata(position)
    if further:
        metadata[SEARCHED_KEY.encode()] = json.dumps({column.name: column.type for column in further}).encode()
    schema = pa.schema(fields, metadata=metadata)
    with replacing(path) as file:
        pq.write_table(pa.Table.from_pylist(rows, schema), file, write_page_checksum=True)


def write_tables(folder: StudyFolder, history: History, fields: Sequence[str] = ()) -> None:
    """Write both tables and study.json; each file is replaced atomically.

    Args:
        folder: folder of the study.
        history: history of the ledger.
        fields: dotted names of further searched fields, which get a column each in trials.parquet.

    Raises:
        OSError: a file can't be written.
    """
    trials = [trial for _, trial in sorted(history.trials.items())]
    further = searched_columns(fields, trials)
    rows = [trial_row(trial) | _row_of(further, trial) for trial in trials]
    _write_table(folder.trials, TRIAL_COLUMNS, rows, history.position, further)
    rows = [row for trial in trials for row in epoch_rows(trial)]
    _write_table(folder.epochs, EPOCH_COLUMNS, rows, history.position)
    write_atomically(folder.study_json, json.dumps(provenance_of(history), indent=2) + "\n")


def provenance_of(history: History) -> dict[str, Any]:
    """Return the content of study.json: seeds, hosts and sessions of a study."""

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
        """
        self._gate = gate
        self._fields = fields
        self._folder = folder
        self._ledger = ledger
        self._mirror = mirror
        self._epochs = epochs
        trials = ledger.history.trials.values()
        self._ended_before = {trial.number for trial in trials if trial.state != TrialState.RUNNING}
        self._common_failure: str | None = None
        self._seconds_between_tables = seconds_between_tables
        self._tables_due = time.monotonic() + seconds_between_tables

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Record an epoch."""
        if "val_accuracy" in result:  # a trial that fails without an exception reports only the reason
            metrics = {name: value for name, value in result.items() if name in REPORTED}
            self._ledger.submit(EPOCH, number=trial.config["number"], metrics=metrics)

    def on_checkpoint(self, iteration: int, trials: list[Any], trial: Any, checkpoint: Any, **info: Any) -> None:
        """Record a checkpoint."""
        if "val_accuracy" not in trial.last_result:
            return  # the trial failed within an epoch
        path = self._folder.storage.name_of(checkpoint.path)
        number, epoch = trial.config["number"], trial.last_result["epoch"]
        checksum = self._folder.checkpoint_sum(path)
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
        """Return the address of the float baseline from which a trial starts, if it exists and is whole."""
        weights = trial.config.get("initial_weights")
        return str(weights) if weights and self._folder.has_baseline(trial.config["trial"]["seed"]) else None

    def _end(self, trial: Any, state: str, failure: str | None) -> None:
        self._ledger.submit(ENDED, number=trial.config["number"], state=state, failure=failure)
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
        began = time.monotonic()
        if began > self._tables_due:
            self._ledger.commit()  # the tables show durable facts alone
            write_tables(self._folder, self._ledger.history, self._fields)
            self._mirror.sync(self._ledger.history)
            self._folder.publish()
            seconds = time.monotonic() - began
            self._tables_due = began + max(self._seconds_between_tables, MIN_INTERVAL_FACTOR * seconds)


def _error_of(trial: Any) -> Exception:
    """Return the exception that ended a trial, which Ray keeps in a file."""
    try:
        error: Exception = pickle.loads(Path(trial.pickled_error_file).read_bytes())
    except Exception as unreadable:  # of any type: unpickling runs arbitrary code
        return unreadable
    return error
