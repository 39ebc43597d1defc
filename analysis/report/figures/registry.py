"""Figures of a study's report, by name."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import pandas as pd

from analysis.plots.style import paper_style, save_figure
from analysis.report.attempts import Attempts
from analysis.report.figures.comparisons import GAINS, IMPROVEMENTS
from analysis.report.figures.details import CURVES, IMPORTANCES, LAYERS
from analysis.report.figures.fronts import ATTAINMENT, CONFIRMED, FRONT
from analysis.report.figures.kind import WIDTHS, FigureKind, new_figure
from analysis.report.findings import Findings
from analysis.report.provenance import Points
from analysis.statistics.confirmation import confirmation_named

FIGURES: dict[str, FigureKind] = {
    "front": FRONT,
    "confirmed": CONFIRMED,
    "attainment": ATTAINMENT,
    "gains": GAINS,
    "improvements": IMPROVEMENTS,
    "curves": CURVES,
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
        formats: formats of the files, among `analysis.plots.style.FORMATS`.

    Raises:
        OSError: the storage cannot be written.
    """
    for name, kind in FIGURES.items():
        for suffix, width in WIDTHS.items():
            write = partial(write_figure, findings, kind, out / f"{name}{suffix}", width, style=style, formats=formats)
            attempts.attempt(f"figure {name}", write)


def write_figure(
    findings: Findings, kind: FigureKind, stem: Path, width: float, *, style: Path | None, formats: Sequence[str]
) -> list[Path]:
    """Write one figure in several formats.

    Args:
        findings: statistics of the study.
        kind: the figure.
        stem: path of the files without their suffix.
        width: width of the figure, in inches.
        style: as in `write_figures`.
        formats: as in `write_figures`.

    Returns:
        Paths of the files.

    Raises:
        NothingToShow: the figure has no data.
    """
    kind.shows(findings)
    with paper_style(style):
        figure, axes = new_figure(kind.panels, kind.height, width)
        kind.draw(findings, axes)
        return save_figure(figure, stem, formats)
