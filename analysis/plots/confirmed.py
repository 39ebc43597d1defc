"""Accuracy against cost: means of configurations over their seeds."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.markers import CARETDOWNBASE, CARETUPBASE

from analysis.plots.elements.axes import nothing_to_show, set_accuracy_axis, set_cost_axis
from analysis.plots.elements.literature import draw_literature, literature_points
from analysis.plots.elements.marks import family_mark
from analysis.plots.front import (
    DOTTED,
    GREY,
    draw_baseline,
    draw_knee,
    draw_legend,
    draw_staircase,
    frame,
    reason_of_no_front,
)
from analysis.statistics.confirmation import as_trials
from analysis.statistics.family_gains import ACCURACIES, TEST
from analysis.statistics.pareto import candidates, front, knee
from analysis.view import EVERYTHING, View
from trainables.result import FINETUNE


def plot_confirmed(
    results: pd.DataFrame,
    ax: Axes,
    search: pd.DataFrame | None = None,
    *,
    split: str = TEST,
    view: View = EVERYTHING,
) -> Axes:
    """Draw mean accuracies of configurations over their seeds against cost: intervals, front and knee.

    Families stand side by side, each within 2% of its cost, so that equal costs hide no interval.

    Args:
        results: rows of `analysis.statistics.confirmation.confirmed`.
        ax: axes to draw on; returned.
        search: trials.parquet of the search, whose front is drawn behind as a thin line; None to leave it out.
        split: that the means and intervals are of: `test`, or `validation` for a plan without test accuracies.
        view: units and names, and points from the literature.
    """
    accuracy = ACCURACIES[split][FINETUNE]
    cost = view.cost
    floats = results.loc[results["num_levels"].isna(), accuracy]
    baseline = float(floats.iloc[0]) if len(floats) else None
    set_cost_axis(ax, view)
    set_accuracy_axis(ax, view, split, baseline)
    trials = as_trials(results, split)
    complete, best = candidates(trials), front(trials, cost.column)
    if best.empty:
        reason = "no quantized configuration with results" if complete.empty else reason_of_no_front(complete, view)
        return nothing_to_show(ax, reason)
    complete = complete[complete[cost.column].notna()]
    families = view.names.order(complete["family"])
    for family in families:
        mark, chosen = family_mark(family), results.loc[complete.index[complete["family"] == family]]
        mean = chosen[accuracy]
        ax.errorbar(
            *(cost.of(chosen) * _beside(family, families), mean),
            yerr=[(mean - chosen["low"]).fillna(0.0), (chosen["high"] - mean).fillna(0.0)],
            ls="",
            marker=mark.marker,
            mfc=mark.colour,
            mec="white",
            mew=0.4,
            ecolor=mark.colour,
            elinewidth=0.7,
            zorder=4,
        )
    searched = best[:0] if search is None else front(search, cost.column)
    points = literature_points(view, baseline)
    # The axes contain the ends of the intervals, clipped: those of two or three seeds may be far wider.
    least, greatest = best["val_accuracy"].min(), best["val_accuracy"].max()
    reach = greatest - least + 0.01
    ends = [
        results.loc[complete.index, end].fillna(results[accuracy]).clip(least - reach, greatest + reach)
        for end in ("low", "high")
    ]
    costs = pd.concat([cost.of(complete), cost.of(searched), points["x"].astype(float)])
    accuracies = [best["val_accuracy"], *ends, searched["val_accuracy"], points["y"].astype(float)]
    frame(ax, costs, pd.concat(accuracies), complete, baseline)
    _draw_cut_ends(results.loc[complete.index], families, ax, view)
    draw_staircase(best, ax, view, colour="0.35", line="-")
    extra = []
    if len(searched):
        draw_staircase(searched, ax, view, colour=GREY, line=DOTTED)
        extra = [Line2D([], [], c=GREY, lw=0.8, ls=DOTTED, label="search, validation")]
    at = knee(trials, cost.column)
    draw_knee(at, ax, view, 1.0 if at is None else _beside(at["family"], families))
    draw_baseline(baseline, ax)
    extra += draw_literature(points, ax)
    # Intervals of few seeds may cover the axes, so the legend stands above them.
    draw_legend(families, ax, view, extra, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    return ax


def _beside(family: str, families: list[str]) -> float:
    """Return the factor on a family's cost that sets its marks beside those of the other families."""
    step = min(0.01, 0.04 / len(families))
    return float((1 + step) ** (families.index(family) - (len(families) - 1) / 2))


def _draw_cut_ends(results: pd.DataFrame, families: list[str], ax: Axes, view: View) -> None:
    """Draw an arrow at the edge of the axes for each interval that extends beyond it."""
    lowest, highest = ax.get_ylim()
    for edge, marker, beyond in (
        (lowest, CARETDOWNBASE, results["low"] < lowest),
        (highest, CARETUPBASE, results["high"] > highest),
    ):
        for family, cut in results[beyond].groupby("family"):
            x = view.cost.of(cut) * _beside(str(family), families)
            inwards = edge + (0.03 if edge == lowest else -0.03) * (highest - lowest)
            colour = family_mark(str(family)).colour
            ax.plot(x, [inwards] * len(cut), ls="", marker=marker, ms=4, c=colour, mew=0, zorder=4, gid="cut")
