"""Fronts of several studies on the same axes."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from analysis.plots.axes import nothing_to_show, set_bits_axis, staircase
from analysis.plots.style import MARKS, plain
from analysis.statistics.pareto import candidates, front


def plot_studies(studies: Mapping[str, pd.DataFrame], ax: Axes, *, label: str = "validation accuracy (search)") -> Axes:
    """Draw the front of each study as a staircase with marks, and with intervals if it has columns `low` and `high`.

    Args:
        studies: rows of trials.parquet by the study's name; for confirmed results, the rows of
            `analysis.statistics.confirmation.as_trials`.
        ax: axes to draw on; returned.
        label: label of the accuracy axis.
    """
    set_bits_axis(ax)
    ax.set_ylabel(label)
    fronts = {name: front(trials) for name, trials in studies.items()}
    fronts = {name: best for name, best in fronts.items() if not best.empty}
    if not fronts:
        return nothing_to_show(ax, "no quantized trial with its full budget")
    bits = pd.concat([candidates(trials)["bits_per_weight"] for trials in studies.values()])
    ax.set_xlim(bits.min() * 0.93, bits.max() * 1.08)
    for place, (name, best) in enumerate(fronts.items()):
        mark = MARKS[place % len(MARKS)]
        steps = best.drop_duplicates(["bits_per_weight", "val_accuracy"])
        stairs = staircase(steps["bits_per_weight"].to_numpy(), steps["val_accuracy"].to_numpy(), ax.get_xlim()[1])
        ax.plot(*stairs, drawstyle="steps-post", c=mark.colour, ls=mark.line, lw=0.9)
        points = (best["bits_per_weight"], best["val_accuracy"])
        if {"low", "high"} <= set(best.columns):
            bounded = best[best["low"].notna()]
            ends = bounded["val_accuracy"] - bounded["low"], bounded["high"] - bounded["val_accuracy"]
            x, y = bounded["bits_per_weight"], bounded["val_accuracy"]
            ax.errorbar(x, y, yerr=ends, fmt="none", ecolor=mark.colour, elinewidth=0.7, alpha=0.6)
        for places, line, text in ((points, "", None), (([], []), mark.line, plain(name))):
            ax.plot(*places, ls=line, marker=mark.marker, c=mark.colour, mec="white", mew=0.4, label=text)
    ax.legend(loc="lower right")
    return ax
