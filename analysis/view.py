"""Quantities that figures and tables show, and their units."""

from collections.abc import Collection
from dataclasses import dataclass, field

import pandas as pd

from analysis.costs import COSTS, Cost
from analysis.names import Names
from trainables.result import FINETUNE, REGULARIZE

PHASES = (REGULARIZE, FINETUNE)


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """Choice of the trials that figures and tables show, and of their units and names.

    Attributes:
        cost_name: measure of the cost, on the x axis: a key of `analysis.costs.COSTS`.
        loss: whether accuracy is shown as its difference from that of the float baseline, in percentage points.
        families: families to show; None for all.
        levels: values of K to show; None for all.
        phases: phases to show: `regularize` (accuracy before tuning) and `finetune` (after).
        names: labels and order of the families, titles and labels of axes.
        literature: points from the literature, as `analysis.literature.read_literature` returns them; None for none.
    """

    cost_name: str = "bits"
    loss: bool = False
    families: Collection[str] | None = None
    levels: Collection[int] | None = None
    phases: Collection[str] = PHASES
    names: Names = field(default_factory=Names)
    literature: pd.DataFrame | None = None

    @property
    def cost(self) -> Cost:
        """Measure of the cost, on the x axis."""
        return COSTS[self.cost_name]

    def restrict(self, rows: pd.DataFrame, *, keep: Collection[str] = ()) -> pd.DataFrame:
        """Return the rows of the chosen families and values of K, and those of float baselines.

        Args:
            rows: rows of trials.parquet, or of another table with the columns `family` and `num_levels`.
            keep: families that are kept too, such as the one that others are compared with.
        """
        shown = pd.Series(True, index=rows.index)
        if self.families is not None:
            shown &= rows["family"].isin([*self.families, *keep])
        if self.levels is not None:
            shown &= rows["num_levels"].isin(list(self.levels))
        return rows[shown | rows["num_levels"].isna()]

    @property
    def restriction(self) -> str:
        """Sentence about what is left out, such as `only families RM, RE; K = 2, 4`; empty if nothing is."""
        parts = []
        if self.families is not None:
            parts.append(f"families {', '.join(self.families)}")
        if self.levels is not None:
            parts.append(f"K = {', '.join(map(str, sorted(self.levels)))}")
        if set(self.phases) != set(PHASES):
            parts.append(f"phase {', '.join(self.phases)}")
        return f"only {'; '.join(parts)}" if parts else ""


EVERYTHING = View()
"""All trials, in bits per weight and accuracy."""
