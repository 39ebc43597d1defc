"""Fronts of several studies on the same axes."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from analysis.plots.elements.axes import nothing_to_show, set_accuracy_axis, set_cost_axis, set_cost_limits, staircase
from analysis.plots.elements.labels import MOST_IN_LEGEND, LineEnd, label_ends
from analysis.plots.elements.literature import draw_literature, literature_points
from analysis.plots.elements.marks import MARKS
from analysis.plots.elements.style import plain
from analysis.statistics.pareto import candidates, front
from analysis.view import EVERYTHING, View


def plot_studies(
    studies: Mapping[str, pd.DataFrame],
    ax: Axes,
    *,
    source: str = "search",
    view: View = EVERYTHING,
    references: Mapping[str, float | None] | None = None,
) -> Axes:
    """Draw the front of each study as a staircase with marks, and with intervals if it has columns `low` and `high`.

    Args:
        studies: rows of trials.parquet by the study's name; for confirmed results, the rows of
            `analysis.statistics.confirmation.as_trials`.
        ax: axes to draw on; returned.
        source: key of `analysis.names.ACCURACY_LABELS`.
        view: units and names, and points from the literature.
        references: accuracy of each study's float baseline, where differences from it are shown.
    """
    cost = view.cost
    set_cost_axis(ax, view)
    shifts = {name: (references or {}).get(name) or 0.0 if view.loss else 0.0 for name in studies}
    set_accuracy_axis(ax, view, source, 0.0)
    fronts = {name: front(trials, cost.column) for name, trials in studies.items()}
    fronts = {name: _shifted(best, shifts[name]) for name, best in fronts.items() if not best.empty}
    if not fronts:
        return nothing_to_show(ax, "no quantized trial with its full budget")
    points = literature_points(view, 0.0)
    costs = [cost.of(candidates(trials)) for trials in studies.values()]
    set_cost_limits(ax, pd.concat([*costs, points["x"].astype(float)]).dropna())
    for place, (name, best) in enumerate(fronts.items()):
        mark = MARKS[place % len(MARKS)]
        steps = best.drop_duplicates([cost.column, "val_accuracy"])
        stairs = staircase(cost.of(steps), steps["val_accuracy"], ax, cost)
        ax.plot(*stairs, drawstyle="steps-post", c=mark.colour, ls=mark.line, lw=0.9)
        if {"low", "high"} <= set(best.columns):
            bounded = best[best["low"].notna()]
            ends = bounded["val_accuracy"] - bounded["low"], bounded["high"] - bounded["val_accuracy"]
            x, y = cost.of(bounded), bounded["val_accuracy"]
            ax.errorbar(x, y, yerr=ends, fmt="none", ecolor=mark.colour, elinewidth=0.7, alpha=0.6)
        for places, line, text in (
            ((cost.of(best), best["val_accuracy"]), "", None),
            (([], []), mark.line, plain(name)),
        ):
            ax.plot(*places, ls=line, marker=mark.marker, c=mark.colour, mec="white", mew=0.4, label=text)
    if view.loss:
        ax.axhline(0.0, c="0.55", lw=0.8, ls=(0, (4, 3)), zorder=1)
    handles, _ = ax.get_legend_handles_labels()
    sources = draw_literature(points, ax)
    if len(fronts) > MOST_IN_LEGEND and not cost.more_is_better:
        _label_fronts(fronts, ax)
        handles = []
    if handles or sources:
        ax.legend(handles=[*handles, *sources], loc=cost.empty_corner)
    return ax


def _shifted(best: pd.DataFrame, reference: float) -> pd.DataFrame:
    """Return a front whose accuracies are differences from a reference."""
    columns = [column for column in ("val_accuracy", "low", "high") if column in best]
    return best.assign(**{column: best[column] - reference for column in columns})


def _label_fronts(fronts: Mapping[str, pd.DataFrame], ax: Axes) -> None:
    """Write the name of each study at the right end of its front."""
    ends = [
        LineEnd(y=float(best["val_accuracy"].iloc[-1]), label=plain(name), colour=MARKS[place % len(MARKS)].colour)
        for place, (name, best) in enumerate(fronts.items())
    ]
    ax.set_ylim(ax.get_ylim())
    label_ends(ends, ax)
