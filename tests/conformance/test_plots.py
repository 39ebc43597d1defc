"""Promises that every plot keeps."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from analysis.plots import (
    plot_attainment,
    plot_confirmed,
    plot_curves,
    plot_difference,
    plot_front,
    plot_gains,
    plot_hypervolume,
    plot_importances,
    plot_improvements,
    plot_layers,
    plot_studies,
)
from analysis.statistics.attainment import attainment_surfaces
from analysis.statistics.confirmation import confirmed
from analysis.statistics.family_gains import gains, improvements
from analysis.statistics.search_progress import hypervolume_band, hypervolume_over_cost
from tests.support.example_plots import CONFIRMATION, FAMILY_TABLE, IMPORTANCES, RESULTS, epochs_of, legend, texts
from tests.support.example_studies import trials_frame
from trainables.result import FINETUNE, REGULARIZE

RIVALS = pd.DataFrame(
    {"cost_low": [1.0], "cost_high": [np.inf], "accuracy_low": [0.5], "accuracy_high": [0.7], "difference": [0.5]}
)
SEARCH = FAMILY_TABLE.assign(train_seconds=60.0)


EVERY_PLOT: dict[str, Callable[[Axes], Axes]] = {
    "front": lambda ax: plot_front(FAMILY_TABLE, ax),
    "confirmed": lambda ax: plot_confirmed(RESULTS, ax, FAMILY_TABLE),
    "attainment": lambda ax: plot_attainment(attainment_surfaces(CONFIRMATION, accuracy="test_accuracy"), ax),
    "difference": lambda ax: plot_difference(RIVALS, ax, families=("RE", "none")),
    "hypervolume": lambda ax: plot_hypervolume({"one": hypervolume_band([hypervolume_over_cost(SEARCH)])}, ax),
    "gains": lambda ax: plot_gains(gains(CONFIRMATION, split="test"), ax, phase=REGULARIZE),
    "improvements": lambda ax: plot_improvements(improvements(CONFIRMATION, split="test"), ax, phase=FINETUNE),
    "curves": lambda ax: plot_curves(FAMILY_TABLE, epochs_of(FAMILY_TABLE), ax),
    "importances": lambda ax: plot_importances(IMPORTANCES, ax),
    "layers": lambda ax: plot_layers(FAMILY_TABLE, ax),
    "studies": lambda ax: plot_studies({"one": FAMILY_TABLE, "another": FAMILY_TABLE.iloc[:4]}, ax),
}


NO_TRIAL = trials_frame()


EVERY_EMPTY_PLOT: dict[str, Callable[[Axes], Axes]] = {
    "front": lambda ax: plot_front(NO_TRIAL, ax),
    "confirmed": lambda ax: plot_confirmed(confirmed(NO_TRIAL, NO_TRIAL), ax),
    "attainment": lambda ax: plot_attainment(attainment_surfaces(NO_TRIAL), ax),
    "difference": lambda ax: plot_difference(RIVALS[:0], ax, families=("RE", "none")),
    "hypervolume": lambda ax: plot_hypervolume({}, ax),
    "gains": lambda ax: plot_gains(gains(NO_TRIAL), ax, phase=REGULARIZE),
    "improvements": lambda ax: plot_improvements(improvements(NO_TRIAL), ax, phase=REGULARIZE),
    "curves": lambda ax: plot_curves(NO_TRIAL, epochs_of(NO_TRIAL), ax),
    "importances": lambda ax: plot_importances(IMPORTANCES[:0], ax),
    "layers": lambda ax: plot_layers(NO_TRIAL, ax),
    "studies": lambda ax: plot_studies({"one": NO_TRIAL}, ax),
}


@pytest.mark.parametrize("plot", EVERY_PLOT.values(), ids=EVERY_PLOT)
def test_plot_returns_the_axes_that_it_draws_on_and_names_both_of_them(plot: Callable[[Axes], Axes], ax: Axes) -> None:
    assert plot(ax) is ax
    assert ax.get_xlabel()
    assert ax.get_ylabel() or len(ax.get_yticklabels())
    assert ax.lines or ax.collections or ax.patches


@pytest.mark.parametrize("plot", EVERY_EMPTY_PLOT.values(), ids=EVERY_EMPTY_PLOT)
def test_plot_of_nothing_says_so(plot: Callable[[Axes], Axes], ax: Axes) -> None:
    assert plot(ax) is ax
    (reason,) = texts(ax)
    assert reason
    assert not legend(ax)
