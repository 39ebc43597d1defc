"""Figures of a study's report, by name."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis.plots.elements.style import paper_style, save_figure
from analysis.report.attempts import Attempts
from analysis.report.figures.comparisons import GAINS, IMPROVEMENTS
from analysis.report.figures.details import CURVES, HYPERVOLUME, IMPORTANCES, LAYERS
from analysis.report.figures.fronts import ATTAINMENT, CONFIRMED, DIFFERENCE, FRONT
from analysis.report.figures.kind import WIDTHS, FigureKind, draw_one_legend, new_figure, set_title
from analysis.report.findings import Findings, NothingToShow
from analysis.report.provenance import Points
from analysis.statistics.confirmation import confirmation_named

FIGURES: dict[str, FigureKind] = {
    "front": FRONT,
    "confirmed": CONFIRMED,
    "attainment": ATTAINMENT,
    "difference": DIFFERENCE,
    "gains": GAINS,
    "improvements": IMPROVEMENTS,
    "curves": CURVES,
    "hypervolume": HYPERVOLUME,
    "importances": IMPORTANCES,
    "layers": LAYERS,
}


def points_of_figures(findings: Findings) -> dict[str, Points]:
    """Return the trials behind the points of each figure of a study's report, by the name of the figure.

    A figure that cannot be drawn is omitted; `write_figures` records the reason.
    """
    points = {}
    for name, kind in FIGURES.items():
        with suppress(Exception):
            points[name] = _by_study(kind.shows(findings), findings)
    return points


def _by_study(trials: pd.DataFrame, findings: Findings) -> Points:
    confirmation = findings.confirmation
    confirmed = trials["trial_id"].isin([] if confirmation is None else confirmation["trial_id"])
    parts = {findings.name: trials[~confirmed], confirmation_named(findings.name): trials[confirmed]}
    return {name: list(part["trial_id"]) for name, part in parts.items() if len(part)}


def write_figures(
    findings: Findings, out: Path, attempts: Attempts, *, style: Path | None, formats: Sequence[str]
) -> None:
    """Write all figures of a study, each in the width of one and of two columns.

    Args:
        findings: statistics of the study.
        out: an existing folder.
        attempts: records the paths of the files, and why a figure is missing.
        style: an .mplstyle file whose keys override the default style; None for the default.
        formats: formats of the files, among `analysis.plots.elements.style.FORMATS`.

    Raises:
        OSError: the storage cannot be written.
    """
    for name in FIGURES:
        for suffix, width in WIDTHS.items():
            write = partial(write_figure, findings, name, out / f"{name}{suffix}", width, style=style, formats=formats)
            attempts.attempt(f"figure {name}", write)


def write_figure(
    findings: Findings, name: str, stem: Path, width: float, *, style: Path | None, formats: Sequence[str]
) -> list[Path]:
    """Write one figure in several formats.

    Args:
        findings: statistics of the study.
        name: name of the figure, a key of `FIGURES`.
        stem: path of the files without their suffix.
        width: width of the figure, in inches.
        style: as in `write_figures`.
        formats: as in `write_figures`.

    Returns:
        Paths of the files.

    Raises:
        NothingToShow: the figure has no data.
    """
    with paper_style(style):
        return save_figure(draw_figure(findings, name, width), stem, formats)


def draw_figure(findings: Findings, name: str, width: float) -> Figure:
    """Return a figure, in Matplotlib's present style; the arguments are those of `write_figure`.

    Raises:
        NothingToShow: the figure has no data.
    """
    kind = FIGURES[name]
    kind.shows(findings)
    panels = kind.panels(findings)
    if not panels:
        raise NothingToShow("the trials have no accuracy at the phases that were chosen")
    figure, axes = new_figure(panels, kind.height, width)
    kind.draw(findings, axes)
    if kind.one_legend:
        draw_one_legend(axes)
    set_title(figure, findings.view.names.titles.get(name))
    return figure
