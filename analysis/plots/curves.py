"""Learning curves by phase, with the epochs at which trials were stopped early."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.plots.elements.axes import nothing_to_show, set_accuracy_axis, thinned
from analysis.plots.elements.labels import MOST_IN_LEGEND, LineEnd, label_ends
from analysis.plots.elements.marks import family_mark
from analysis.plots.elements.style import plain
from analysis.statistics.pareto import float_baseline, front
from analysis.view import EVERYTHING, View
from trainables.result import FINETUNE, REGULARIZE, TrialState

MOST_CURVES = 80
"""Greatest number of curves in a crowd; those of the front are drawn too."""


def with_curves(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the quantized trials that have trained at least one epoch."""
    return trials[trials["num_levels"].notna() & (trials["epochs"] > 0)]


def plot_curves(
    trials: pd.DataFrame, epochs: pd.DataFrame, ax: Axes, *, view: View = EVERYTHING, source: str = "search"
) -> Axes:
    """Draw the accuracy of the hard-quantized network after each epoch, by family; curves of the front are thick.

    A vertical line separates the phases. A cross ends the curve of a trial that was stopped early, and a number beside
    the epoch counts all trials that were stopped there. A crowd is thinned; curves of the front are always drawn.

    Args:
        trials: rows of trials.parquet.
        epochs: columns of epochs.parquet: `trial_id`, `epoch`, `phase`, `val_accuracy`.
        ax: axes to draw on; returned.
        view: unit of the accuracy, names, and the phases to show.
        source: as in `plot_front`.
    """
    ax.set_xlabel("epoch")
    set_accuracy_axis(ax, view, source, float_baseline(trials))
    epochs = epochs[epochs["phase"].isin(list(view.phases))]
    quantized = with_curves(trials)
    best = front(trials)
    rest = quantized[~quantized.index.isin(best.index)]
    shown = thinned(rest, MOST_CURVES)
    rows = epochs[epochs["trial_id"].isin([*shown["trial_id"], *best["trial_id"]]) & epochs["val_accuracy"].notna()]
    if rows.empty:
        return nothing_to_show(ax, "no epoch of a quantized trial")
    curves = {str(name): curve.sort_values("epoch") for name, curve in rows.groupby("trial_id")}
    families = view.names.order(quantized.loc[quantized["trial_id"].isin(curves.keys()), "family"])
    for family in families:
        _draw(shown[shown["family"] == family], family, curves, ax, thick=False)
        _draw(best[best["family"] == family], family, curves, ax, thick=True)
    _draw_phases(epochs, ax)
    _draw_cuts(quantized, shown, curves, ax)
    low, high = rows["val_accuracy"].min(), rows["val_accuracy"].max()
    ax.set_xlim(rows["epoch"].min() - 0.5, rows["epoch"].max() + 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylim(max(low - 0.05 * (high - low), -0.02), high + 0.05 * max(high - low, 0.02))
    extra = _other_handles(quantized, shown, rest)
    if len(families) > MOST_IN_LEGEND:
        _label_families(quantized, families, curves, ax, view)
    else:
        extra = [*_family_handles(families, view), *extra]
    if extra:
        ax.legend(handles=extra, loc="lower center", bbox_to_anchor=(0.5, 1.06), ncols=4)
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


def _label_families(
    quantized: pd.DataFrame, families: list[str], curves: dict[str, pd.DataFrame], ax: Axes, view: View
) -> None:
    """Write the label of each family at the end of its best curve."""
    last = {name: (curve["epoch"].iloc[-1], curve["val_accuracy"].iloc[-1]) for name, curve in curves.items()}
    ends = []
    for family in families:
        names = [name for name in quantized.loc[quantized["family"] == family, "trial_id"] if name in last]
        _, accuracy = max(last[name] for name in names)  # of the longest curves, the best
        label, colour = plain(view.names.family(family)), family_mark(family).colour
        ends.append(LineEnd(y=float(accuracy), label=label, colour=colour))
    label_ends(ends, ax)


def _family_handles(families: list[str], view: View) -> list[Line2D]:
    handles = []
    for family in families:
        mark, label = family_mark(family), plain(view.names.family(family))
        handles.append(Line2D([], [], c=mark.colour, ls=mark.line, label=label))
    return handles


def _other_handles(quantized: pd.DataFrame, shown: pd.DataFrame, rest: pd.DataFrame) -> list[Line2D]:
    """Return entries of the legend for stopped trials, and for curves that are left out."""
    handles = []
    if (quantized["state"] == TrialState.PRUNED).any():
        handles.append(Line2D([], [], ls="", marker="x", c="0.2", ms=3, label="stopped early"))
    if len(shown) < len(rest):
        handles.append(Line2D([], [], ls="", label=f"{len(shown):,} of {len(rest):,} drawn"))
    return handles
