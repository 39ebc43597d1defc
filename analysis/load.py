"""Loading of a study's tables as DataFrames."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from trainables.files.tables import read_table
from trainables.result import EPOCH_COLUMNS, EPOCH_KEYS, TRIAL_COLUMNS, TRIAL_KEYS, Column


def load_trials(study: Path) -> pd.DataFrame:
    """Return the table of trials: one row for each trial, with the columns `trainables.result.TRIAL_COLUMNS`.

    Columns of further searched fields follow, such as `recipe.learning_rate` (`searched_columns`).

    Args:
        study: folder of the study.

    Raises:
        ValueError: the folder is not a study, or the study has not written its tables yet.
        DamagedFileError: the file cannot be read, was written by a newer version, or breaks a rule of its schema.
    """
    return _load(study, "trials.parquet", TRIAL_COLUMNS, TRIAL_KEYS)


def searched_columns(trials: pd.DataFrame) -> list[str]:
    """Return the names of the columns of further searched fields in a table of trials."""
    known = {column.name for column in TRIAL_COLUMNS}
    return [str(name) for name in trials.columns if name not in known]


def load_epochs(study: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Return the table of epochs: one row for each trial and epoch.

    Args:
        study: folder of the study.
        columns: names of the columns to return, among `trainables.result.EPOCH_COLUMNS`; None for all.

    Raises:
        ValueError: as in `load_trials`.
        DamagedFileError: as in `load_trials`.
    """
    return _load(study, "epochs.parquet", EPOCH_COLUMNS, EPOCH_KEYS, columns)


def find_epochs(study: Path, columns: list[str]) -> pd.DataFrame:
    """Return columns of the table of epochs; no rows if the study was copied without the file."""
    if not (study / "epochs.parquet").exists():
        return pd.DataFrame(columns=columns)
    return load_epochs(study, columns)


def _load(
    study: Path,
    name: str,
    schema: tuple[Column, ...],
    keys: Sequence[Sequence[str]],
    wanted: Sequence[str] | None = None,
) -> pd.DataFrame:
    path = study / name
    if not (study / "study.yaml").exists():
        raise ValueError(f"{study} is no study folder (it has no study.yaml); give the folder of a study")
    if not path.exists():
        raise ValueError(
            f"{study} has no {name} yet; let the study run, or resume it with: qar resume {shlex.quote(str(study))}"
        )
    columns = [column for column in schema if wanted is None or column.name in wanted]
    names = {column.name for column in columns}
    table = read_table(
        path,
        columns,
        keys=[key for key in keys if names.issuperset(key)],
        remedy=f"write it anew with: qar resume {shlex.quote(str(study))}",
        searched=schema is TRIAL_COLUMNS,
    )
    return table.to_pandas()
