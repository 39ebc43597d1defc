"""Figures that compare the families with plain quantization."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from analysis.plots import plot_gains, plot_improvements
from analysis.report.figures.kind import FigureKind, one_legend, split_of
from analysis.report.findings import Findings, NothingToShow, replicates_of
from trainables.result import FINETUNE, REGULARIZE


def _of_gains(findings: Findings) -> pd.DataFrame:
    if findings.gains.empty:
        raise NothingToShow("no family and none have complete trials at the same K")
    return findings.compared


def _gains(findings: Findings, axes: Sequence[Axes]) -> None:
    for ax, phase in zip(axes, (REGULARIZE, FINETUNE), strict=True):
        plot_gains(findings.gains, ax, phase=phase)
        ax.set_ylabel(f"{split_of(findings)} accuracy\nover that of none")
    one_legend(axes)


def _of_improvements(findings: Findings) -> pd.DataFrame:
    replicates_of(findings)
    if findings.improvements.empty:
        raise NothingToShow("no family and none have results at the same K")
    if (findings.improvements[["n", "n_over"]].min(axis=1) < 2).all():
        more = "plan more replicates" if findings.is_plan else "confirm with more --seeds"
        raise NothingToShow(f"a probability needs at least two seeds; {more}")
    return findings.compared


def _improvements(findings: Findings, axes: Sequence[Axes]) -> None:
    for ax, phase in zip(axes, (REGULARIZE, FINETUNE), strict=True):
        plot_improvements(findings.improvements, ax, phase=phase)
    one_legend(axes)


GAINS = FigureKind(
    question="by which factor does each family beat plain quantization, before and after tuning?",
    shows=_of_gains,
    draw=_gains,
    panels=2,
    height=1.55,
)

IMPROVEMENTS = FigureKind(
    question="with which probability does a seed of a family beat a seed of plain quantization?",
    shows=_of_improvements,
    draw=_improvements,
    panels=2,
    height=1.55,
)
