"""The figures of a report: what each shows, and what it needs to be drawn."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
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
from analysis.plots.style import COLUMN_WIDTH, MARKS, PAGE_WIDTH, paper_style, save_figure
from analysis.report.findings import Findings, NothingToShow
from analysis.report.provenance import Points
from analysis.statistics.attainment import attainment_surfaces
from analysis.statistics.confirmed import as_trials, confirmation_named, tested
from analysis.statistics.front import candidates, float_baselines, front
from analysis.statistics.gains import TEST
from trainables.result import FINETUNE, REGULARIZE

WIDTHS = {"": COLUMN_WIDTH, "-wide": PAGE_WIDTH}
"""Inches, by what stands after the figure's name in its files."""

FEWEST_SEEDS = 3
"""Of which a front has a median: of two, half are the better one."""


@dataclass(frozen=True, kw_only=True)
class FigureKind:
    """One figure of a report.

    Attributes:
        question: that it answers.
        shows: the trials that its points are made of, of the study and of its confirmation, those that a crowded figure
            leaves out among them; raises NothingToShow where there would be no figure.
        draw: on the axes, left to right, or above each other in one column; `shows` has raised nothing.
        panels: axes that it needs.
        height: of a row of axes, inches.
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


def _of_confirmed(findings: Findings) -> pd.DataFrame:
    if findings.confirmation is None:
        raise NothingToShow(f"nothing was confirmed; run: qar confirm {findings.folder}")
    return pd.concat([front(findings.trials), tested(findings.confirmation)])


def _confirmed(findings: Findings, axes: Sequence[Axes]) -> None:
    assert findings.results is not None
    plot_confirmed(findings.results, axes[0], findings.trials)


def _of_attainment(findings: Findings) -> pd.DataFrame:
    if findings.confirmation is None:
        raise NothingToShow(f"it needs several seeds of each configuration; run: qar confirm {findings.folder}")
    shown = candidates(findings.confirmation, "test_accuracy")
    if shown["seed"].nunique() < FEWEST_SEEDS:
        raise NothingToShow(f"it needs {FEWEST_SEEDS} seeds of each configuration at least, to have a median")
    return shown


def _attainment(findings: Findings, axes: Sequence[Axes]) -> None:
    assert findings.confirmation is not None
    plot_attainment(attainment_surfaces(findings.confirmation, accuracy="test_accuracy"), axes[0])


def _of_gains(findings: Findings) -> pd.DataFrame:
    if findings.gains.empty:
        raise NothingToShow("no family has a finished trial beside one of none at the same K")
    return findings.compared


def _gains(findings: Findings, axes: Sequence[Axes]) -> None:
    for ax, phase in zip(axes, (REGULARIZE, FINETUNE), strict=True):
        plot_gains(findings.gains, ax, phase=phase)
        ax.set_ylabel(f"{_split(findings)} accuracy\nover that of none")
    _one_legend(axes)


def _of_improvements(findings: Findings) -> pd.DataFrame:
    if findings.confirmation is None:
        raise NothingToShow(f"one seed of a family tells no probability; run: qar confirm {findings.folder}")
    if findings.improvements.empty:
        raise NothingToShow("no family was confirmed beside none at the same K")
    if (findings.improvements[["n", "n_over"]].min(axis=1) < 2).all():
        raise NothingToShow("one seed of a family tells no probability; confirm with more --seeds")
    return findings.compared


def _improvements(findings: Findings, axes: Sequence[Axes]) -> None:
    for ax, phase in zip(axes, (REGULARIZE, FINETUNE), strict=True):
        plot_improvements(findings.improvements, ax, phase=phase)
    _one_legend(axes)


def _of_curves(findings: Findings) -> pd.DataFrame:
    if findings.epochs is None:
        raise NothingToShow(f"{findings.folder} has no epochs.parquet")
    return with_curves(findings.trials)


def _curves(findings: Findings, axes: Sequence[Axes]) -> None:
    assert findings.epochs is not None
    plot_curves(findings.trials, findings.epochs, axes[0])


def _of_importances(findings: Findings) -> pd.DataFrame:
    if findings.importances is None or findings.importances.empty:
        raise NothingToShow("too few finished trials with a penalty")
    of = candidates(findings.trials)
    return of[of["lam"].notna()]


def _importances(findings: Findings, axes: Sequence[Axes]) -> None:
    assert findings.importances is not None
    plot_importances(findings.importances, axes[0])


def _of_layers(findings: Findings) -> pd.DataFrame:
    of = candidates(findings.trials)
    if of["conv_bits_per_weight"].isna().all() and of["linear_bits_per_weight"].isna().all():
        raise NothingToShow("no finished trial tells convolutions and fully connected layers apart")
    return of


def _layers(findings: Findings, axes: Sequence[Axes]) -> None:
    plot_layers(findings.trials, axes[0])


FIGURES: dict[str, FigureKind] = {
    "front": FigureKind(
        question="which networks has the search found, and where is the knee?", shows=_of_front, draw=_front
    ),
    "confirmed": FigureKind(
        question="what accuracy at how many bits holds on the test split?", shows=_of_confirmed, draw=_confirmed
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
        question="how probably does a seed of a family beat one of plain quantization?",
        shows=_of_improvements,
        draw=_improvements,
        panels=2,
        height=1.55,
    ),
    "curves": FigureKind(
        question="how do networks learn, and where were they given up?", shows=_of_curves, draw=_curves
    ),
    "importances": FigureKind(
        question="which hyperparameters matter?", shows=_of_importances, draw=_importances, height=1.7
    ),
    "layers": FigureKind(
        question="what do convolutions cost, and what fully connected layers?", shows=_of_layers, draw=_layers
    ),
}


def points_of_figures(findings: Findings) -> dict[str, Points]:
    """By the name of each figure of a study's report, the trials that its points are made of."""
    found = {}
    for name, kind in FIGURES.items():
        with suppress(NothingToShow):
            found[name] = _by_study(kind.shows(findings), findings)
    return found


def _by_study(trials: pd.DataFrame, findings: Findings) -> Points:
    confirmed = trials["trial_id"].isin([] if findings.confirmation is None else findings.confirmation["trial_id"])
    parts = {findings.name: trials[~confirmed], confirmation_named(findings.name): trials[confirmed]}
    return {name: list(part["trial_id"]) for name, part in parts.items() if len(part)}


def _on_confirmed_front(findings: Findings) -> pd.DataFrame:
    """Trials of the configurations that are on the front of what was confirmed."""
    assert findings.confirmation is not None
    assert findings.results is not None
    trials = tested(findings.confirmation)
    return trials[trials["config_hash"].isin(front(as_trials(findings.results))["config_hash"])]


def points_of_studies_figures(studies: Mapping[str, Findings]) -> dict[str, Points]:
    """The same of the figures of several studies that `write_studies_figures` draws."""
    shown = {"studies": {name: front(findings.trials) for name, findings in studies.items()}}
    confirmations = {
        confirmation_named(name): findings.confirmation
        for name, findings in studies.items()
        if findings.confirmation is not None
    }
    if len(confirmations) == len(studies):
        on_front = [_on_confirmed_front(findings) for findings in studies.values()]
        shown["studies-confirmed"] = dict(zip(confirmations, on_front, strict=True))
        with suppress(NothingToShow):
            attained = [_of_attainment(findings) for findings in studies.values()]
            shown["studies-attainment"] = dict(zip(confirmations, attained, strict=True))
    return {
        figure: {name: list(trials["trial_id"]) for name, trials in parts.items()} for figure, parts in shown.items()
    }


def write_figures(
    findings: Findings, out: Path, *, style: Path | None, formats: Sequence[str]
) -> tuple[list[Path], dict[str, str]]:
    """Writes all figures of a study in one and in two columns.

    Args:
        findings: what is known of the study.
        out: folder that the files go to; it exists.
        style: an .mplstyle file whose keys replace ours; None for ours.
        formats: among `analysis.plots.style.FORMATS`.

    Returns:
        The paths, and by name why a figure is missing.
    """
    paths: list[Path] = []
    missing: dict[str, str] = {}
    for name, kind in FIGURES.items():
        try:
            for suffix, width in WIDTHS.items():
                paths += write_figure(findings, kind, out / f"{name}{suffix}", width, style=style, formats=formats)
        except NothingToShow as reason:
            missing[name] = str(reason)
    return paths, missing


def write_figure(
    findings: Findings, kind: FigureKind, stem: Path, width: float, *, style: Path | None, formats: Sequence[str]
) -> list[Path]:
    """Writes one figure, `width` inches wide, to `stem` with the suffix of each format; returns the paths.

    Raises:
        NothingToShow: its data are not there.
    """
    kind.shows(findings)
    with paper_style(style):
        figure, axes = _figure(kind.panels, kind.height, width)
        kind.draw(findings, axes)
        return save_figure(figure, stem, formats)


def write_studies_figures(
    studies: Mapping[str, Findings], out: Path, *, style: Path | None, formats: Sequence[str]
) -> list[Path]:
    """Writes the fronts of several studies in one figure, and if all are confirmed, those and their attainment.

    Args:
        studies: what is known, by the name that the legend gives.
        out: folder that the files go to; it exists.
        style: as in `write_figures`.
        formats: as in `write_figures`.

    Returns:
        The paths.
    """
    paths = []
    results = {name: findings.results for name, findings in studies.items()}
    for suffix, width in WIDTHS.items():
        with paper_style(style):
            figure, axes = _figure(1, 2.3, width)
            plot_studies({name: findings.trials for name, findings in studies.items()}, axes[0])
            paths += save_figure(figure, out / f"studies{suffix}", formats)
            if any(of is None for of in results.values()):
                continue
            figure, axes = _figure(1, 2.3, width)
            confirmed = {name: as_trials(of) for name, of in results.items() if of is not None}
            plot_studies(confirmed, axes[0], label="test accuracy, 95% intervals")
            paths += save_figure(figure, out / f"studies-confirmed{suffix}", formats)
            with suppress(NothingToShow):
                for findings in studies.values():
                    _of_attainment(findings)
                figure, axes = _figure(1, 2.3, width)
                _attainment_of(studies, axes[0])
                paths += save_figure(figure, out / f"studies-attainment{suffix}", formats)
    return paths


def _attainment_of(studies: Mapping[str, Findings], ax: Axes) -> None:
    """Of several confirmed studies, each in its own mark."""
    for place, (name, findings) in enumerate(studies.items()):
        assert findings.confirmation is not None
        surfaces = attainment_surfaces(findings.confirmation, accuracy="test_accuracy")
        plot_attainment(surfaces, ax, label=name, mark=MARKS[place % len(MARKS)])


def _figure(panels: int, height: float, width: float) -> tuple[Figure, Sequence[Axes]]:
    """Panels side by side where there are two columns, below each other in one."""
    wide = width > COLUMN_WIDTH
    rows, columns = (1, panels) if wide else (panels, 1)
    # Side by side, panels share their height with the legend and their labels.
    height = 2.3 if wide and panels > 1 else height * rows
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).ravel())


def _one_legend(axes: Sequence[Axes]) -> None:
    """One for panels that show the same families, above them; labels of axes that they share stand once."""
    handles = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure = axes[0].figure
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles))
    for ax, following in pairwise(axes):
        if ax.get_subplotspec().is_last_row():  # type: ignore[union-attr]
            following.set_ylabel("")
        else:
            ax.set_xlabel("")


def _split(findings: Findings) -> str:
    return "test" if findings.split == TEST else "search"
