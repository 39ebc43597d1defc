"""Figures that compare several studies."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from analysis.plots import plot_attainment, plot_studies
from analysis.plots.style import MARKS, paper_style, plain, save_figure
from analysis.report.attempts import Attempts
from analysis.report.figures.fronts import shown_attainment
from analysis.report.figures.kind import WIDTHS, new_figure
from analysis.report.findings import Findings, NothingToShow, replicates_of
from analysis.report.provenance import Points
from analysis.statistics.attainment import attainment_surfaces
from analysis.statistics.confirmation import as_trials, confirmation_named, measured_trials
from analysis.statistics.family_gains import TEST
from analysis.statistics.pareto import front


def _on_front_of_results(findings: Findings) -> pd.DataFrame:
    """Return the trials of the configurations on the front of the means over seeds."""
    assert findings.results is not None
    trials = measured_trials(replicates_of(findings), findings.split)
    best = front(as_trials(findings.results, findings.split))
    return trials[trials["config_hash"].isin(best["config_hash"])]


def _have_test_results(studies: Mapping[str, Findings]) -> bool:
    """Return whether all studies have results on the test split."""
    return all(findings.results is not None and findings.split == TEST for findings in studies.values())


def points_of_studies_figures(studies: Mapping[str, Findings]) -> dict[str, Points]:
    """Return the trials behind the points of each figure that `write_studies_figures` draws, by its name."""
    shown = {"studies": {name: front(findings.trials) for name, findings in studies.items()}}
    if _have_test_results(studies):
        names = [name if findings.is_plan else confirmation_named(name) for name, findings in studies.items()]
        on_front = [_on_front_of_results(findings) for findings in studies.values()]
        shown["studies-confirmed"] = dict(zip(names, on_front, strict=True))
        with suppress(NothingToShow):
            attained = [shown_attainment(findings) for findings in studies.values()]
            shown["studies-attainment"] = dict(zip(names, attained, strict=True))
    return {
        figure: {name: list(trials["trial_id"]) for name, trials in parts.items()} for figure, parts in shown.items()
    }


def write_studies_figures(
    studies: Mapping[str, Findings], out: Path, attempts: Attempts, *, style: Path | None, formats: Sequence[str]
) -> None:
    """Write figures that compare several studies: fronts, and test results and attainment if all studies have them.

    Args:
        studies: statistics of the studies, by their names in the legend.
        out: an existing folder.
        attempts: as in `write_figures`.
        style: as in `write_figures`.
        formats: as in `write_figures`.

    Raises:
        OSError: the storage cannot be written.
    """
    for name, draw in _studies_figures(studies).items():
        for suffix, width in WIDTHS.items():
            write = partial(_write_one, draw, out / f"{name}{suffix}", width, style=style, formats=formats)
            attempts.attempt(f"figure {name}", write)


def _studies_figures(studies: Mapping[str, Findings]) -> dict[str, Callable[[Axes], object]]:
    """Return the functions that draw the figures of several studies, by the name of the figure."""
    searches = {name: findings.trials for name, findings in studies.items()}
    drawn: dict[str, Callable[[Axes], object]] = {"studies": partial(plot_studies, searches)}
    if _have_test_results(studies):
        results = {
            name: as_trials(findings.results) for name, findings in studies.items() if findings.results is not None
        }
        drawn["studies-confirmed"] = partial(plot_studies, results, label="test accuracy, 95% intervals")
        with suppress(NothingToShow):
            for findings in studies.values():
                shown_attainment(findings)
            drawn["studies-attainment"] = partial(_attainment_of, studies)
    return drawn


def _write_one(
    draw: Callable[[Axes], object], stem: Path, width: float, *, style: Path | None, formats: Sequence[str]
) -> list[Path]:
    """Write a figure of one panel; return the paths of the files."""
    with paper_style(style):
        figure, axes = new_figure(1, 2.3, width)
        draw(axes[0])
        return save_figure(figure, stem, formats)


def _attainment_of(studies: Mapping[str, Findings], ax: Axes) -> None:
    """Draw the attainment surfaces of several studies on the test split, each with its own marker."""
    for place, (name, findings) in enumerate(studies.items()):
        surfaces = attainment_surfaces(replicates_of(findings), accuracy="test_accuracy")
        plot_attainment(surfaces, ax, label=plain(name), mark=MARKS[place % len(MARKS)])
