"""Points from the literature: results of other papers, from a CSV file, which figures show beside those of a study."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.costs import COSTS, FLOAT_BITS, Cost
from trainables.errors import message_of
from trainables.files.regular import read_regular

MOST_BYTES = 10**6

REQUIRED = ("citation", "accuracy")
COST_COLUMNS = ("bits_per_weight", "compression_ratio", "artifact_bytes", "weight_bops", "num_levels")
OPTIONAL = ("float_accuracy", "model", "dataset", *COST_COLUMNS)


def read_literature(path: Path) -> pd.DataFrame:
    """Read points from the literature.

    Args:
        path: CSV file with the columns `citation` (names the source) and `accuracy` (test accuracy in [0, 1]), one or
            more of `COST_COLUMNS`, and optionally `float_accuracy` of the same network before compression, `model` and
            `dataset`.

    Returns:
        The rows with all of these columns; a ratio gives `bits_per_weight` where that is missing. Texts are empty and
        numbers NaN where the file has none.

    Raises:
        ValueError: the file cannot be read, or breaks one of these rules; one line.
    """
    try:
        table = pd.read_csv(BytesIO(read_regular(path, MOST_BYTES)), skipinitialspace=True)
    except (OSError, ValueError) as error:  # pandas' errors of parsing are ValueErrors
        reason = getattr(error, "strerror", None) or message_of(error)
        raise ValueError(f"literature {path} can't be read: {reason}; give a CSV file with a header") from None
    _check_columns(path, list(table.columns))
    table = table.reindex(columns=[*REQUIRED, *OPTIONAL])
    for column in ("citation", "model", "dataset"):
        table[column] = table[column].fillna("").astype(str)
    if (table["citation"].str.strip() == "").any() or not all(text.isprintable() for text in table["citation"]):
        raise ValueError(f"literature {path}: every row needs a citation of one line; name the source of each point")
    for column in ("accuracy", "float_accuracy", *COST_COLUMNS):
        table[column] = _numbers(path, table, column)
    ratio = table["compression_ratio"]
    table["bits_per_weight"] = table["bits_per_weight"].fillna(FLOAT_BITS / ratio)
    costs = [cost.column for cost in COSTS.values()]
    if (bare := table[costs].isna().all(axis=1)).any():
        raise ValueError(
            f"literature {path}: {table.loc[bare, 'citation'].iloc[0]!r} has no cost; fill one of {list(COST_COLUMNS)}"
        )
    return table


def comparable_points(table: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """Return the points of the model and data set of a study, and those that name none.

    Args:
        table: as `read_literature` returns it.
        trials: rows of trials.parquet.
    """
    fits = pd.Series(True, index=table.index)
    for column in ("model", "dataset"):
        fits &= table[column].isin(["", *trials[column].dropna()])
    return table[fits]


def shown_points(table: pd.DataFrame, cost: Cost, loss: bool) -> pd.Series:
    """Return whether each point has the cost, and a float accuracy if losses are shown."""
    return cost.of(table).notna() & (table["float_accuracy"].notna() if loss else True)


def _check_columns(path: Path, columns: list[str]) -> None:
    if missing := [column for column in REQUIRED if column not in columns]:
        raise ValueError(f"literature {path} must have the columns {list(REQUIRED)}, got {columns}; add {missing[0]!r}")
    if unknown := [column for column in columns if column not in (*REQUIRED, *OPTIONAL)]:
        choices = [*REQUIRED, *OPTIONAL]
        raise ValueError(f"literature {path}: unknown column {unknown[0]!r}; choose from {choices}")


def _numbers(path: Path, table: pd.DataFrame, column: str) -> pd.Series:
    """Return a column as floats; raise ValueError if a value is no number, or out of range."""
    values = pd.to_numeric(table[column], errors="coerce").astype(float)
    is_accuracy = column.endswith("accuracy")
    valid = values.between(0, 1) if is_accuracy else (values > 0) & np.isfinite(values)
    optional = table[column].isna() & (column != "accuracy")
    if (wrong := ~(valid | optional)).any():
        rule = "between 0 and 1" if is_accuracy else "a number above 0"
        remedy = "write 0.934 for 93.4%" if is_accuracy else "correct it, or leave it empty"
        raise ValueError(
            f"literature {path}: {column} must be {rule}, got {table.loc[wrong, column].iloc[0]!s} "
            f"for {table.loc[wrong, 'citation'].iloc[0]!r}; {remedy}"
        )
    return values
