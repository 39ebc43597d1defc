"""Empirical attainment: the front that a share of the seeds reaches."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.plots.elements.axes import nothing_to_show, set_accuracy_axis, set_cost_axis, set_cost_limits
from analysis.plots.elements.marks import MARKS, Mark
from analysis.view import EVERYTHING, View

FARTHEST = 1e18
"""Cost beyond all axes; a surface has no end at the side of high costs."""


def plot_attainment(
    surfaces: pd.DataFrame,
    ax: Axes,
    *,
    label: str = "median",
    mark: Mark = MARKS[1],
    view: View = EVERYTHING,
    source: str | None = None,
    reference: float | None = None,
) -> Axes:
    """Draw the median front over runs, and a band from the smallest to the greatest quantile.

    The band reaches from the accuracy that nearly all runs attain to that which few attain. It begins with the surface
    of the greatest quantile: at fewer bits, some runs attain nothing. Several studies can be drawn on the same axes.

    Args:
        surfaces: rows of `analysis.statistics.attainment.attainment_surfaces`, with the cost of the view, and 0.5 among
            the quantiles.
        ax: axes to draw on; returned.
        label: name of the median in the legend.
        mark: colour and line.
        view: units and names.
        source: key of `analysis.names.ACCURACY_LABELS`; None for `test` or `search`, as the surfaces' column says.
        reference: accuracy of the float baseline, where differences from it are shown.
    """
    cost = view.cost
    drawn_before = ax.get_xlim() if ax.lines else None
    set_cost_axis(ax, view)
    column, accuracy = cost.column, surfaces.columns[-1]
    set_accuracy_axis(ax, view, source or ("test" if accuracy == "test_accuracy" else "search"), reference)
    if surfaces.empty:
        return nothing_to_show(ax, "no run attains anything")
    set_cost_limits(ax, cost.of(surfaces))
    if drawn_before is not None:
        limits = (*ax.get_xlim(), *drawn_before)
        ax.set_xlim(min(limits), max(limits))
    least, greatest = surfaces["quantile"].min(), surfaces["quantile"].max()
    few, median, most = (surfaces[surfaces["quantile"] == quantile] for quantile in (least, 0.5, greatest))
    corners = np.unique([*few[column], *most[column], FARTHEST])
    corners = corners[corners >= most[column].min()]
    band = f"{least:.0%} to {greatest:.0%} of seeds"
    ax.fill_between(
        cost.convert(pd.Series(corners)),
        _height(most, column, corners),
        _height(few, column, corners),
        step="post",
        color=mark.colour,
        alpha=0.2,
        lw=0,
        label=None if band in ax.get_legend_handles_labels()[1] else band,
    )
    # Beyond all limits, which a study that is drawn later may widen.
    x = cost.convert(pd.Series([*median[column], FARTHEST], dtype=float))
    y = [*median[accuracy], median[accuracy].max()]
    ax.plot(x, y, drawstyle="steps-post", c=mark.colour, ls=mark.line, label=label)
    ax.legend(loc=cost.empty_corner)
    return ax


def _height(rows: pd.DataFrame, column: str, costs: np.ndarray) -> np.ndarray:
    """Return the height of a surface at some costs, (n,), each at least the cost of its first corner."""
    return rows[rows.columns[-1]].to_numpy()[np.searchsorted(rows[column], costs, side="right") - 1]
