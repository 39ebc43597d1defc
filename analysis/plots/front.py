"""Accuracy against bits: what a search has found, and what was confirmed."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.markers import CARETDOWNBASE, CARETUPBASE

from analysis.levels import families_of
from analysis.plots.axes import family_mark, nothing_to_show, set_bits_axis, staircase, thinned
from analysis.plots.style import Line, plain
from analysis.statistics.confirmed import as_trials
from analysis.statistics.front import candidates, float_baseline, front, knee
from analysis.statistics.gains import ACCURACIES, TEST
from trainables.result import FINETUNE

GREY = "0.45"

DOTTED: Line = (0, (1, 1.5))


def plot_front(trials: pd.DataFrame, ax: Axes) -> Axes:
    """Validation accuracy against bits per weight (logarithmic) of a search: its trials, its front, and the knee.

    A mark a finished trial, faint where another beats it in both; of many of these some are drawn, and the legend says
    how many. The front as a staircase, its knee in a ring, the float baseline as a dashed line. Trials far below the
    front are below the axes; a line says how many.

    Args:
        trials: rows of trials.parquet.
        ax: drawn on; returned.
    """
    set_bits_axis(ax)
    ax.set_ylabel("validation accuracy (search)")
    of, best = candidates(trials), front(trials)
    if of.empty:
        return nothing_to_show(ax, "no quantized trial with its full budget")
    beaten = of[~of.index.isin(best.index)]
    crowd = thinned(beaten)
    for rows, look in (
        (crowd, {"s": 9, "alpha": 0.3, "lw": 0, "zorder": 2}),
        (best, {"s": 20, "ec": "white", "lw": 0.5, "zorder": 3}),
    ):
        for family in families_of(rows["family"]):
            mark, mine = family_mark(family), rows[rows["family"] == family]
            ax.scatter(mine["bits_per_weight"], mine["val_accuracy"], c=mark.colour, marker=mark.marker, **look)
    baseline = float_baseline(trials)
    _frame(ax, best, of, baseline)
    _draw_staircase(best, ax, colour="0.35", line="-")
    _draw_knee(knee(trials), ax)
    _draw_baseline(baseline, ax)
    extra = []
    if len(crowd) < len(beaten):
        told = f"beaten ({len(crowd):,} of {len(beaten):,})"
        extra = [Line2D([], [], ls="", marker="o", c=GREY, alpha=0.4, mew=0, label=told)]
    _legend(families_of(of["family"]), ax, extra, loc="lower right")
    return ax


def plot_confirmed(results: pd.DataFrame, ax: Axes, search: pd.DataFrame | None = None, *, split: str = TEST) -> Axes:
    """Draw mean accuracies of configurations over their seeds against bits per weight: intervals, front and knee.

    Families stand side by side, each within 2% of its bits, so that equal bits hide no interval.

    Args:
        results: rows of `analysis.statistics.confirmed.confirmed`.
        ax: drawn on; returned.
        search: trials.parquet of the search, whose front is drawn behind as a thin line; None to leave it out.
        split: that the means and intervals are of: `test`, or `validation` for a plan without test accuracies.
    """
    set_bits_axis(ax)
    ax.set_ylabel(f"{split} accuracy")
    accuracy = ACCURACIES[split][FINETUNE]
    trials = as_trials(results, split)
    of, best = candidates(trials), front(trials)
    if of.empty:
        return nothing_to_show(ax, "no quantized configuration with results")
    families = families_of(of["family"])
    for family in families:
        mark, mine = family_mark(family), results.loc[of.index[of["family"] == family]]
        mean = mine[accuracy]
        ax.errorbar(
            *(mine["bits_per_weight"] * _beside(family, families), mean),
            yerr=[(mean - mine["low"]).fillna(0.0), (mine["high"] - mean).fillna(0.0)],
            fmt=mark.marker,
            mfc=mark.colour,
            mec="white",
            mew=0.4,
            ecolor=mark.colour,
            elinewidth=0.7,
            zorder=4,
        )
    searched = best[:0] if search is None else front(search)
    # The ends of the intervals too, but of those of two or three seeds, which may be as wide as all there is.
    least, greatest = best["val_accuracy"].min(), best["val_accuracy"].max()
    reach = greatest - least + 0.01
    ends = [
        of.assign(val_accuracy=results[end].fillna(results[accuracy]).clip(least - reach, greatest + reach))
        for end in ("low", "high")
    ]
    floats = results.loc[results["num_levels"].isna(), accuracy]
    baseline = float(floats.iloc[0]) if len(floats) else None
    _frame(ax, pd.concat([best, *ends, searched]), of, baseline)
    _draw_cut_ends(results.loc[of.index], families, ax)
    _draw_staircase(best, ax, colour="0.35", line="-")
    extra = []
    if len(searched):
        _draw_staircase(searched, ax, colour=GREY, line=DOTTED)
        extra = [Line2D([], [], c=GREY, lw=0.8, ls=DOTTED, label="search, validation")]
    at = knee(trials)
    _draw_knee(at, ax, 1.0 if at is None else _beside(at["family"], families))
    _draw_baseline(baseline, ax)
    # Intervals of few seeds reach everywhere: there is room above alone.
    _legend(families, ax, extra, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    return ax


def _beside(family: str, families: list[str]) -> float:
    """Factor on the bits of a family that sets its marks beside those of the others."""
    return float(1.01 ** (families.index(family) - (len(families) - 1) / 2))


def _draw_cut_ends(results: pd.DataFrame, families: list[str], ax: Axes) -> None:
    """An arrow at the edge of the axes for each interval that goes on beyond it."""
    lowest, highest = ax.get_ylim()
    for edge, marker, beyond in (
        (lowest, CARETDOWNBASE, results["low"] < lowest),
        (highest, CARETUPBASE, results["high"] > highest),
    ):
        for family, cut in results[beyond].groupby("family"):
            x = cut["bits_per_weight"] * _beside(str(family), families)
            inwards = edge + (0.03 if edge == lowest else -0.03) * (highest - lowest)
            colour = family_mark(str(family)).colour
            ax.plot(x, [inwards] * len(cut), ls="", marker=marker, ms=4, c=colour, mew=0, zorder=4, gid="cut")


def _frame(ax: Axes, shown: pd.DataFrame, of: pd.DataFrame, baseline: float | None) -> None:
    """Limits that hold what must be seen, the float baseline too; what lies far below is counted and not shown."""
    bits = pd.concat([shown["bits_per_weight"], of["bits_per_weight"]])
    ax.set_xlim(bits.min() * 0.93, bits.max() * 1.08)
    seen = shown["val_accuracy"] if baseline is None else np.append(shown["val_accuracy"], baseline)
    low, high = np.nanmin(seen), np.nanmax(seen)
    height = max(high - low, 0.02)
    lowest = max(low - 0.5 * height, min(of["val_accuracy"].min(), low) - 0.06 * height)
    ax.set_ylim(lowest, high + 0.15 * height)
    below = int((of["val_accuracy"] < lowest).sum())
    if below:
        ax.annotate(
            f"{below:,} below",
            (0.0, 0.0),
            xycoords="axes fraction",
            xytext=(2, 2),
            textcoords="offset points",
            fontsize="small",
            color=GREY,
        )


def _draw_staircase(best: pd.DataFrame, ax: Axes, *, colour: str, line: Line) -> None:
    steps = best.drop_duplicates(["bits_per_weight", "val_accuracy"])
    x, y = staircase(steps["bits_per_weight"].to_numpy(), steps["val_accuracy"].to_numpy(), ax.get_xlim()[1])
    ax.plot(x, y, drawstyle="steps-post", c=colour, lw=0.8, ls=line, zorder=2)


def _draw_knee(at: pd.Series | None, ax: Axes, beside: float = 1.0) -> None:
    if at is None:
        return
    place = (at["bits_per_weight"] * beside, at["val_accuracy"])
    ax.scatter(*place, s=70, facecolors="none", edgecolors="0.2", lw=0.8, zorder=5)


def _draw_baseline(accuracy: float | None, ax: Axes) -> None:
    if accuracy is None or np.isnan(accuracy):
        return
    ax.axhline(accuracy, c="0.55", lw=0.8, ls=(0, (4, 3)), zorder=1)
    ax.annotate(
        f"float: {accuracy:.3f}",
        (0.0, accuracy),
        xycoords=("axes fraction", "data"),
        xytext=(2, 2),
        textcoords="offset points",
        va="bottom",
        fontsize="small",
        color="0.4",
    )


def _legend(families: list[str], ax: Axes, extra: list[Line2D], **where: Any) -> None:
    ring = Line2D([], [], ls="", marker="o", ms=7, mfc="none", mec="0.2", mew=0.8, label="knee")
    handles = [
        Line2D(
            [], [], ls="", marker=family_mark(family).marker, c=family_mark(family).colour, mew=0, label=plain(family)
        )
        for family in families
    ]
    ax.legend(handles=[*handles, ring, *extra], **where)
