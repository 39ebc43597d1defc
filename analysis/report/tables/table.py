"""A table of a report: a DataFrame for CSV, and LaTeX for a paper."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.report.latex import number
from trainables.result import FINETUNE, REGULARIZE

CONFIDENCE = 0.95

PHASES = {REGULARIZE: "Before tuning", FINETUNE: "After tuning"}
"""Title of the rows of each phase."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a report.

    Attributes:
        frame: all numbers, for CSV.
        latex: the table in LaTeX, rounded, with notes.
    """

    frame: pd.DataFrame
    latex: str


def write_table(name: str, table: Table, out: Path) -> list[Path]:
    """Write `table-NAME.tex` and `table-NAME.csv` into an existing folder; return the paths."""
    paths = [out / f"table-{name}.tex", out / f"table-{name}.csv"]
    paths[0].write_text(table.latex, encoding="utf-8")
    table.frame.to_csv(paths[1], index=False, encoding="utf-8")
    return paths


def rows_of(frame: pd.DataFrame) -> list[Any]:
    """Return the rows as named tuples, with one attribute for each column."""
    return list(frame.itertuples(index=False))


def bounds(low: float, high: float, digits: int = 2) -> str:
    """Return the cell of an interval, in small print; empty if there is none."""
    return "" if math.isnan(low) else rf"{{\scriptsize[{number(low, digits)}, {number(high, digits)}]}}"
