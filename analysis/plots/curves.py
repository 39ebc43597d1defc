"""Learning curves by phase, with the epochs at which trials were stopped early."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.levels import families_of
from analysis.plots.axes import family_mark, nothing_to_show, thinned
from analysis.plots.style import plain
from analysis.statistics.pareto import front
from trainables.result import FINETUNE, REGULARIZE, TrialState

MOST_CURVES = 80
"""Greatest number of curves in a crowd; those of the front are drawn too."""


def with_curves(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the quantized trials that have trained at least one epoch."""
    return trials[trials["num_levels"].notna() & (trials["epochs"] > 0)]


def plot_curves(trials: pd.DataFrame, epochs: pd.DataFrame, ax: Axes) -> Axes:
    """Draw the accuracy of the hard-quantized network after each epoch, by family; curves of the front are thick.

    A vertical line separates the phases. A cross ends the curve of a trial that was stopped early, and a number beside
    the epoch counts all trials that were stopped there. A crowd is thinned; curves of the front are always drawn.

    Args:
        trials: rows of trials.parquet.
        epochs: columns of epochs.parquet: `trial_id`, `epoch`, `phase`, `val_accuracy`.
        ax: axes to draw on; returned.
    """
    ax.set_xlabel("epoch")
    ax.set_ylabel("validation accuracy (search)")
    quantized = with_curves(trials)
    best = front(trials)
    rest = quantized[~quantized.index.isin(best.index)]
    shown = thinned(rest, MOST_CURVES)
    rows = epochs[epochs["trial_id"].isin([*shown["trial_id"], *best["trial_id"]]) & epochs["val_accuracy"].notna()]
    if rows.empty:
        return nothing_to_show(ax, "no epoch of a quantized trial")
    curves = {str(name): curve.sort_values("epoch") for name, curve in rows.groupby("trial_id")}
    for family in families_of(quantized["family"]):
        _draw(shown[shown["family"] == family], family, curves, ax, thick=False)
        _draw(best[best["family"] == family], family, curves, ax, thick=True)
    _draw_phases(epochs, ax)
    _draw_cuts(quantized, shown, curves, ax)
    low, high = rows["val_accuracy"].min(), rows["val_accuracy"].max()
    ax.set_xlim(0.5, rows["epoch"].max() + 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylim(max(low - 0.05 * (high - low), -0.02), high + 0.05 * max(high - low, 0.02))
    _legend(quantized, shown, rest, ax)
    return ax


def _draw(trials: pd.DataFrame, family: str, curves: dict[str, pd.DataFrame], ax: Axes, *, thick: bool) -> None:
    lines = [
        np.column_stack([curves[name]["epoch"], curves[name]["val_accuracy"]])
        for name in trials["trial_id"]
        if name in curves
    ]
    mark = family_mark(family)
    appearance = {"lw": 1.3, "zorder": 3} if thick else {"lw": 0.5, "alpha": 0.45, "zorder": 2}
    ax.add_collection(LineCollection(lines, colors=mark.colour, linestyles=[mark.line], **appearance))


def _draw_phases(epochs: pd.DataFrame, ax: Axes) -> None:
    """Draw a line between the phases, and their names above the axes."""
    first = epochs.loc[epochs["phase"] == FINETUNE, "epoch"].min()
    if pd.notna(first):
        ax.axvline(first - 0.5, c="0.55", lw=0.8, ls=(0, (4, 3)), zorder=1)
    for phase, place, side in ((REGULARIZE, 0.0, "left"), (FINETUNE, 1.0, "right")):
        if (epochs["phase"] == phase).any():
            ax.annotate(
                phase,
                (place, 1.0),
                xycoords="axes fraction",
                xytext=(0, 2),
                textcoords="offset points",
                ha=side,
                fontsize="small",
                color="0.4",
            )


def _draw_cuts(quantized: pd.DataFrame, shown: pd.DataFrame, curves: dict[str, pd.DataFrame], ax: Axes) -> None:
    """Draw a cross where a curve was stopped, and beside the epoch how many trials were, drawn or not."""
    stopped = quantized[quantized["state"] == TrialState.PRUNED]
    for epoch, count in zip(*np.unique(stopped["epochs"], return_counts=True), strict=True):
        ax.annotate(
            f"{count:,} stopped",
            (epoch, 0.0),
            xycoords=("data", "axes fraction"),
            xytext=(3, 4),
            textcoords="offset points",
            rotation=90,
            fontsize="small",
            color="0.2",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
            zorder=5,
        )
    last = [
        curves[name].iloc[-1] for name in shown.loc[shown["state"] == TrialState.PRUNED, "trial_id"] if name in curves
    ]
    if last:
        ends = pd.DataFrame(last)
        ax.plot(ends["epoch"], ends["val_accuracy"], "x", c="0.2", ms=3, mew=0.7, zorder=4)


def _legend(quantized: pd.DataFrame, shown: pd.DataFrame, rest: pd.DataFrame, ax: Axes) -> None:
    handles = [
        Line2D([], [], c=family_mark(family).colour, ls=family_mark(family).line, label=plain(family))
        for family in families_of(quantized["family"])
    ]
    if (quantized["state"] == TrialState.PRUNED).any():
        handles.append(Line2D([], [], ls="", marker="x", c="0.2", ms=3, label="stopped early"))
    if len(shown) < len(rest):
        handles.append(Line2D([], [], ls="", label=f"{len(shown):,} of {len(rest):,} drawn"))
    ax.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.06), ncols=4)
