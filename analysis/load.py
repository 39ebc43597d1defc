"""Read the tables of a study as DataFrames."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from trainables.result import EPOCH_COLUMNS, EPOCH_KEYS, TRIAL_COLUMNS, TRIAL_KEYS, Column
from trainables.tables import read_table


def load_trials(study: Path) -> pd.DataFrame:
    """Read the table of trials: a row a trial, with the columns `trainables.result.TRIAL_COLUMNS`.

    Args:
        study: folder of the study.

    Raises:
        ValueError: the folder holds no study, or one that has not written its tables yet.
        DamagedFileError: the file can't be read, was written by a newer version, or breaks a rule of its schema.
    """
    return _load(study, "trials.parquet", TRIAL_COLUMNS, TRIAL_KEYS)


def load_epochs(study: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read the table of epochs, or some of its `EPOCH_COLUMNS`: a row a trial and epoch; raises as `load_trials`."""
    return _load(study, "epochs.parquet", EPOCH_COLUMNS, EPOCH_KEYS, columns)


def find_epochs(study: Path, columns: list[str]) -> pd.DataFrame:
    """Read some columns of `load_epochs`; no rows where the file was not copied along with the study."""
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
    )
    return table.to_pandas()
