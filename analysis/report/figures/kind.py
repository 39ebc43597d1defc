"""Figure of a report: the data that it shows, and how it is drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from analysis.plots.elements.style import COLUMN_WIDTH, PAGE_WIDTH, plain
from analysis.report.findings import Findings, NothingToShow
from analysis.view import View

WIDTHS = {"": COLUMN_WIDTH, "-wide": PAGE_WIDTH}
"""Width of a figure in inches, by the suffix of its file's name."""

LEGEND_COLUMNS = {COLUMN_WIDTH: 4, PAGE_WIDTH: 8}
"""Entries side by side in a legend above the panels, by the width of the figure."""


WIDEST_LEGEND = 0.95
"""Greatest width of a legend, as a share of the figure's; the fonts of a LaTeX document may be wider."""


@dataclass(frozen=True, kw_only=True)
class FigureKind:
    """One figure of a report.

    Attributes:
        question: the question that the figure answers.
        shows: returns the trials behind its points, of the study and of its confirmation, including those that a
            crowded figure omits; raises NothingToShow if there are no data.
        draw: draws on the axes, from left to right or from top to bottom; called only if there are data.
        panels: returns the number of axes.
        height: height of a row of axes, in inches.
        one_legend: whether one legend above all axes replaces those within them.
    """

    question: str
    shows: Callable[[Findings], pd.DataFrame]
    draw: Callable[[Findings, Sequence[Axes]], None]
    panels: Callable[[Findings], int] = lambda findings: 1
    height: float = 2.3
    one_legend: bool = False


def check_units(trials: pd.DataFrame, view: View, reference: float | None) -> None:
    """Raise NothingToShow if the trials lack the cost of a view, or the float baseline that it compares with."""
    if len(trials) and view.cost.of(trials).isna().all():
        raise NothingToShow(f"no trial has recorded its {view.cost.label.replace('$', '')}; trials of this version do")
    if view.loss and reference is None:
        raise NothingToShow("a loss of accuracy needs the float baseline, and no trial of it is complete")


def new_figure(panels: int, height: float, width: float) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure and its axes: side by side in the width of two columns, stacked in that of one."""
    wide = width > COLUMN_WIDTH
    rows, columns = (1, panels) if wide else (panels, 1)
    # Panels that are side by side need more height, for the legend and the labels.
    height = 2.3 if wide and panels > 1 else height * rows
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).ravel())


def set_title(figure: Figure, title: str | None) -> None:
    """Write a title above a figure, and above its legend, which makes the figure higher; nothing without a title."""
    if not title:
        return
    figure.set_figheight(figure.get_figheight() + 0.2)
    if figure.legends:
        figure.legends[0].set_title(plain(title), FontProperties(size="medium"))
    else:
        figure.suptitle(plain(title), fontsize="medium")


def draw_one_legend(axes: Sequence[Axes]) -> None:
    """Replace the legends of panels by one above them, with as many entries side by side as fit."""
    handles: dict[str, Any] = {}
    for ax in axes:
        if (legend := ax.get_legend()) is not None:
            handles |= dict(zip([text.get_text() for text in legend.get_texts()], legend.legend_handles, strict=True))
            legend.remove()
    figure = axes[0].get_figure()
    assert isinstance(figure, Figure)
    if not handles:
        return
    width = PAGE_WIDTH if figure.get_figwidth() > COLUMN_WIDTH else COLUMN_WIDTH
    for columns in range(min(len(handles), LEGEND_COLUMNS[width]), 0, -1):
        drawn = figure.legend(
            handles=list(handles.values()), labels=list(handles), loc="outside upper center", ncols=columns
        )
        figure.draw_without_rendering()
        if columns == 1 or drawn.get_window_extent().width <= WIDEST_LEGEND * figure.bbox.width:
            return
        drawn.remove()


def remove_repeated_labels(axes: Sequence[Axes]) -> None:
    """Remove labels of axes that a neighbouring panel repeats."""
    for ax, following in pairwise(axes):
        if ax.get_subplotspec().is_last_row():  # type: ignore[union-attr]
            following.set_ylabel("")
        else:
            ax.set_xlabel("")
