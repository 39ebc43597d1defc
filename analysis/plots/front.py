"""Accuracy against cost: the trials of a search."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.plots.elements.axes import (
    nothing_to_show,
    set_accuracy_axis,
    set_cost_axis,
    set_cost_limits,
    staircase,
    thinned,
)
from analysis.plots.elements.legends import family_handles
from analysis.plots.elements.literature import draw_literature, literature_points
from analysis.plots.elements.marks import Line, family_mark
from analysis.statistics.family_gains import VALIDATION
from analysis.statistics.pareto import candidates, float_baseline, front, knee
from analysis.statistics.stages import AFTER_TUNING, Stage
from analysis.view import EVERYTHING, View

GREY = "0.45"

DOTTED: Line = (0, (1, 1.5))

MOST_BESIDE = 4
"""Greatest number of families whose legend stands within the axes."""


def plot_front(
    trials: pd.DataFrame,
    ax: Axes,
    *,
    stage: Stage = AFTER_TUNING,
    view: View = EVERYTHING,
    source: str = "search",
) -> Axes:
    """Draw validation accuracy against cost of a search: its trials, its front, and the knee.

    Each complete trial has a mark, a faint one if another trial beats it in both. A crowd of faint marks is thinned,
    and the legend says so. The front is a staircase, its knee has a ring, the float baseline is a dashed line. Trials
    far below the front lie below the axes, and a number counts them.

    Args:
        trials: rows of trials.parquet.
        ax: axes to draw on; returned.
        stage: moment at which accuracy was measured.
        view: units and names; points from the literature are drawn after tuning.
        source: key of `analysis.names.ACCURACY_LABELS`: `search`, or `trials` for those of a plan.
    """
    trials = stage.at(trials, VALIDATION)
    cost, baseline = view.cost, float_baseline(trials)
    set_cost_axis(ax, view)
    set_accuracy_axis(ax, view, source, baseline)
    complete, best = candidates(trials), front(trials, cost.column)
    if best.empty:
        return nothing_to_show(ax, reason_of_no_front(complete, view))
    complete = complete[complete[cost.column].notna()]
    beaten = complete[~complete.index.isin(best.index)]
    crowd = thinned(beaten)
    for rows, appearance in (
        (crowd, {"s": 9, "alpha": 0.3, "lw": 0, "zorder": 2}),
        (best, {"s": 20, "ec": "white", "lw": 0.5, "zorder": 3}),
    ):
        for family in view.names.order(rows["family"]):
            mark, chosen = family_mark(family), rows[rows["family"] == family]
            ax.scatter(cost.of(chosen), chosen["val_accuracy"], c=mark.colour, marker=mark.marker, **appearance)
    points = literature_points(view, baseline) if stage == AFTER_TUNING else literature_points(EVERYTHING, None)
    seen = [best["val_accuracy"], points["y"].astype(float)]
    frame(ax, pd.concat([cost.of(complete), points["x"].astype(float)]), pd.concat(seen), complete, baseline)
    draw_staircase(best, ax, view, colour="0.35", line="-")
    draw_knee(knee(trials, cost.column), ax, view)
    draw_baseline(baseline, ax)
    extra = []
    if len(crowd) < len(beaten):
        label = f"beaten ({len(crowd):,} of {len(beaten):,})"
        extra = [Line2D([], [], ls="", marker="o", c=GREY, alpha=0.4, mew=0, label=label)]
    extra += draw_literature(points, ax)
    families = view.names.order(complete["family"])
    if len(families) + len(extra) <= MOST_BESIDE:
        where: dict[str, Any] = {"loc": cost.empty_corner}
    else:
        where = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 4}
    draw_legend(families, ax, view, extra, **where)
    return ax


def reason_of_no_front(complete: pd.DataFrame, view: View) -> str:
    """Return why there is no front: no complete trial, or none whose cost was recorded."""
    if complete.empty:
        return "no quantized trial with its full budget"
    return f"no trial has recorded its {view.cost.label}"


def frame(ax: Axes, costs: pd.Series, accuracies: pd.Series, crowd: pd.DataFrame, baseline: float | None) -> None:
    """Set limits that contain costs, accuracies and the float baseline; count the `crowd` that lies below them."""
    set_cost_limits(ax, costs)
    seen = accuracies if baseline is None else np.append(accuracies, baseline)
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
            bbox={"fc": "white", "alpha": 0.8, "lw": 0, "pad": 0.5},
            zorder=6,  # above marks in the corner
        )


def draw_staircase(best: pd.DataFrame, ax: Axes, view: View, *, colour: str, line: Line) -> None:
    """Draw a front as a staircase; the limits of the axes are set."""
    cost = view.cost
    steps = best.drop_duplicates([cost.column, "val_accuracy"])
    x, y = staircase(cost.of(steps), steps["val_accuracy"], ax, cost)
    ax.plot(x, y, drawstyle="steps-post", c=colour, lw=0.8, ls=line, zorder=2)


def draw_knee(at: pd.Series | None, ax: Axes, view: View, beside: float = 1.0) -> None:
    """Draw a ring around the knee, if there is one, at `beside` times its cost."""
    if at is None:
        return
    x = float(view.cost.of(at.to_frame().T).iloc[0])
    ax.scatter(x * beside, at["val_accuracy"], s=70, facecolors="none", edgecolors="0.2", lw=0.8, zorder=5)


def draw_baseline(accuracy: float | None, ax: Axes) -> None:
    """Draw the accuracy of the float baseline as a dashed line, if it is known."""
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


def draw_legend(families: list[str], ax: Axes, view: View, extra: list[Line2D], **where: Any) -> None:
    """Draw a legend of families, the ring of the knee, and further entries."""
    ring = Line2D([], [], ls="", marker="o", ms=7, mfc="none", mec="0.2", mew=0.8, label="knee")
    ax.legend(handles=[*family_handles(families, view), ring, *extra], **where)
