"""Measures of what a network costs: the x axis of figures, and a column of tables."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pandas as pd

FLOAT_BITS = 32
"""Bits of an unquantized weight, which a compression ratio refers to."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One measure of the cost of a network.

    Attributes:
        column: column of trials.parquet that the measure is computed from; smaller is better.
        label: label of the axis.
        header: header of a table's column, in LaTeX.
        digits: digits after the point in tables.
        base: base of the logarithmic axis.
        ticks: values that may be labelled on the axis; empty for powers of the base, or parts of them.
        convert: returns the measure from the values of the column.
        more_is_better: whether greater values of the measure are better.
    """

    column: str
    label: str
    header: str
    digits: int = 2
    base: int = 10
    ticks: tuple[float, ...] = ()
    convert: Callable[[pd.Series], pd.Series] = lambda values: values
    more_is_better: bool = False

    @property
    def empty_corner(self) -> Literal["lower left", "lower right"]:
        """Corner of the axes where no front passes: low accuracy at high cost."""
        return "lower left" if self.more_is_better else "lower right"

    def of(self, rows: pd.DataFrame) -> pd.Series:
        """Return the measure of each row, as floats; NaN where the table lacks it."""
        return self.convert(rows[self.column].astype(float))


COSTS = {
    "bits": Cost(
        column="bits_per_weight",
        label="bits per weight",
        header="bits",
        base=2,
        ticks=(0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 32),
    ),
    "size": Cost(
        column="artifact_bytes", label="size (MB)", header="MB", digits=3, convert=lambda size: size / 1_000_000
    ),
    "ratio": Cost(
        column="bits_per_weight",
        label="compression ratio",
        header="ratio",
        digits=1,
        base=2,
        ticks=(1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128),
        convert=lambda bits: FLOAT_BITS / bits,
        more_is_better=True,
    ),
    "bops": Cost(
        column="weight_bops", label="weight-only BOPs (millions)", header="MBOPs", convert=lambda bops: bops / 1_000_000
    ),
    "levels": Cost(
        column="num_levels",
        label="levels per layer $K$",
        header="$K$",
        digits=0,
        base=2,
        ticks=(2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256),
    ),
}
"""Measures by the name that `qar report --cost` takes."""
