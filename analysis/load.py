"""Reads the tables of a study, also those that an older version has written."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from trainables.result import (
    EPOCH_COLUMNS,
    SCHEMA_VERSION,
    SCHEMA_VERSION_KEY,
    TRIAL_COLUMNS,
    Column,
    DamagedFileError,
)

_ARROW_TYPES = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "str": pa.string()}


def load_trials(study: Path) -> pd.DataFrame:
    """A row a trial, with the columns `trainables.result.TRIAL_COLUMNS`.

    Args:
        study: folder of the study.

    Raises:
        ValueError: the folder holds no study, or one that has not written its tables yet.
        DamagedFileError: the file can't be read, lacks a column, or was written by a newer version.
    """
    return _load(study, "trials.parquet", TRIAL_COLUMNS)


def load_epochs(study: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """A row a trial and epoch, with the columns `EPOCH_COLUMNS` or some of them; raises as `load_trials` does."""
    return _load(study, "epochs.parquet", EPOCH_COLUMNS, columns)


def find_epochs(study: Path, columns: list[str]) -> pd.DataFrame:
    """Some columns of `load_epochs`; no rows where the file was not copied along with the study."""
    if not (study / "epochs.parquet").exists():
        return pd.DataFrame(columns=columns)
    return load_epochs(study, columns)


def _load(study: Path, name: str, schema: tuple[Column, ...], wanted: list[str] | None = None) -> pd.DataFrame:
    path = study / name
    if not (study / "study.yaml").exists():
        raise ValueError(f"{study} is no study folder (it has no study.yaml); give the folder of a study")
    if not path.exists():
        raise ValueError(f"{study} has no {name} yet; let the study run, or resume it with: qar resume {study}")
    try:
        found = pq.read_schema(path)
        table = pq.read_table(path, columns=None if wanted is None else [n for n in wanted if n in found.names])
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise DamagedFileError(f"{path} is damaged: {reason}; write it anew with: qar resume {study}") from None
    wanted = wanted or [column.name for column in schema]
    return _migrated(table, path, [column for column in schema if column.name in wanted]).to_pandas()


def _migrated(table: pa.Table, path: Path, columns: list[Column]) -> pa.Table:
    """The table with all columns, those that its version did not know yet as nulls.

    A file without a version is of this one.
    """
    written = int((table.schema.metadata or {}).get(SCHEMA_VERSION_KEY.encode(), SCHEMA_VERSION))
    if written > SCHEMA_VERSION:
        raise DamagedFileError(
            f"{path} is of schema {written}, and this version of qar reads up to {SCHEMA_VERSION}; install a newer one"
        )
    missing = [column for column in columns if column.name not in table.column_names]
    lacking = [column.name for column in missing if column.since <= written]
    if lacking:
        raise DamagedFileError(
            f"{path} is damaged: it lacks the columns {lacking}; write it anew with: qar resume {path.parent}"
        )
    if not missing:
        return table
    for column in missing:
        table = table.append_column(column.name, pa.nulls(len(table), _ARROW_TYPES[column.type]))
    return table.select([column.name for column in columns])
