"""Plots of DataFrames. Each plot takes the axes to draw on and returns them; none opens or saves a figure."""

from analysis.plots.attainment import plot_attainment
from analysis.plots.comparison import plot_gains, plot_improvements
from analysis.plots.confirmed import plot_confirmed
from analysis.plots.curves import plot_curves
from analysis.plots.difference import plot_difference
from analysis.plots.front import plot_front
from analysis.plots.hypervolume import plot_hypervolume
from analysis.plots.importance import plot_importances
from analysis.plots.layers import plot_layers
from analysis.plots.studies import plot_studies

__all__ = [
    "plot_attainment",
    "plot_confirmed",
    "plot_curves",
    "plot_difference",
    "plot_front",
    "plot_gains",
    "plot_hypervolume",
    "plot_importances",
    "plot_improvements",
    "plot_layers",
    "plot_studies",
]
