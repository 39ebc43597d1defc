"""Points from the literature, beside those of a study."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.literature import shown_points
from analysis.plots.elements.style import plain
from analysis.view import View

EDGE = "0.3"


def literature_points(view: View, reference: float | None) -> pd.DataFrame:
    """Return the points that can be shown in the units of a view: columns `x`, `y`, `number` and `citation`.

    Args:
        view: units, and the points.
        reference: accuracy of the study's float baseline. If differences are shown, a point lies as far from it as from
            the float baseline of its own source.

    Returns:
        Points with this cost, and with a float accuracy if differences are shown. Points of the same citation have the
        same number, from 1.
    """
    if view.literature is None:
        return pd.DataFrame(columns=["x", "y", "number", "citation"])
    rows = view.literature[shown_points(view.literature, view.cost, view.loss)]
    accuracy = rows["accuracy"]
    if view.loss:
        accuracy = accuracy - rows["float_accuracy"] + (0.0 if reference is None else reference)
    points = pd.DataFrame({"x": view.cost.of(rows), "y": accuracy, "citation": rows["citation"]})
    points["number"] = pd.factorize(points["citation"])[0] + 1
    return points


def draw_literature(points: pd.DataFrame, ax: Axes) -> list[Line2D]:
    """Draw each point as a number in a square box; return entries of a legend that name the sources."""
    for _, point in points.iterrows():
        ax.annotate(
            str(point["number"]),
            (point["x"], point["y"]),
            ha="center",
            va="center",
            fontsize="small",
            bbox={"boxstyle": "square,pad=0.25", "facecolor": "white", "edgecolor": EDGE, "linewidth": 0.6},
            zorder=6,
            gid="literature",
        )
    sources = points.drop_duplicates("number")
    return [
        Line2D([], [], ls="", marker=f"${number}$", c=EDGE, ms=5, mew=0, label=plain(f"{citation} (test)"))
        for number, citation in zip(sources["number"], sources["citation"], strict=True)
    ]
