"""Fuzzing targets that are tables: trials.parquet and epochs.parquet, and what derived.json says of them."""

from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from analysis.load import load_epochs, load_trials
from study.records.tables import write_tables
from study.storage.folder import StudyFolder
from tests.fuzz.damage import BYTES, LINES
from tests.fuzz.target import Target
from tests.support.example_studies import make_explored_study
from trainables.errors import DamagedFileError


class TrialsTarget(Target):
    """`trials.parquet`."""

    errors = (DamagedFileError,)

    def write(self, folder: Path) -> Path:
        return make_explored_study(folder).trials

    def read(self, path: Path) -> Any:
        return _comparable(load_trials(path.parent))


class EpochsTarget(Target):
    """`epochs.parquet`."""

    errors = (DamagedFileError,)

    def write(self, folder: Path) -> Path:
        return make_explored_study(folder).epochs

    def read(self, path: Path) -> Any:
        return _comparable(load_epochs(path.parent))


class DerivedTarget(Target):
    """`derived.json` beside a table that another program has changed: the table is made anew, whatever it says."""

    errors = ()
    damages: ClassVar = BYTES | LINES

    def write(self, folder: Path) -> Path:
        study = make_explored_study(folder)
        table = pq.read_table(study.trials)
        place = table.column_names.index("val_accuracy")
        changed = table.set_column(place, table.schema.field(place), pa.nulls(len(table), pa.float64()))
        pq.write_table(changed, study.trials)
        self._changed = study.trials.read_bytes()
        return study.derived_json

    def read(self, path: Path) -> Any:
        study = StudyFolder(path.parent)
        study.trials.write_bytes(self._changed)
        write_tables(study, study.read_history())
        return _comparable(load_trials(study.path)), _comparable(load_epochs(study.path))


def _comparable(table: Any) -> Any:
    """Return a table's content as text, in which nulls are equal."""
    return table.to_json(double_precision=15)
