"""Figures of learning curves, of importances, and of the bits of each kind of layer."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from analysis.plots import plot_curves, plot_importances, plot_layers
from analysis.plots.curves import with_curves
from analysis.report.figures.kind import FigureKind, name_trials
from analysis.report.findings import Findings, NothingToShow
from analysis.statistics.pareto import candidates


def _of_curves(findings: Findings) -> pd.DataFrame:
    if not findings.study.has_epochs:
        raise NothingToShow(f"{findings.folder} has no epochs.parquet")
    return with_curves(findings.trials)


def _curves(findings: Findings, axes: Sequence[Axes]) -> None:
    plot_curves(findings.trials, findings.study.epochs, axes[0])
    name_trials(findings, axes[0])


def _of_importances(findings: Findings) -> pd.DataFrame:
    if findings.importances is None or findings.importances.empty:
        raise NothingToShow("too few finished trials with a penalty")
    complete = candidates(findings.trials)
    return complete[complete["lam"].notna()]


def _importances(findings: Findings, axes: Sequence[Axes]) -> None:
    assert findings.importances is not None
    plot_importances(findings.importances, axes[0])


def _of_layers(findings: Findings) -> pd.DataFrame:
    complete = candidates(findings.trials)
    if complete["conv_bits_per_weight"].isna().all() and complete["linear_bits_per_weight"].isna().all():
        raise NothingToShow("no complete trial has separate bits for convolutions and fully connected layers")
    return complete


def _layers(findings: Findings, axes: Sequence[Axes]) -> None:
    plot_layers(findings.trials, axes[0])


CURVES = FigureKind(
    question="how do networks learn, and when were trials stopped early?", shows=_of_curves, draw=_curves
)

IMPORTANCES = FigureKind(question="which hyperparameters matter?", shows=_of_importances, draw=_importances, height=1.7)

LAYERS = FigureKind(
    question="how many bits do convolutions and fully connected layers take?", shows=_of_layers, draw=_layers
)
