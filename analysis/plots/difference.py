"""Difference of the attainment of two families."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle

from analysis.plots.elements.axes import nothing_to_show, set_accuracy_axis, set_cost_axis
from analysis.plots.elements.marks import family_mark
from analysis.plots.elements.style import plain
from analysis.view import EVERYTHING, View

SHADES = ((1.0, 0.9), (0.75, 0.65), (0.5, 0.4), (0.25, 0.2))
"""Largest share of runs of a class, and the opacity of its colour."""


def plot_difference(
    differences: pd.DataFrame,
    ax: Axes,
    *,
    families: tuple[str, str],
    view: View = EVERYTHING,
    split: str = "test",
    reference: float | None = None,
) -> Axes:
    """Draw where more runs of the first family attain an accuracy at a cost than of the second.

    The darker a region, the greater the difference of the shares of runs. For the opposite, exchange the families and
    negate the differences, on other axes.

    Args:
        differences: rectangles of `analysis.statistics.attainment.attainment_difference`, with the cost of the view.
        ax: axes to draw on; returned.
        families: the family that is better in the regions that are drawn, and the other.
        view: units and names.
        split: split of the accuracies.
        reference: accuracy of the float baseline, where differences from it are shown.
    """
    better, other = families
    set_cost_axis(ax, view)
    set_accuracy_axis(ax, view, split, reference)
    ax.set_title(f"{plain(view.names.family(better))} over {plain(view.names.family(other))}")
    if differences.empty:
        return nothing_to_show(ax, "both attain the same")
    costs = view.cost.convert(_finite(differences, "cost"))
    heights = _finite(differences, "accuracy")
    margin = max((costs.max() / costs.min()) ** 0.1, 1.1)
    ax.set_xlim(costs.min() / margin, costs.max() * margin)
    height = max(float(np.ptp(heights)), 0.01)
    ax.set_ylim(heights.min() - 0.1 * height, heights.max() + 0.1 * height)
    drawn = differences[differences["difference"] > 0]
    if drawn.empty:
        return nothing_to_show(ax, "nowhere")
    colour = family_mark(better).colour
    for _, region in drawn.iterrows():
        left, right = np.sort(np.clip(_shown_costs(region, view), *ax.get_xlim()))
        low, high = np.clip([region["accuracy_low"], region["accuracy_high"]], *ax.get_ylim())
        opacity = _opacity(region["difference"])
        ax.add_patch(Rectangle((left, low), right - left, high - low, fc=colour, alpha=opacity, lw=0))
    classes = [share for share, opacity in SHADES if (drawn["difference"].map(_opacity) == opacity).any()]
    handles = [Patch(fc=colour, alpha=_opacity(share), lw=0, label=f"up to {share:.0%}") for share in classes]
    ax.legend(handles=handles, title="more of the seeds", loc=view.cost.empty_corner)
    return ax


def _finite(differences: pd.DataFrame, name: str) -> pd.Series:
    """Return all finite ends of the rectangles in one direction."""
    ends = pd.concat([differences[f"{name}_low"], differences[f"{name}_high"]])
    return ends[np.isfinite(ends)]


def _shown_costs(region: pd.Series, view: View) -> np.ndarray:
    """Return the left and the right end of a rectangle, in any order, as the x axis shows them."""
    costs = pd.Series([region["cost_low"], min(region["cost_high"], 1e18)])
    return view.cost.convert(costs).to_numpy(dtype=float)


def _opacity(difference: float) -> float:
    """Return the opacity of a region, by the class of its difference."""
    return [opacity for share, opacity in SHADES if difference <= share + 1e-9][-1]
