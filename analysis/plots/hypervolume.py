"""Hypervolume that searches have reached, over the time that their trials took."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from analysis.plots.elements.axes import nothing_to_show
from analysis.plots.elements.labels import MOST_IN_LEGEND, LineEnd, label_ends
from analysis.plots.elements.marks import MARKS
from analysis.plots.elements.style import plain
from analysis.statistics.search_progress import FEW_RUNS


def plot_hypervolume(bands: Mapping[str, pd.DataFrame], ax: Axes) -> Axes:
    """Draw the hypervolume of searches over the time of training, with bands over runs with other seeds.

    Args:
        bands: results of `analysis.statistics.search_progress.hypervolume_band`, by the name of the search.
        ax: axes to draw on; returned.
    """
    longest = max((band["hours"].max() for band in bands.values() if len(band)), default=1.0)
    unit, per_hour = ("hours", 1) if longest >= 1 else ("minutes", 60)
    ax.set_xlabel(f"{unit} of training, all trials")
    ax.set_ylabel("hypervolume")
    bands = {name: band for name, band in bands.items() if len(band) and band["median"].max() > 0}
    if not bands:
        return nothing_to_show(ax, "no quantized trial with its full budget")
    ends = []
    for place, (name, band) in enumerate(bands.items()):
        mark = MARKS[place % len(MARKS)]
        runs = int(band["runs"].iloc[0])
        label = plain(name) + (f" ({runs} seeds)" if runs > 1 else "")
        times = per_hour * band["hours"]
        ax.step(times, band["median"], where="post", c=mark.colour, ls=mark.line, label=label)
        if runs > 1:
            ax.fill_between(times, band["low"], band["high"], step="post", color=mark.colour, alpha=0.2, lw=0)
        ends.append(LineEnd(y=float(band["median"].iloc[-1]), label=label, colour=mark.colour))
    greatest = max(band["high"].max() for band in bands.values())
    first = min(band.loc[band["median"] > 0, "median"].min() for band in bands.values())
    height = max(greatest - first, 0.01 * greatest)
    ax.set_ylim(max(first - 0.1 * height, 0.0), greatest + 0.05 * height)
    ax.set_xlim(0, 1.02 * per_hour * longest)
    if len(bands) > MOST_IN_LEGEND:
        label_ends(ends, ax)
    elif len(bands) > 1 or next(iter(bands.values()))["runs"].iloc[0] > 1:
        ax.legend(handles=[*ax.get_legend_handles_labels()[0], *_spreads(bands)], loc="lower right")
    return ax


def _spreads(bands: Mapping[str, pd.DataFrame]) -> list[Patch]:
    """Return one entry of a legend for each kind of band, which says what lies within it."""
    runs = {int(band["runs"].iloc[0]) for band in bands.values()}
    kinds = {"least to greatest": any(1 < count < FEW_RUNS for count in runs), "quartiles": max(runs) >= FEW_RUNS}
    return [Patch(fc="0.5", alpha=0.4, lw=0, label=kind) for kind, drawn in kinds.items() if drawn]
