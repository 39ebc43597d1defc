"""The files derived from the ledger: trials.parquet, epochs.parquet and study.json."""

import json
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from study.ledger.chain import LedgerPosition
from study.ledger.completeness import position_metadata
from study.ledger.history import History, Trial
from study.records.derivations import Derivations
from study.records.epoch_table import epochs_table
from study.records.growing_table import ChangedFileError, GrowingTable
from study.records.trial_table import schema_of_trials, searched_columns, table_of
from study.storage.folder import StudyFolder
from study.storage.study_yaml import write_atomically
from trainables.result import SCHEMA_VERSION, SCHEMA_VERSION_KEY, Column, TrialState

SETTLED_TOGETHER = 4096
"""Ended trials, at least, whose rows make row groups of their own."""


class TableWriter:
    """Writes the tables of a study again and again.

    The row of a trial that has ended never changes, so it is converted once and kept in Arrow's columns, also over
    sessions; the history holds the epochs in columns. Once 4,096 trials more have ended, their rows are settled: they
    get row groups of their own in both files, which later writings copy. So rows are in order of their numbers only
    within a row group, until `finish`.
    """

    def __init__(self, folder: StudyFolder, fields: Sequence[str] = ()) -> None:
        """Prepare to write.

        Args:
            folder: folder of the study.
            fields: dotted names of further searched fields, which get a column each in trials.parquet.
        """
        self._folder = folder
        self._fields = fields
        self._derivations = Derivations(folder)
        self._is_first = True
        self._ended: set[int] = set()  # numbers of the trials whose rows are kept
        self._kept: list[pa.Table] = []  # rows of trials that have ended
        self._num_settled = 0  # tables of them, at the beginning, whose rows are settled
        self._files = GrowingTable(folder.trials), GrowingTable(folder.epochs)

    def convert(self, history: History, ended: Collection[int]) -> None:
        """Convert the rows of trials that have ended, of which `write` then need not convert so many at once.

        Args:
            history: history of the ledger.
            ended: numbers of the trials.
        """
        further = searched_columns(self._fields, list(history.trials.values()))
        self._begin(further)
        self._keep([history.trials[number] for number in ended if number not in self._ended], further)

    def write(self, history: History) -> None:
        """Write study.json, and both tables unless they are up to date; each file is replaced atomically.

        Args:
            history: history of the ledger; it may only have grown since the last call.

        Raises:
            OSError: a file can't be written.
        """
        self._write(history, in_order=False)

    def finish(self, history: History) -> None:
        """Write at the end of a session, as `write` but with the rows of both tables in the order of their numbers.

        Args:
            history: as in `write`.

        Raises:
            OSError: a file can't be written.
        """
        self._write(history, in_order=True)

    def _write(self, history: History, *, in_order: bool) -> None:
        further = searched_columns(self._fields, list(history.trials.values()))
        position = self._up_to(further, in_order=in_order)
        if position is None or position != history.position:
            self._begin(further)
            if in_order:
                self._settle_nothing()
            self._write_tables(history, further, in_order=in_order)
            settings = _settings(further, in_order=self._num_settled == 0)
            self._derivations.note(self._paths, history.position, settings=settings)
        write_atomically(self._folder.study_json, json.dumps(provenance_of(history), indent=2) + "\n")

    @property
    def _paths(self) -> tuple[Path, Path]:
        return self._folder.trials, self._folder.epochs

    def _up_to(self, further: Sequence[Column], *, in_order: bool = False) -> LedgerPosition | None:
        """Return the position in the ledger that both tables are known to follow from.

        Args:
            further: columns of further searched fields.
            in_order: whether their rows must be in the order of their numbers, too.
        """
        for order in (True,) if in_order else (True, False):
            position = self._derivations.position(self._paths, settings=_settings(further, in_order=order))
            if position is not None:
                return position
        return None

    def _begin(self, further: Sequence[Column]) -> None:
        """Take over the rows of an earlier session, the first time."""
        if self._is_first and self._up_to(further) is not None:
            self._take_over(schema_of_trials(further))
        self._is_first = False

    def _take_over(self, schema: pa.Schema) -> None:
        """Keep the rows of ended trials that trials.parquet holds, which an earlier session has written."""
        try:
            table = pq.read_table(self._folder.trials, page_checksum_verification=True).select(schema.names)
            rows = pa.Table.from_arrays(table.columns, schema=schema)
        except (pa.ArrowException, OSError, KeyError, ValueError):
            return
        ended = rows.filter(pc.not_equal(rows["state"], TrialState.RUNNING.value))
        self._ended, self._kept = set(ended["number"].to_pylist()), [ended]

    def _keep(self, ended: Sequence[Trial], further: Sequence[Column]) -> None:
        """Convert and keep the rows of trials that have ended."""
        if ended:
            self._kept.append(table_of(ended, further))
            self._ended |= {trial.number for trial in ended}

    def _settle_nothing(self) -> None:
        """Have all rows written anew."""
        self._num_settled = 0
        for file in self._files:
            file.forget()

    def _write_tables(self, history: History, further: Sequence[Column], *, in_order: bool) -> None:
        schema = schema_of_trials(further)
        if not all(table.schema.equals(schema) for table in self._kept):
            self._settle_nothing()
            self._ended, self._kept = set(), []  # a later value has changed a column's type
        new = [trial for number, trial in history.trials.items() if number not in self._ended]
        self._keep([trial for trial in new if trial.state != TrialState.RUNNING], further)
        running = table_of([trial for trial in new if trial.state == TrialState.RUNNING], further)
        ended = _joined(self._kept[self._num_settled :], schema)
        self._kept[self._num_settled :] = [ended]  # many small tables would take more memory
        try:
            if in_order or len(ended) < SETTLED_TOGETHER:
                self._write_files(history, [schema.empty_table(), _joined([ended, running], schema)])
            else:
                self._write_files(history, [ended, running])
                self._num_settled = len(self._kept)
        except ChangedFileError:
            self._settle_nothing()
            self._write_tables(history, further, in_order=in_order)
        except BaseException:
            self._settle_nothing()  # a file may be the earlier one
            raise

    def _write_files(self, history: History, parts: Sequence[pa.Table]) -> None:
        """Write both files; `parts` are the rows of newly settled and of unsettled trials."""
        trials, epochs = self._files
        metadata = {SCHEMA_VERSION_KEY.encode(): str(SCHEMA_VERSION).encode()} | position_metadata(history.position)
        trials.write(*(part.replace_schema_metadata(metadata | (part.schema.metadata or {})) for part in parts))
        numbers = [part["number"].to_pylist() for part in parts]
        epochs.write(*(epochs_table(history, part).replace_schema_metadata(metadata) for part in numbers))


def _joined(tables: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    """Return the rows of several tables in order of their numbers."""
    return pa.concat_tables([schema.empty_table(), *tables]).sort_by("number").replace_schema_metadata(schema.metadata)


def _settings(further: Sequence[Column], *, in_order: bool) -> str:
    """Return what the files depend on besides the ledger: types of further searched fields, and the order of rows."""
    return json.dumps({"searched": {column.name: column.type for column in further}, "in_order": in_order})


def write_tables(folder: StudyFolder, history: History, fields: Sequence[str] = ()) -> None:
    """Write the tables and study.json of a study once; see `TableWriter`."""
    TableWriter(folder, fields).finish(history)


def provenance_of(history: History) -> dict[str, Any]:
    """Return the content of study.json: seeds, hosts and sessions of a study."""

    def instant(seconds: float) -> str:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")

    trials = history.trials.values()
    return {
        "schema_version": SCHEMA_VERSION,
        "seeds": sorted({trial.config["seed"] for trial in trials}),
        "hosts": sorted({host for trial in trials if (host := trial.epochs.last_text("hostname")) is not None}),
        "wall_seconds": round(history.seconds, 1),
        **({"sensitivities": history.sensitivities} if history.sensitivities else {}),
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
