"""Shared parts of plots: axes of bits and of levels, thinned crowds, staircases, marks of families."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from analysis.levels import shown_levels
from analysis.plots.style import FAMILY_MARKS, MARKS, Mark

MOST_DRAWN = 2_000
"""Greatest number of marks in a crowd. More would hide each other, and make a vector figure of many megabytes."""


def family_mark(family: str) -> Mark:
    """Return the mark of a family; families that are not built in share the last one."""
    return FAMILY_MARKS.get(family, MARKS[-1])


def thinned(rows: pd.DataFrame, most: int = MOST_DRAWN) -> pd.DataFrame:
    """Return the rows, or a sample of `most` of them, which is the same for the same rows."""
    if len(rows) <= most:
        return rows
    chosen = np.sort(np.random.default_rng(0).choice(len(rows), most, replace=False))
    return rows.iloc[chosen]


def set_bits_axis(ax: Axes) -> None:
    """Make the x axis one of bits per weight, logarithmic to base 2."""
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_locator(FixedLocator([0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 32]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda bits, _: f"{bits:g}"))
    ax.set_xlabel("bits per weight")


def set_levels_axis(ax: Axes, levels: pd.Series) -> list[int]:
    """Make the x axis one of values of K, at 0, 1, 2, …; return the values that are shown.

    Args:
        ax: axes to change.
        levels: all values of K, repeats allowed; the axis label says if some are left out.
    """
    shown, count = shown_levels(levels), levels.nunique()
    ax.set_xticks(range(len(shown)), [f"{value}" for value in shown])
    ax.set_xlim(-0.6, max(len(shown) - 0.4, 0.6))
    left_out = f" ({len(shown)} of {count} values)" if len(shown) < count else ""
    ax.set_xlabel(f"levels per layer $K${left_out}")
    return shown


def dodged(place: int, member: int, members: int, width: float = 0.6) -> float:
    """Return the x of a member of a group, which stands beside the others.

    Args:
        place: x of the group.
        member: index of the member, in [0, members).
        members: size of the group.
        width: width of the group.
    """
    return place + width * ((member + 0.5) / max(members, 1) - 0.5)


def staircase(bits: np.ndarray, accuracies: np.ndarray, right: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of a front, for steps of style `steps-post`, extended to the right edge of the axes.

    Args:
        bits: (n,), increasing.
        accuracies: (n,).
        right: right edge of the axes, in bits per weight.

    Returns:
        x and y, (n + 1,) each; empty for an empty front.
    """
    if len(bits) == 0:
        return np.empty(0), np.empty(0)
    return np.append(bits, max(right, bits[-1])), np.append(accuracies, accuracies[-1])


def nothing_to_show(ax: Axes, reason: str) -> Axes:
    """Write the reason why axes are empty on them; return them."""
    ax.text(0.5, 0.5, reason, transform=ax.transAxes, ha="center", va="center", color="0.4", wrap=True)
    return ax
