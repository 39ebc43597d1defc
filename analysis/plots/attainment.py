"""Empirical attainment: the front that a share of the seeds reaches."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.plots.axes import nothing_to_show, set_bits_axis, staircase
from analysis.plots.style import MARKS, Mark

FAR_RIGHT = 64.0
"""Bits per weight beyond all axes; a surface has no end at the right."""


def plot_attainment(surfaces: pd.DataFrame, ax: Axes, *, label: str = "median", mark: Mark = MARKS[1]) -> Axes:
    """Draw the median front over runs, and a band from the smallest to the greatest quantile.

    The band reaches from the accuracy that nearly all runs attain to that which few attain. It begins with the surface
    of the greatest quantile: at fewer bits, some runs attain nothing. Several studies can be drawn on the same axes.

    Args:
        surfaces: rows of `analysis.statistics.attainment.attainment_surfaces`, 0.5 among the quantiles.
        ax: axes to draw on; returned.
        label: name of the median in the legend.
        mark: colour and line.
    """
    set_bits_axis(ax)
    accuracy = surfaces.columns[-1]
    ax.set_ylabel("test accuracy" if accuracy == "test_accuracy" else "validation accuracy (search)")
    if surfaces.empty:
        return nothing_to_show(ax, "no run attains anything")
    bits = [surfaces["bits_per_weight"].min() * 0.95, surfaces["bits_per_weight"].max() * 1.08]
    drawn_before = ax.get_xlim() if ax.lines else bits
    ax.set_xlim(min(*bits, *drawn_before), max(*bits, *drawn_before))
    least, greatest = surfaces["quantile"].min(), surfaces["quantile"].max()
    few, median, most = (surfaces[surfaces["quantile"] == quantile] for quantile in (least, 0.5, greatest))
    corners = np.unique([*few["bits_per_weight"], *most["bits_per_weight"], FAR_RIGHT])
    corners = corners[corners >= most["bits_per_weight"].min()]
    band = f"{least:.0%} to {greatest:.0%} of seeds"
    ax.fill_between(
        corners,
        _height(most, accuracy, corners),
        _height(few, accuracy, corners),
        step="post",
        color=mark.colour,
        alpha=0.2,
        lw=0,
        label=None if band in ax.get_legend_handles_labels()[1] else band,
    )
    x, y = staircase(median["bits_per_weight"].to_numpy(), median[accuracy].to_numpy(), FAR_RIGHT)
    ax.plot(x, y, drawstyle="steps-post", c=mark.colour, ls=mark.line, label=label)
    ax.legend(loc="lower right")
    return ax


def _height(rows: pd.DataFrame, accuracy: str, bits: np.ndarray) -> np.ndarray:
    """Return the height of a surface at some bits, (n,), each at least the bits of its first corner."""
    return rows[accuracy].to_numpy()[np.searchsorted(rows["bits_per_weight"], bits, side="right") - 1]
