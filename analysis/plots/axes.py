"""What several plots have in common: axes of bits and of levels, crowds that are thinned, legends of families."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from analysis.levels import shown_levels
from analysis.plots.style import FAMILY_MARKS, MARKS, Mark

MOST_DRAWN = 2_000
"""Marks of a crowd: more would hide each other, and make a vector figure of many megabytes."""


def family_mark(family: str) -> Mark:
    """Of a family of ours; those of others get the last one."""
    return FAMILY_MARKS.get(family, MARKS[-1])


def thinned(rows: pd.DataFrame, most: int = MOST_DRAWN) -> pd.DataFrame:
    """All rows, or as many as `most`, the same ones each time."""
    if len(rows) <= most:
        return rows
    chosen = np.sort(np.random.default_rng(0).choice(len(rows), most, replace=False))
    return rows.iloc[chosen]


def set_bits_axis(ax: Axes) -> None:
    """Bits per weight, logarithmic to base 2, on the x axis."""
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_locator(FixedLocator([0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 32]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda bits, _: f"{bits:g}"))
    ax.set_xlabel("bits per weight")


def set_levels_axis(ax: Axes, levels: pd.Series) -> list[int]:
    """A place on the x axis for each value of K that is shown, at 0, 1, 2, …; returns these.

    Args:
        ax: whose axis it is.
        levels: all values of K that there are; the label says so where too many are left out.
    """
    shown, found = shown_levels(levels), levels.nunique()
    ax.set_xticks(range(len(shown)), [f"{value}" for value in shown])
    ax.set_xlim(-0.6, max(len(shown) - 0.4, 0.6))
    left_out = f" ({len(shown)} of {found} values)" if len(shown) < found else ""
    ax.set_xlabel(f"levels per layer $K${left_out}")
    return shown


def dodged(place: int, member: int, members: int, width: float = 0.6) -> float:
    """Where a member of a group stands beside the others of its group."""
    return place + width * ((member + 0.5) / max(members, 1) - 0.5)


def staircase(bits: np.ndarray, accuracies: np.ndarray, right: float) -> tuple[np.ndarray, np.ndarray]:
    """Corners of a front drawn with `where="post"`, on to the right edge of the axes."""
    if len(bits) == 0:
        return np.empty(0), np.empty(0)
    return np.append(bits, max(right, bits[-1])), np.append(accuracies, accuracies[-1])


def nothing_to_show(ax: Axes, reason: str) -> Axes:
    """Axes that say why they are empty."""
    ax.text(0.5, 0.5, reason, transform=ax.transAxes, ha="center", va="center", color="0.4", wrap=True)
    return ax
