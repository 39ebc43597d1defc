"""Accuracy against bits: the trials of a search, and confirmed configurations."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.markers import CARETDOWNBASE, CARETUPBASE

from analysis.levels import families_of
from analysis.plots.axes import family_mark, nothing_to_show, set_bits_axis, staircase, thinned
from analysis.plots.style import Line, plain
from analysis.statistics.confirmation import as_trials
from analysis.statistics.family_gains import ACCURACIES, TEST
from analysis.statistics.pareto import candidates, float_baseline, front, knee
from trainables.result import FINETUNE

GREY = "0.45"

DOTTED: Line = (0, (1, 1.5))


def plot_front(trials: pd.DataFrame, ax: Axes) -> Axes:
    """Draw validation accuracy against bits per weight of a search: its trials, its front, and the knee.

    Each complete trial has a mark, a faint one if another trial beats it in both. A crowd of faint marks is thinned,
    and the legend says so. The front is a staircase, its knee has a ring, the float baseline is a dashed line. Trials
    far below the front lie below the axes, and a number counts them.

    Args:
        trials: rows of trials.parquet.
        ax: axes to draw on; returned.
    """
    set_bits_axis(ax)
    ax.set_ylabel("validation accuracy (search)")
    complete, best = candidates(trials), front(trials)
    if complete.empty:
        return nothing_to_show(ax, "no quantized trial with its full budget")
    beaten = complete[~complete.index.isin(best.index)]
    crowd = thinned(beaten)
    for rows, appearance in (
        (crowd, {"s": 9, "alpha": 0.3, "lw": 0, "zorder": 2}),
        (best, {"s": 20, "ec": "white", "lw": 0.5, "zorder": 3}),
    ):
        for family in families_of(rows["family"]):
            mark, chosen = family_mark(family), rows[rows["family"] == family]
            ax.scatter(
                chosen["bits_per_weight"], chosen["val_accuracy"], c=mark.colour, marker=mark.marker, **appearance
            )
    baseline = float_baseline(trials)
    _frame(ax, best, complete, baseline)
    _draw_staircase(best, ax, colour="0.35", line="-")
    _draw_knee(knee(trials), ax)
    _draw_baseline(baseline, ax)
    extra = []
    if len(crowd) < len(beaten):
        label = f"beaten ({len(crowd):,} of {len(beaten):,})"
        extra = [Line2D([], [], ls="", marker="o", c=GREY, alpha=0.4, mew=0, label=label)]
    _legend(families_of(complete["family"]), ax, extra, loc="lower right")
    return ax


def plot_confirmed(results: pd.DataFrame, ax: Axes, search: pd.DataFrame | None = None, *, split: str = TEST) -> Axes:
    """Draw mean accuracies of configurations over their seeds against bits per weight: intervals, front and knee.

    Families stand side by side, each within 2% of its bits, so that equal bits hide no interval.

    Args:
        results: rows of `analysis.statistics.confirmation.confirmed`.
        ax: axes to draw on; returned.
        search: trials.parquet of the search, whose front is drawn behind as a thin line; None to leave it out.
        split: that the means and intervals are of: `test`, or `validation` for a plan without test accuracies.
    """
    set_bits_axis(ax)
    ax.set_ylabel(f"{split} accuracy")
    accuracy = ACCURACIES[split][FINETUNE]
    trials = as_trials(results, split)
    complete, best = candidates(trials), front(trials)
    if complete.empty:
        return nothing_to_show(ax, "no quantized configuration with results")
    families = families_of(complete["family"])
    for family in families:
        mark, chosen = family_mark(family), results.loc[complete.index[complete["family"] == family]]
        mean = chosen[accuracy]
        ax.errorbar(
            *(chosen["bits_per_weight"] * _beside(family, families), mean),
            yerr=[(mean - chosen["low"]).fillna(0.0), (chosen["high"] - mean).fillna(0.0)],
            fmt=mark.marker,
            mfc=mark.colour,
            mec="white",
            mew=0.4,
            ecolor=mark.colour,
            elinewidth=0.7,
            zorder=4,
        )
    searched = best[:0] if search is None else front(search)
    # The axes contain the ends of the intervals, clipped: those of two or three seeds may be far wider.
    least, greatest = best["val_accuracy"].min(), best["val_accuracy"].max()
    reach = greatest - least + 0.01
    ends = [
        complete.assign(val_accuracy=results[end].fillna(results[accuracy]).clip(least - reach, greatest + reach))
        for end in ("low", "high")
    ]
    floats = results.loc[results["num_levels"].isna(), accuracy]
    baseline = float(floats.iloc[0]) if len(floats) else None
    _frame(ax, pd.concat([best, *ends, searched]), complete, baseline)
    _draw_cut_ends(results.loc[complete.index], families, ax)
    _draw_staircase(best, ax, colour="0.35", line="-")
    extra = []
    if len(searched):
        _draw_staircase(searched, ax, colour=GREY, line=DOTTED)
        extra = [Line2D([], [], c=GREY, lw=0.8, ls=DOTTED, label="search, validation")]
    at = knee(trials)
    _draw_knee(at, ax, 1.0 if at is None else _beside(at["family"], families))
    _draw_baseline(baseline, ax)
    # Intervals of few seeds may cover the axes, so the legend stands above them.
    _legend(families, ax, extra, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    return ax


def _beside(family: str, families: list[str]) -> float:
    """Return the factor on a family's bits that sets its marks beside those of the other families."""
    return float(1.01 ** (families.index(family) - (len(families) - 1) / 2))


def _draw_cut_ends(results: pd.DataFrame, families: list[str], ax: Axes) -> None:
    """Draw an arrow at the edge of the axes for each interval that extends beyond it."""
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


def _frame(ax: Axes, shown: pd.DataFrame, crowd: pd.DataFrame, baseline: float | None) -> None:
    """Set limits that contain the rows `shown` and the float baseline; count the `crowd` that lies below them."""
    bits = pd.concat([shown["bits_per_weight"], crowd["bits_per_weight"]])
    ax.set_xlim(bits.min() * 0.93, bits.max() * 1.08)
    seen = shown["val_accuracy"] if baseline is None else np.append(shown["val_accuracy"], baseline)
    low, high = np.nanmin(seen), np.nanmax(seen)
    height = max(high - low, 0.02)
    lowest = max(low - 0.5 * height, min(crowd["val_accuracy"].min(), low) - 0.06 * height)
    ax.set_ylim(lowest, high + 0.15 * height)
    below = int((crowd["val_accuracy"] < lowest).sum())
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
