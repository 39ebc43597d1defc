"""Figures of a report: the data that each shows, and how it is drawn."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots import (
    plot_attainment,
    plot_confirmed,
    plot_curves,
    plot_front,
    plot_gains,
    plot_importances,
    plot_improvements,
    plot_layers,
    plot_studies,
)
from analysis.plots.curves import with_curves
from analysis.plots.style import COLUMN_WIDTH, MARKS, PAGE_WIDTH, paper_style, plain, save_figure
from analysis.report.attempts import Attempts
from analysis.report.findings import Findings, NothingToShow, replicates_of
from analysis.report.provenance import Points
from analysis.statistics.attainment import attainment_surfaces
from analysis.statistics.confirmation import as_trials, confirmation_named, measured_trials
from analysis.statistics.family_gains import ACCURACIES, TEST
from analysis.statistics.pareto import candidates, float_baselines, front
from trainables.result import FINETUNE, REGULARIZE

WIDTHS = {"": COLUMN_WIDTH, "-wide": PAGE_WIDTH}
"""Width of a figure in inches, by the suffix of its file's name."""

FEWEST_SEEDS = 3
"""Fewest seeds for which a median front is defined."""


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


def _of_front(findings: Findings) -> pd.DataFrame:
    return pd.concat([float_baselines(findings.trials), candidates(findings.trials)])


def _front(findings: Findings, axes: Sequence[Axes]) -> None:
    plot_front(findings.trials, axes[0])
    _name_trials(findings, axes[0])


def _name_trials(findings: Findings, ax: Axes) -> None:
    """Replace the label of the accuracy axis in a plan, whose trials are not of a search."""
    if findings.is_plan:
        ax.set_ylabel("validation accuracy (trials)")


def _of_confirmed(findings: Findings) -> pd.DataFrame:
    replicates = replicates_of(findings)
    shown = measured_trials(replicates, findings.split)
    return shown if findings.is_plan else pd.concat([front(findings.trials), shown])


def _confirmed(findings: Findings, axes: Sequence[Axes]) -> None:
    assert findings.results is not None
    search = None if findings.is_plan else findings.trials
    plot_confirmed(findings.results, axes[0], search, split=findings.split)


def _of_attainment(findings: Findings) -> pd.DataFrame:
    shown = candidates(replicates_of(findings), _accuracy(findings))
    if shown["seed"].nunique() < FEWEST_SEEDS:
        raise NothingToShow(f"the median needs at least {FEWEST_SEEDS} seeds of each configuration")
    return shown


def _attainment(findings: Findings, axes: Sequence[Axes]) -> None:
    assert findings.replicates is not None
    plot_attainment(attainment_surfaces(findings.replicates, accuracy=_accuracy(findings)), axes[0])
    axes[0].set_ylabel(f"{findings.split} accuracy")


def _accuracy(findings: Findings) -> str:
    """Return the name of the column of the accuracy after tuning, on the split of the results."""
    return ACCURACIES[findings.split][FINETUNE]


def _of_gains(findings: Findings) -> pd.DataFrame:
    if findings.gains.empty:
        raise NothingToShow("no family and none have complete trials at the same K")
    return findings.compared


def _gains(findings: Findings, axes: Sequence[Axes]) -> None:
    for ax, phase in zip(axes, (REGULARIZE, FINETUNE), strict=True):
        plot_gains(findings.gains, ax, phase=phase)
        ax.set_ylabel(f"{_split(findings)} accuracy\nover that of none")
    _one_legend(axes)


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
    _one_legend(axes)


def _of_curves(findings: Findings) -> pd.DataFrame:
    if not findings.study.has_epochs:
        raise NothingToShow(f"{findings.folder} has no epochs.parquet")
    return with_curves(findings.trials)


def _curves(findings: Findings, axes: Sequence[Axes]) -> None:
    plot_curves(findings.trials, findings.study.epochs, axes[0])
    _name_trials(findings, axes[0])


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


FIGURES: dict[str, FigureKind] = {
    "front": FigureKind(
        question="which networks are on the front of the search, and where is its knee?", shows=_of_front, draw=_front
    ),
    "confirmed": FigureKind(
        question="which accuracy on the test split is reached at how many bits?", shows=_of_confirmed, draw=_confirmed
    ),
    "attainment": FigureKind(
        question="how much does the front depend on the seed?", shows=_of_attainment, draw=_attainment
    ),
    "gains": FigureKind(
        question="by which factor does each family beat plain quantization, before and after tuning?",
        shows=_of_gains,
        draw=_gains,
        panels=2,
        height=1.55,
    ),
    "improvements": FigureKind(
        question="with which probability does a seed of a family beat a seed of plain quantization?",
        shows=_of_improvements,
        draw=_improvements,
        panels=2,
        height=1.55,
    ),
    "curves": FigureKind(
        question="how do networks learn, and when were trials stopped early?", shows=_of_curves, draw=_curves
    ),
    "importances": FigureKind(
        question="which hyperparameters matter?", shows=_of_importances, draw=_importances, height=1.7
    ),
    "layers": FigureKind(
        question="how many bits do convolutions and fully connected layers take?", shows=_of_layers, draw=_layers
    ),
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
            attained = [_of_attainment(findings) for findings in studies.values()]
            shown["studies-attainment"] = dict(zip(names, attained, strict=True))
    return {
        figure: {name: list(trials["trial_id"]) for name, trials in parts.items()} for figure, parts in shown.items()
    }


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
        figure, axes = _figure(kind.panels, kind.height, width)
        kind.draw(findings, axes)
        return save_figure(figure, stem, formats)


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
                _of_attainment(findings)
            drawn["studies-attainment"] = partial(_attainment_of, studies)
    return drawn


def _write_one(
    draw: Callable[[Axes], object], stem: Path, width: float, *, style: Path | None, formats: Sequence[str]
) -> list[Path]:
    """Write a figure of one panel; return the paths of the files."""
    with paper_style(style):
        figure, axes = _figure(1, 2.3, width)
        draw(axes[0])
        return save_figure(figure, stem, formats)


def _attainment_of(studies: Mapping[str, Findings], ax: Axes) -> None:
    """Draw the attainment surfaces of several studies on the test split, each with its own marker."""
    for place, (name, findings) in enumerate(studies.items()):
        surfaces = attainment_surfaces(replicates_of(findings), accuracy="test_accuracy")
        plot_attainment(surfaces, ax, label=plain(name), mark=MARKS[place % len(MARKS)])


def _figure(panels: int, height: float, width: float) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure and its axes: side by side in the width of two columns, stacked in that of one."""
    wide = width > COLUMN_WIDTH
    rows, columns = (1, panels) if wide else (panels, 1)
    # Panels that are side by side need more height, for the legend and the labels.
    height = 2.3 if wide and panels > 1 else height * rows
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).ravel())


def _one_legend(axes: Sequence[Axes]) -> None:
    """Draw one legend above panels with the same families, and remove repeated axis labels."""
    handles = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure = axes[0].figure
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles))
    for ax, following in pairwise(axes):
        if ax.get_subplotspec().is_last_row():  # type: ignore[union-attr]
            following.set_ylabel("")
        else:
            ax.set_xlabel("")


def _split(findings: Findings) -> str:
    return findings.split if findings.is_plan or findings.split == TEST else "search"
