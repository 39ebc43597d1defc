"""What happened, for the outside: trials.parquet, epochs.parquet and study.json, all derived from the ledger."""

import json
import pickle
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from ray.exceptions import RayActorError, RayTaskError
from ray.tune import Callback

from study.errors import StorageError, is_of_an_object_store
from study.ledger.facts import CHECKPOINT, ENDED, EPOCH, LOST
from study.ledger.history import History, Trial
from study.ledger.ledger import DerivedFromLedger, Ledger
from study.records.optuna_mirror import Mirror
from study.search.searcher import outcome
from study.storage.atomic import replacing
from study.storage.folder import StudyFolder, write_atomically
from trainables.config import TrialConfig
from trainables.data.datasets import DatasetError
from trainables.families import FAMILIES
from trainables.result import EPOCH_COLUMNS, FAIL, SCHEMA_VERSION, SCHEMA_VERSION_KEY, TRIAL_COLUMNS, Column

MOST_LOSSES = 3
"""How often a trial whose actor is lost goes on from its last checkpoint before it counts as failed."""

MOST_OFTEN = 30
"""The tables of a large study are written at most so often: as many times as long as writing them takes."""

REPORTED = {column.name for column in EPOCH_COLUMNS} - {"trial_id", "number", "session"} | {
    "val_accuracy_pre_tuning",
    "test_accuracy_pre_tuning",
    "test_accuracy",
    "artifact_bytes",
    "device",
    "hostname",
}
"""Metrics of an epoch that the ledger keeps; the rest of Ray's results is about Ray."""

_NOT_SHARED = "Unable to set up cluster storage"
"""What Ray says on a node that doesn't see the files of the others."""

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
        self, folder: StudyFolder, ledger: Ledger, mirror: Mirror, epochs: int, seconds_between_tables: float = 10.0
    ) -> None:
        self._folder = folder
        self._ledger = ledger
        self._mirror = mirror
        self._epochs = epochs
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
        path = self._folder.relative(checkpoint.path)
        self._ledger.record(CHECKPOINT, number=trial.config["number"], epoch=trial.last_result["epoch"], path=path)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._end(trial, *outcome(trial.last_result, self._epochs))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        error = _error_of(trial)
        cause = error.cause if isinstance(error, RayTaskError) else error
        number = trial.config["number"]
        losses = self._ledger.history.trials[number].losses
        text = str(cause).strip() or type(cause).__name__
        node = node_of(error)
        if _NOT_SHARED in text or self._baseline_is_unseen(trial, text):
            raise StorageError.not_shared(self._folder, node)
        # A bucket that a worker could not reach may be in reach again, and another node may have room; the storage's
        # own disk stays full.
        unreached = losses < MOST_LOSSES and is_of_an_object_store(cause)
        if (reason := _why_no_dataset(cause, text)) is not None and not unreached:
            raise StorageError.without_dataset(self._folder, reason, node)
        failure = StorageError.behind(cause, self._folder)
        of_a_node = False
        if failure and isinstance(cause, OSError) and self._lies_elsewhere(cause):
            of_a_node, failure = True, StorageError.of_a_node(self._folder, cause, node)
        passing = unreached or (losses < MOST_LOSSES and of_a_node)
        if failure and not passing:
            raise failure
        # An exception would come again; what takes an actor away (a node, the lack of memory) need not.
        if passing:
            self._ledger.record(LOST, number=number, reason=text.splitlines()[0])
        elif isinstance(error, RayTaskError) or (isinstance(error, RayActorError) and error.actor_init_failed):
            # Of an actor that could not begin there is a traceback alone, whose last line is the reason.
            self._end(trial, FAIL, text.splitlines()[0 if isinstance(error, RayTaskError) else -1])
        elif losses < MOST_LOSSES:
            self._ledger.record(LOST, number=number, reason=text.splitlines()[0])
        else:
            self._end(trial, FAIL, f"its actor was lost {MOST_LOSSES + 1} times, at last: {text.splitlines()[0]}")

    def _baseline_is_unseen(self, trial: Any, text: str) -> bool:
        """Whether a trial failed for the float baseline that it begins from, though that is there, whole."""
        weights = trial.config.get("initial_weights")
        return bool(weights) and str(weights) in text and self._folder.has_baseline(trial.config["trial"]["seed"])

    def _lies_elsewhere(self, error: OSError) -> bool:
        """Whether an error is about a file outside of the study, as in a node's folder for temporary files."""
        file = error.filename
        return isinstance(file, str) and not Path(file).is_relative_to(self._folder.path.resolve())

    def _end(self, trial: Any, state: str, failure: str | None) -> None:
        self._ledger.record(ENDED, number=trial.config["number"], state=state, failure=failure)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._ledger.check()
        began = time.monotonic()
        if began > self._tables_due:
            write_tables(self._folder, self._ledger.history)
            self._mirror.sync(self._ledger.history)
            self._folder.publish()
            took = time.monotonic() - began
            self._tables_due = began + max(self._seconds_between_tables, MOST_OFTEN * took)


def _why_no_dataset(cause: Exception, text: str) -> str | None:
    """Why a node could not load the data set, if that is what has ended a trial; `text` is what its error says."""
    if isinstance(cause, DatasetError):
        return text
    # Of an actor that could not begin there is a traceback alone.
    _, found, reason = text.rpartition(f"{DatasetError.__module__}.{DatasetError.__name__}: ")
    return reason.splitlines()[0] if found else None


def node_of(error: Exception) -> str | None:
    """Address of the node on which a task or an actor has failed; Ray tells it in the text alone."""
    found = re.search(r"\bip=([^,)\s]+)", str(error))
    return found and found[1]


def _error_of(trial: Any) -> Exception:
    """What ended a trial; Ray keeps it in a file."""
    try:
        error: Exception = pickle.loads(Path(trial.pickled_error_file).read_bytes())
    except Exception as unreadable:  # of any type: pickles hold what they want
        return unreadable
    return error
