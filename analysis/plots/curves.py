"""Learning curves by phase, and where early stopping cut."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.levels import families_of
from analysis.plots.axes import family_mark, nothing_to_show, thinned
from analysis.plots.style import plain
from analysis.statistics.front import front
from trainables.result import FINETUNE, PRUNED, REGULARIZE

MOST_CURVES = 80
"""Curves of a crowd; those of the front are drawn beside them."""


def with_curves(trials: pd.DataFrame) -> pd.DataFrame:
    """Quantized trials that have trained an epoch."""
    return trials[trials["num_levels"].notna() & (trials["epochs"] > 0)]


def plot_curves(trials: pd.DataFrame, epochs: pd.DataFrame, ax: Axes) -> Axes:
    """Accuracy of the hard-quantized network after each epoch, in the colour of the family; those of the front thick.

    A line parts the phases. A cross ends a trial that was stopped early, and beside that epoch stands how many were
    stopped then, drawn or not. Of many trials some are drawn; the front's always are.

    Args:
        trials: rows of trials.parquet.
        epochs: of epochs.parquet: `trial_id`, `epoch`, `phase`, `val_accuracy`.
        ax: drawn on; returned.
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
    curves = {str(name): of.sort_values("epoch") for name, of in rows.groupby("trial_id")}
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


def _draw(of: pd.DataFrame, family: str, curves: dict[str, pd.DataFrame], ax: Axes, *, thick: bool) -> None:
    lines = [
        np.column_stack([curves[name]["epoch"], curves[name]["val_accuracy"]])
        for name in of["trial_id"]
        if name in curves
    ]
    mark = family_mark(family)
    look = {"lw": 1.3, "zorder": 3} if thick else {"lw": 0.5, "alpha": 0.45, "zorder": 2}
    ax.add_collection(LineCollection(lines, colors=mark.colour, linestyles=[mark.line], **look))


def _draw_phases(epochs: pd.DataFrame, ax: Axes) -> None:
    """A line between the last epoch of one phase and the first of the other, and their names above the axes."""
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
    """A cross where a curve was cut, and how many were, of all trials, beside the epoch."""
    stopped = quantized[quantized["state"] == PRUNED]
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
    last = [curves[name].iloc[-1] for name in shown.loc[shown["state"] == PRUNED, "trial_id"] if name in curves]
    if last:
        ends = pd.DataFrame(last)
        ax.plot(ends["epoch"], ends["val_accuracy"], "x", c="0.2", ms=3, mew=0.7, zorder=4)


def _legend(quantized: pd.DataFrame, shown: pd.DataFrame, rest: pd.DataFrame, ax: Axes) -> None:
    handles = [
        Line2D([], [], c=family_mark(family).colour, ls=family_mark(family).line, label=plain(family))
        for family in families_of(quantized["family"])
    ]
    if (quantized["state"] == PRUNED).any():
        handles.append(Line2D([], [], ls="", marker="x", c="0.2", ms=3, label="stopped early"))
    if len(shown) < len(rest):
        handles.append(Line2D([], [], ls="", label=f"{len(shown):,} of {len(rest):,} drawn"))
    ax.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.06), ncols=4)
