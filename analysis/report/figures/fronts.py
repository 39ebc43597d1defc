"""Figures of accuracy against bits: of the search, and of means over seeds."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from analysis.plots import plot_attainment, plot_confirmed, plot_front
from analysis.report.figures.kind import FigureKind, name_trials
from analysis.report.findings import Findings, NothingToShow, replicates_of
from analysis.statistics.attainment import attainment_surfaces
from analysis.statistics.confirmation import measured_trials
from analysis.statistics.family_gains import ACCURACIES
from analysis.statistics.pareto import candidates, float_baselines, front
from trainables.result import FINETUNE

FEWEST_SEEDS = 3
"""Fewest seeds for which a median front is defined."""


def _of_front(findings: Findings) -> pd.DataFrame:
    return pd.concat([float_baselines(findings.trials), candidates(findings.trials)])


def _front(findings: Findings, axes: Sequence[Axes]) -> None:
    plot_front(findings.trials, axes[0])
    name_trials(findings, axes[0])


def _of_confirmed(findings: Findings) -> pd.DataFrame:
    replicates = replicates_of(findings)
    shown = measured_trials(replicates, findings.split)
    return shown if findings.is_plan else pd.concat([front(findings.trials), shown])


def _confirmed(findings: Findings, axes: Sequence[Axes]) -> None:
    assert findings.results is not None
    search = None if findings.is_plan else findings.trials
    plot_confirmed(findings.results, axes[0], search, split=findings.split)


def shown_attainment(findings: Findings) -> pd.DataFrame:
    """Return the trials behind the attainment surfaces; raise NothingToShow if there are too few seeds."""
    shown = candidates(replicates_of(findings), _accuracy(findings))
    if shown["seed"].nunique() < FEWEST_SEEDS:
        raise NothingToShow(f"the median needs at least {FEWEST_SEEDS} seeds of each configuration")
    return shown


def _attainment(findings: Findings, axes: Sequence[Axes]) -> None:
    assert findings.replicates is not None
    plot_attainment(attainment_surfaces(findings.replicates, accuracy=_accuracy(findings)), axes[0])
    axes[0].set_ylabel(f"{findings.split} accuracy")


def _accuracy(findings: Findings) -> str:
    """Return the name of the column of the accuracy after tuning, on the split of the results."""
    return ACCURACIES[findings.split][FINETUNE]


FRONT = FigureKind(
    question="which networks are on the front of the search, and where is its knee?", shows=_of_front, draw=_front
)

CONFIRMED = FigureKind(
    question="which accuracy on the test split is reached at how many bits?", shows=_of_confirmed, draw=_confirmed
)

ATTAINMENT = FigureKind(
    question="how much does the front depend on the seed?", shows=shown_attainment, draw=_attainment
)
