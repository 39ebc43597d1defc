"""Figures that compare the families with plain quantization."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from analysis.plots import plot_gains, plot_improvements
from analysis.plots.elements.legends import family_handles
from analysis.plots.elements.style import plain
from analysis.report.figures.kind import FigureKind, remove_repeated_labels
from analysis.report.findings import Findings, NothingToShow, replicates_of
from analysis.statistics.family_gains import BASELINE, TEST


def _of_gains(findings: Findings) -> pd.DataFrame:
    if findings.gains.empty:
        raise NothingToShow("no family and none have complete trials at the same K")
    return findings.compared


def _gains(findings: Findings, axes: Sequence[Axes]) -> None:
    split = findings.split if findings.is_plan or findings.split == TEST else "search"
    for ax, stage in zip(axes, findings.stages, strict=True):
        rows = findings.gains_at(stage)
        plot_gains(rows, ax, phase=stage.phase, statistics=stage.statistics, view=findings.view)
        baseline = plain(findings.view.names.family(BASELINE))
        ax.set_ylabel(f"{split} accuracy\nover that of {baseline}")
        ax.legend(handles=family_handles(findings.view.names.order(rows["family"]), findings.view))
    remove_repeated_labels(axes)


def _of_improvements(findings: Findings) -> pd.DataFrame:
    replicates_of(findings)
    if findings.improvements.empty:
        raise NothingToShow("no family and none have results at the same K")
    if (findings.improvements[["n", "n_over"]].min(axis=1) < 2).all():
        more = "plan more replicates" if findings.is_plan else "confirm with more --seeds"
        raise NothingToShow(f"a probability needs at least two seeds; {more}")
    return findings.compared


def _phases_of_improvements(findings: Findings) -> list[str]:
    return list(dict.fromkeys(stage.phase for stage in findings.stages))


def _improvements(findings: Findings, axes: Sequence[Axes]) -> None:
    for ax, phase in zip(axes, _phases_of_improvements(findings), strict=True):
        rows = findings.improvements
        plot_improvements(rows, ax, phase=phase, view=findings.view)
        ax.legend(handles=family_handles(findings.view.names.order(rows["family"]), findings.view))
    remove_repeated_labels(axes)


GAINS = FigureKind(
    question="by which factor does each family beat plain quantization, before and after tuning?",
    shows=_of_gains,
    draw=_gains,
    panels=lambda findings: len(findings.stages),
    height=1.55,
    one_legend=True,
)

IMPROVEMENTS = FigureKind(
    question="with which probability does a seed of a family beat a seed of plain quantization?",
    shows=_of_improvements,
    draw=_improvements,
    panels=lambda findings: len(_phases_of_improvements(findings)),
    height=1.55,
    one_legend=True,
)
