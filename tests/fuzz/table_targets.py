"""Fuzzing targets that are tables: trials.parquet and epochs.parquet."""

from pathlib import Path
from typing import Any

from analysis.load import load_epochs, load_trials
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


def _comparable(table: Any) -> Any:
    """Return a table's content as text, in which nulls are equal."""
    return table.to_json(double_precision=15)
