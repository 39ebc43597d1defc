"""Choice and order of the families and of the values of K that figures and tables show."""

from collections.abc import Iterable

import pandas as pd

from trainables import families
from trainables.result import ALLOCATED, MIXED

FAMILIES = tuple(families.FAMILIES)
"""Names of the families, in the order of figures, tables and pages."""

MOST_LEVELS = 10
"""Greatest number of values of K that fit side by side into one column."""
FEWEST_POWERS = 4
"""Smallest number of powers of two that can represent all values of K, if there are too many to show."""


def families_of(values: Iterable[str]) -> list[str]:
    """Return the distinct families: known ones in the order of `FAMILIES`, then others by name."""
    present = set(values)
    return [*(family for family in FAMILIES if family in present), *sorted(present - set(FAMILIES))]


def shown_levels(levels: Iterable[float], most: int = MOST_LEVELS) -> list[int]:
    """Return the values of K to show, in increasing order.

    Args:
        levels: values of K, with repetitions; NaN is ignored.
        most: greatest number of values to return. If there are more, the powers of two are returned, or values at even
            distances if there are too few powers of two.
    """
    present = sorted({int(value) for value in levels if value == value})
    if len(present) <= most:
        return present
    powers = [value for value in present if value & (value - 1) == 0]
    if len(powers) >= FEWEST_POWERS:
        return powers[:most]
    return [present[place * (len(present) - 1) // (most - 1)] for place in range(most)]


def is_allocated(trials: pd.DataFrame) -> pd.Series:
    """Return which trials have layers whose K was chosen from measured costs, so that no K stands for all."""
    if "groups" not in trials:
        return pd.Series(False, index=trials.index)
    return trials["groups"].astype("string").str.contains(rf"(?:^|; ){ALLOCATED}", na=False).astype(bool)


def levels_text(num_levels: float, groups: object) -> str:
    """Return K as text: `float` for the baseline, and `mixed` where it was chosen for each layer.

    Args:
        num_levels: K; NaN for the float baseline.
        groups: cell of the column `groups`.
    """
    if num_levels != num_levels:
        return "float"
    allocated = isinstance(groups, str) and any(part.startswith(ALLOCATED) for part in groups.split("; "))
    return MIXED if allocated else f"{num_levels:.0f}"
