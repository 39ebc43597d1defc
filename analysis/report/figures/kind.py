"""Figure of a report: the data that it shows, and how it is drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots.style import COLUMN_WIDTH, PAGE_WIDTH
from analysis.report.findings import Findings
from analysis.statistics.family_gains import TEST

WIDTHS = {"": COLUMN_WIDTH, "-wide": PAGE_WIDTH}
"""Width of a figure in inches, by the suffix of its file's name."""


@dataclass(frozen=True, kw_only=True)
class FigureKind:
    """One figure of a report.

    Attributes:
        question: the question that the figure answers.
        shows: returns the trials behind its points, of the study and of its confirmation, including those that a
            crowded figure omits; raises NothingToShow if there are no data.
        draw: draws on the axes, from left to right or from top to bottom; called only if there are data.
        panels: number of axes.
        height: height of a row of axes, in inches.
    """

    question: str
    shows: Callable[[Findings], pd.DataFrame]
    draw: Callable[[Findings, Sequence[Axes]], None]
    panels: int = 1
    height: float = 2.3


def new_figure(panels: int, height: float, width: float) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure and its axes: side by side in the width of two columns, stacked in that of one."""
    wide = width > COLUMN_WIDTH
    rows, columns = (1, panels) if wide else (panels, 1)
    # Panels that are side by side need more height, for the legend and the labels.
    height = 2.3 if wide and panels > 1 else height * rows
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).ravel())


def one_legend(axes: Sequence[Axes]) -> None:
    """Draw one legend above panels with the same families, and remove repeated axis labels."""
    handles = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure = axes[0].figure
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles))
    for ax, following in pairwise(axes):
        if ax.get_subplotspec().is_last_row():  # type: ignore[union-attr]
            following.set_ylabel("")
        else:
            ax.set_xlabel("")


def split_of(findings: Findings) -> str:
    """Return the word before `accuracy` in the label of an axis: the split, or `search`."""
    return findings.split if findings.is_plan or findings.split == TEST else "search"


def name_trials(findings: Findings, ax: Axes) -> None:
    """Replace the label of the accuracy axis in a plan, whose trials are not of a search."""
    if findings.is_plan:
        ax.set_ylabel("validation accuracy (trials)")
