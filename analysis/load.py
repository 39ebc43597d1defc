"""Reads the tables of a study."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from trainables.result import EPOCH_COLUMNS, TRIAL_COLUMNS, Column, DamagedFileError


def load_trials(study: Path) -> pd.DataFrame:
    """A row a trial, with the columns `trainables.result.TRIAL_COLUMNS`.

    Args:
        study: folder of the study.

    Raises:
        ValueError: the folder holds no study, or one that has not written its tables yet.
        DamagedFileError: the file can't be read, or lacks a column.
    """
    return _load(study, "trials.parquet", TRIAL_COLUMNS)


def load_epochs(study: Path) -> pd.DataFrame:
    """A row a trial and epoch, with the columns `EPOCH_COLUMNS`; raises as `load_trials` does."""
    return _load(study, "epochs.parquet", EPOCH_COLUMNS)


def _load(study: Path, name: str, columns: tuple[Column, ...]) -> pd.DataFrame:
    path = study / name
    if not (study / "study.yaml").exists():
        raise ValueError(f"{study} is no study folder (it has no study.yaml); give the folder of a study")
    if not path.exists():
        raise ValueError(f"{study} has no {name} yet; let the study run, or resume it with: qar resume {study}")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise DamagedFileError(f"{path} is damaged: {reason}; write it anew with: qar resume {study}") from None
    missing = [column.name for column in columns if column.name not in table.column_names]
    if missing:
        raise DamagedFileError(
            f"{path} is damaged: it lacks the columns {missing}; write it anew with: qar resume {study}"
        )
    return table.to_pandas()
