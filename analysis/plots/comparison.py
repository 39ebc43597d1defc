"""Families against plain quantization at equal K."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.markers import CARETUPBASE
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from analysis.plots.elements.axes import dodged, nothing_to_show, set_levels_axis
from analysis.plots.elements.marks import family_mark
from analysis.plots.elements.style import plain
from analysis.statistics.family_gains import BASELINE
from analysis.statistics.stages import TITLES
from analysis.view import EVERYTHING, View


def plot_gains(gains: pd.DataFrame, ax: Axes, *, phase: str, statistics: str = "", view: View = EVERYTHING) -> Axes:
    """Draw the accuracy of each family over that of `none` at the same K, with intervals; above 1 the penalty helps.

    The line at 1 is `none` itself, and is labelled so.

    Args:
        gains: rows of `analysis.statistics.family_gains.gains`.
        ax: axes to draw on; returned.
        phase: `regularize` (before tuning) or `finetune` (after).
        statistics: of batch normalization, as in `analysis.statistics.stages.Stage`, for the title.
        view: names.
    """
    factors = gains["gain"].to_numpy(dtype=float)
    rows = gains[(gains["phase"] == phase) & np.isfinite(factors) & (factors > 0)]
    rows = _draw(rows, "gain", ax, view, neutral=1.0)
    ax.set_title(TITLES[phase, statistics])
    baseline = plain(view.names.family(BASELINE))
    ax.set_ylabel(f"accuracy over that of {baseline}")
    if rows.empty:
        return ax
    ax.annotate(
        baseline,
        (1.0, 1.0),
        xycoords=("axes fraction", "data"),
        xytext=(2, 0),
        textcoords="offset points",
        va="center",
        fontsize="small",
        color="0.3",
        annotation_clip=False,
    )
    ends = rows[["gain", "low", "high"]].to_numpy(dtype=float).ravel()
    ends = ends[np.isfinite(ends) & (ends > 0)]
    if ends.max() / ends.min() > 4:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_minor_formatter(NullFormatter())
    else:
        ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda factor, _: f"{factor:g}×"))
    return ax


def plot_improvements(improvements: pd.DataFrame, ax: Axes, *, phase: str, view: View = EVERYTHING) -> Axes:
    """Draw the probability that a seed of each family beats one of `none` at the same K; 0.5 is no difference.

    Args:
        improvements: rows of `analysis.statistics.family_gains.improvements`.
        ax: axes to draw on; returned.
        phase: `regularize` (before tuning) or `finetune` (after).
        view: names.
    """
    rows = improvements[improvements["phase"] == phase]
    _draw(rows, "probability", ax, view, neutral=0.5)
    ax.set_title(TITLES[phase, ""])
    ax.set_ylabel(f"P(better than {plain(view.names.family(BASELINE))})")
    ax.set_ylim(-0.04, 1.04)
    return ax


def _draw(rows: pd.DataFrame, value: str, ax: Axes, view: View, *, neutral: float) -> pd.DataFrame:
    """Draw a mark and an interval for each family and K, side by side at each K; an arrow marks no upper bound.

    Returns:
        The rows that are drawn: some values of K are left out if there are too many.
    """
    levels = set_levels_axis(ax, rows["num_levels"])
    rows = rows[rows["num_levels"].isin(levels)]
    families = view.names.order(rows["family"])
    if rows.empty:
        nothing_to_show(ax, "no family beside none at equal $K$")
        return rows
    ax.axhline(neutral, c="0.55", lw=0.8, ls=(0, (4, 3)), zorder=1)
    ends = rows[[value, "low", "high"]].to_numpy(dtype=float)
    ceiling = 1.3 * float(ends[np.isfinite(ends)].max())
    for member, family in enumerate(families):
        mark = family_mark(family)
        chosen = rows[rows["family"] == family]
        x = [dodged(levels.index(int(k)), member, len(families)) for k in chosen["num_levels"]]
        y = chosen[value].to_numpy(dtype=float)
        low, high = (np.where(chosen[end].isna(), y, chosen[end]) for end in ("low", "high"))
        unbounded = np.isposinf(high)
        high = np.where(unbounded, ceiling, high)
        ax.plot(np.array(x)[unbounded], high[unbounded], ls="", marker=CARETUPBASE, c=mark.colour, mew=0)
        ax.errorbar(
            *(x, y),
            yerr=[np.maximum(y - low, 0), np.maximum(high - y, 0)],
            ls="",
            marker=mark.marker,
            c=mark.colour,
            mew=0,
            elinewidth=0.8,
            label=plain(view.names.family(family)),
        )
    return rows
