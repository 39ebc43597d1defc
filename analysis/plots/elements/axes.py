"""Shared parts of plots: axes of costs, of accuracy and of levels, thinned crowds, staircases."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, Locator, MaxNLocator, NullLocator

from analysis.costs import Cost
from analysis.levels import shown_levels
from analysis.names import ACCURACY_LABELS
from analysis.plots.elements.style import plain
from analysis.view import View

MOST_DRAWN = 2_000
"""Greatest number of marks in a crowd. More would hide each other, and make a vector figure of many megabytes."""

FEWEST_TICKS, MOST_TICKS = 2, 8
"""Smallest and greatest number of labels on an axis of a cost."""


def thinned(rows: pd.DataFrame, most: int = MOST_DRAWN) -> pd.DataFrame:
    """Return the rows, or a sample of `most` of them, which is the same for the same rows."""
    if len(rows) <= most:
        return rows
    chosen = np.sort(np.random.default_rng(0).choice(len(rows), most, replace=False))
    return rows.iloc[chosen]


class CostLocator(Locator):
    """Places of the labels on a logarithmic axis of a cost, whatever part of it is shown."""

    def __init__(self, cost: Cost) -> None:
        """Create the locator of a cost."""
        self.cost = cost

    def __call__(self) -> list[float]:
        """Return the places within the limits of the axis."""
        return self.tick_values(*self.axis.get_view_interval())  # type: ignore[union-attr]

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """Return places between two values: the ticks of the cost, powers with simple multiples, or even distances."""
        low, high = sorted((vmin, vmax))
        exponents = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
        powers = 10.0**exponents
        candidates = (
            np.array(self.cost.ticks, dtype=float),
            np.sort(np.outer((1, 2, 5), powers).ravel()),
            powers,
            powers[::2],
        )
        for places in candidates:
            within = places[(places >= low) & (places <= high)]
            if FEWEST_TICKS <= len(within) <= MOST_TICKS:
                return within.tolist()
        ticks = candidates[0]
        within = ticks[(ticks >= low) & (ticks <= high)]
        if len(within) > MOST_TICKS:
            simple = within[np.log2(within) % 1 == 0]
            return simple[:: int(np.ceil(len(simple) / MOST_TICKS))].tolist()
        return list(MaxNLocator(4).tick_values(low, high))


def set_cost_axis(ax: Axes, view: View) -> None:
    """Make the x axis one of the cost of a view, logarithmic."""
    cost = view.cost
    ax.set_xscale("log", base=cost.base)
    ax.xaxis.set_major_locator(CostLocator(cost))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    custom = view.names.labels.get(view.cost_name)
    ax.set_xlabel(cost.label if custom is None else plain(custom))


class PointsLocator(MaxNLocator):
    """Places of labels on an axis of accuracies that shows differences from a reference, in percentage points."""

    def __init__(self, reference: float) -> None:
        """Create the locator.

        Args:
            reference: the accuracy that is shown as 0.
        """
        super().__init__(nbins=6, steps=[1, 2, 2.5, 5, 10])
        self.reference = reference

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """Return places between two accuracies."""
        points = super().tick_values(*(100 * (value - self.reference) for value in (vmin, vmax)))
        return (self.reference + np.asarray(points) / 100).tolist()


def set_accuracy_axis(ax: Axes, view: View, source: str, reference: float | None = None) -> None:
    """Label the y axis as accuracy, or as its difference from the float baseline.

    Args:
        ax: axes to change; its y coordinates are accuracies in any case.
        view: whether differences are shown, and labels.
        source: key of `analysis.names.ACCURACY_LABELS`.
        reference: accuracy of the float baseline; needed for differences.
    """
    label = ACCURACY_LABELS[source]
    if view.loss and reference is not None:
        label = rf"$\Delta$ {label.replace(' (', ' (points, ') if '(' in label else f'{label} (points)'}"
        ax.yaxis.set_major_locator(PointsLocator(reference))
        ax.yaxis.set_major_formatter(
            FuncFormatter(lambda accuracy, _: f"{round(100 * (accuracy - reference), 6) + 0.0:g}".replace("-", "−"))
        )
    custom = view.names.labels.get(source)
    ax.set_ylabel(label if custom is None else plain(custom))


def set_levels_axis(ax: Axes, levels: pd.Series) -> list[int]:
    """Make the x axis one of values of K, at 0, 1, 2, …; return the values that are shown.

    Args:
        ax: axes to change.
        levels: all values of K, repeats allowed; the axis label says if some are left out.
    """
    shown, count = shown_levels(levels), levels.nunique()
    ax.set_xticks(range(len(shown)), [f"{value}" for value in shown])
    ax.set_xlim(-0.6, max(len(shown) - 0.4, 0.6))
    left_out = f" ({len(shown)} of {count} values)" if len(shown) < count else ""
    ax.set_xlabel(f"levels per layer $K${left_out}")
    return shown


def dodged(place: int, member: int, members: int, width: float = 0.6) -> float:
    """Return the x of a member of a group, which stands beside the others.

    Args:
        place: x of the group.
        member: index of the member, in [0, members).
        members: size of the group.
        width: width of the group.
    """
    return place + width * ((member + 0.5) / max(members, 1) - 0.5)


def set_cost_limits(ax: Axes, costs: pd.Series) -> None:
    """Set limits of the x axis a little beyond the costs."""
    low, high = costs.min(), costs.max()
    margin = max((high / low) ** 0.03, 1.07)
    ax.set_xlim(low / margin, high * margin)


def staircase(costs: pd.Series, accuracies: pd.Series, ax: Axes, cost: Cost) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of a front, for steps of style `steps-post`, extended to the edge of the axes.

    Args:
        costs: (n,), from the best to the worst, as shown on the x axis.
        accuracies: (n,), not falling.
        ax: axes whose x limits are set; the front ends at the side of the worst costs.
        cost: measure on the x axis.

    Returns:
        x and y, (n + 1,) each; empty for an empty front.
    """
    x, y = costs.to_numpy(dtype=float), accuracies.to_numpy(dtype=float)
    if len(x) == 0:
        return np.empty(0), np.empty(0)
    low, high = ax.get_xlim()
    edge = min(low, x[-1]) if cost.more_is_better else max(high, x[-1])
    return np.append(x, edge), np.append(y, y[-1])


def nothing_to_show(ax: Axes, reason: str) -> Axes:
    """Write the reason why axes are empty on them; return them."""
    ax.text(0.5, 0.5, reason, transform=ax.transAxes, ha="center", va="center", color="0.4", wrap=True)
    return ax
