"""Figures that compare several studies."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import takewhile
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from analysis.plots import plot_attainment, plot_hypervolume, plot_studies
from analysis.plots.elements.marks import MARKS
from analysis.plots.elements.style import paper_style, plain, save_figure
from analysis.report.attempts import Attempts
from analysis.report.figures.details import timed
from analysis.report.figures.fronts import attained
from analysis.report.figures.kind import WIDTHS, check_units, new_figure, set_title
from analysis.report.findings import Findings, NothingToShow, replicates_of
from analysis.report.provenance import Points
from analysis.statistics.attainment import attainment_surfaces
from analysis.statistics.confirmation import as_trials, confirmation_named, measured_trials
from analysis.statistics.family_gains import TEST, VALIDATION
from analysis.statistics.pareto import candidates, front
from analysis.statistics.search_progress import hypervolume_band, hypervolume_over_cost
from analysis.statistics.stages import AFTER_TUNING
from analysis.view import View


def _on_front_of_results(findings: Findings) -> pd.DataFrame:
    """Return the trials of the configurations on the front of the means over seeds."""
    trials = measured_trials(replicates_of(findings), findings.split)
    results = findings.results_at(findings.last_stage(findings.split))
    best = front(as_trials(results, findings.split), findings.view.cost.column)
    return trials[trials["config_hash"].isin(best["config_hash"])]


def _have_test_results(studies: Mapping[str, Findings]) -> bool:
    """Return whether all studies have results on the test split."""
    return all(findings.results is not None and findings.split == TEST for findings in studies.values())


def points_of_studies_figures(studies: Mapping[str, Findings]) -> dict[str, Points]:
    """Return the trials behind the points of each figure that `write_studies_figures` draws, by its name."""
    cost = _view_of(studies).cost.column
    shown = {"studies": {name: front(findings.shown, cost) for name, findings in studies.items()}}
    with suppress(NothingToShow):
        shown["studies-hypervolume"] = {name: timed(findings) for name, findings in studies.items()}
    if _have_test_results(studies):
        names = [name if findings.is_plan else confirmation_named(name) for name, findings in studies.items()]
        on_front = [_on_front_of_results(findings) for findings in studies.values()]
        shown["studies-confirmed"] = dict(zip(names, on_front, strict=True))
        with suppress(NothingToShow):
            surfaces = [attained(findings) for findings in studies.values()]
            shown["studies-attainment"] = dict(zip(names, surfaces, strict=True))
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
    names = next(iter(studies.values())).view.names
    for name, draw in _studies_figures(studies).items():
        for suffix, width in WIDTHS.items():
            title = names.titles.get(name)
            write = partial(_write_one, draw, out / f"{name}{suffix}", width, title, style=style, formats=formats)
            attempts.attempt(f"figure {name}", write)


def _studies_figures(studies: Mapping[str, Findings]) -> dict[str, Callable[[Axes], object]]:
    """Return the functions that draw the figures of several studies, by the name of the figure."""
    drawn: dict[str, Callable[[Axes], object]] = {"studies": partial(_searches_of, studies)}
    if _have_test_results(studies):
        drawn["studies-confirmed"] = partial(_results_of, studies)
        with suppress(NothingToShow):
            for findings in studies.values():
                attained(findings)
            drawn["studies-attainment"] = partial(_attainment_of, studies)
    drawn["studies-hypervolume"] = partial(_hypervolumes_of, studies)
    return drawn


def _write_one(
    draw: Callable[[Axes], object],
    stem: Path,
    width: float,
    title: str | None,
    *,
    style: Path | None,
    formats: Sequence[str],
) -> list[Path]:
    """Write a figure of one panel; return the paths of the files."""
    with paper_style(style):
        figure, axes = new_figure(1, 2.3, width)
        draw(axes[0])
        set_title(figure, title)
        return save_figure(figure, stem, formats)


def _references(studies: Mapping[str, Findings], split: str) -> dict[str, float | None]:
    """Return the accuracies of the float baselines; raise NothingToShow if one is needed that does not exist."""
    references = {}
    for name, findings in studies.items():
        references[name] = findings.float_accuracy(split)
        check_units(candidates(findings.shown), findings.view, references[name])
    return references


def _searches_of(studies: Mapping[str, Findings], ax: Axes) -> None:
    """Draw the fronts of the searches."""
    references = _references(studies, VALIDATION)
    searches = {
        name: findings.last_stage(VALIDATION).at(findings.shown, VALIDATION) for name, findings in studies.items()
    }
    plot_studies(searches, ax, view=_view_of(studies), references=references)
    _name_stage(studies, VALIDATION, ax)


def _results_of(studies: Mapping[str, Findings], ax: Axes) -> None:
    """Draw the fronts of means over seeds on the test split."""
    references = _references(studies, TEST)
    results = {name: as_trials(findings.results_at(findings.last_stage(TEST))) for name, findings in studies.items()}
    plot_studies(results, ax, source="test", view=_view_of(studies), references=references)
    _name_stage(studies, TEST, ax)


def _view_of(studies: Mapping[str, Findings]) -> View:
    return next(iter(studies.values())).view


def _name_stage(studies: Mapping[str, Findings], split: str, ax: Axes) -> None:
    """Write the stage above the axes, unless it is that after tuning."""
    stages = {findings.last_stage(split) for findings in studies.values()} - {AFTER_TUNING}
    if stages:
        ax.set_title(", ".join(sorted(stage.title for stage in stages)))


def _attainment_of(studies: Mapping[str, Findings], ax: Axes) -> None:
    """Draw the attainment surfaces of several studies on the test split, each with its own marker."""
    view = _view_of(studies)
    if view.loss and len(set(_references(studies, TEST).values())) > 1:
        raise NothingToShow("studies with different float baselines have no common loss of accuracy")
    for place, (name, findings) in enumerate(studies.items()):
        surfaces = attainment_surfaces(attained(findings), accuracy="test_accuracy", cost=view.cost.column)
        mark = MARKS[place % len(MARKS)]
        reference = findings.float_accuracy(TEST)
        plot_attainment(surfaces, ax, label=plain(name), mark=mark, view=view, reference=reference)
    _name_stage(studies, TEST, ax)


def _hypervolumes_of(studies: Mapping[str, Findings], ax: Axes) -> None:
    """Draw the hypervolume of each search over its cost; searches that differ in their seeds alone are one band."""
    searches: dict[str, list[Findings]] = {}
    for findings in studies.values():
        searches.setdefault(_settings_without_seed(findings), []).append(findings)
    bands = {}
    for members in searches.values():
        name = members[0].name if len(members) == 1 else _common_name([findings.name for findings in members])
        for findings in members:
            timed(findings)
        bands[name] = hypervolume_band([hypervolume_over_cost(findings.shown) for findings in members])
    plot_hypervolume(bands, ax)


def _settings_without_seed(findings: Findings) -> str:
    """Return the settings of a study as a text, without its name and seed."""
    settings = {key: value for key, value in findings.study.origin.settings.items() if key not in ("name", "seed")}
    return json.dumps(settings, sort_keys=True, default=str)


def _common_name(names: Sequence[str]) -> str:
    """Return the beginning that all names share, without a separator at its end; the first name if there is none."""
    shared = takewhile(lambda signs: len(set(signs)) == 1, zip(*names, strict=False))
    return "".join(signs[0] for signs in shared).rstrip("-_/. 0123456789") or names[0]
