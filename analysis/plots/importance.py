"""Importance of the hyperparameters for each objective."""

import pandas as pd
from matplotlib.axes import Axes

from analysis.plots.elements.axes import nothing_to_show
from analysis.plots.elements.style import plain

NAMES = {"num_levels": "levels $K$", "lam": r"strength $\lambda$", "family": "family", "placement": "placement"}
OBJECTIVES = {
    "val_accuracy": ("accuracy", "#0072B2", ""),
    "bits_per_weight": ("bits per weight", "#E69F00", "////"),
}


def plot_importances(importances: pd.DataFrame, ax: Axes) -> Axes:
    """Draw a bar for each hyperparameter and objective: the share of the objective's variance that it explains alone.

    Args:
        importances: columns `objective`, `parameter`, `importance`; shares in [0, 1].
        ax: axes to draw on; returned.
    """
    ax.set_xlabel("share of the variance explained (fANOVA)")
    ax.grid(visible=False, axis="y")
    ax.grid(visible=True, axis="x")
    if importances.empty:
        return nothing_to_show(ax, "too few finished trials")
    order = importances.groupby("parameter")["importance"].max().sort_values().index.tolist()
    shown = [name for name in OBJECTIVES if name in set(importances["objective"])]
    height = 0.7 / len(shown)
    for place, objective in enumerate(shown):
        label, colour, hatch = OBJECTIVES[objective]
        shares = importances[importances["objective"] == objective].set_index("parameter")["importance"].reindex(order)
        at = [row + 0.35 - height * (place + 0.5) for row in range(len(order))]
        ax.barh(at, shares.fillna(0.0), height * 0.9, color=colour, hatch=hatch, ec="white", lw=0, label=label)
    ax.set_yticks(range(len(order)), [NAMES.get(name, plain(name.replace("_", " "))) for name in order])
    ax.tick_params(axis="y", length=0)
    ax.set_xlim(0, 1)
    ax.legend(loc="lower right")
    return ax
