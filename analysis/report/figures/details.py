"""Figures of learning curves, of the progress of a search, of importances, and of the bits of each kind of layer."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from analysis.plots import plot_curves, plot_hypervolume, plot_importances, plot_layers
from analysis.plots.curves import with_curves
from analysis.report.figures.kind import FigureKind, check_units
from analysis.report.findings import Findings, NothingToShow
from analysis.statistics.pareto import candidates, float_baseline
from analysis.statistics.search_progress import hypervolume_band, hypervolume_over_cost


def _of_curves(findings: Findings) -> pd.DataFrame:
    if not findings.study.has_epochs:
        raise NothingToShow(f"{findings.folder} has no epochs.parquet")
    if findings.view.loss:
        check_units(findings.shown[:0], findings.view, float_baseline(findings.shown))
    return with_curves(findings.shown)


def _curves(findings: Findings, axes: Sequence[Axes]) -> None:
    plot_curves(findings.shown, findings.study.epochs, axes[0], view=findings.view, source=findings.source)


def timed(findings: Findings) -> pd.DataFrame:
    """Return the trials that the hypervolume of a search is computed from.

    Raises:
        NothingToShow: there are none, or the table has no training times.
    """
    complete = candidates(findings.shown)
    if complete.empty:
        raise NothingToShow("no quantized trial has been trained for the full budget")
    if not (complete["train_seconds"] > 0).any():
        raise NothingToShow("no trial has recorded how long it trained")
    return complete


def _hypervolume(findings: Findings, axes: Sequence[Axes]) -> None:
    trials = findings.shown
    runs = [rows for _, rows in trials.groupby("seed")] if findings.is_plan else [trials]
    quantized = [run for run in runs if run["num_levels"].notna().any()]
    band = hypervolume_band([hypervolume_over_cost(run) for run in quantized])
    plot_hypervolume({findings.name: band}, axes[0])


def _of_importances(findings: Findings) -> pd.DataFrame:
    if findings.importances is None or findings.importances.empty:
        raise NothingToShow("too few finished trials with a penalty")
    complete = candidates(findings.trials)
    return complete[complete["lam"].notna()]


def _importances(findings: Findings, axes: Sequence[Axes]) -> None:
    assert findings.importances is not None
    plot_importances(findings.importances, axes[0])


def _of_layers(findings: Findings) -> pd.DataFrame:
    complete = candidates(findings.shown)
    if complete["conv_bits_per_weight"].isna().all() and complete["linear_bits_per_weight"].isna().all():
        raise NothingToShow("no complete trial has separate bits for convolutions and fully connected layers")
    return complete


def _layers(findings: Findings, axes: Sequence[Axes]) -> None:
    plot_layers(findings.shown, axes[0])


CURVES = FigureKind(
    question="how do networks learn, and when were trials stopped early?", shows=_of_curves, draw=_curves
)

HYPERVOLUME = FigureKind(question="how fast did the search find its front?", shows=timed, draw=_hypervolume, height=1.9)

IMPORTANCES = FigureKind(question="which hyperparameters matter?", shows=_of_importances, draw=_importances, height=1.7)

LAYERS = FigureKind(
    question="how many bits do convolutions and fully connected layers take?", shows=_of_layers, draw=_layers
)
