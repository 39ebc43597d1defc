"""Figures of accuracy against cost: of the search, and of means over seeds."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
from matplotlib.axes import Axes

from analysis.plots import plot_attainment, plot_confirmed, plot_difference, plot_front
from analysis.report.figures.kind import FigureKind, check_units, remove_repeated_labels
from analysis.report.findings import Findings, NothingToShow, replicates_of
from analysis.statistics.attainment import attainment_difference, attainment_surfaces
from analysis.statistics.confirmation import measured_trials
from analysis.statistics.family_gains import ACCURACIES, BASELINE, VALIDATION
from analysis.statistics.pareto import candidates, float_baseline, float_baselines, front, hypervolume
from analysis.statistics.stages import AFTER_TUNING, Stage, stages_of
from trainables.result import FINETUNE

FEWEST_SEEDS = 3
"""Fewest seeds for which a median front is defined."""


def _stages_of_search(findings: Findings) -> list[Stage]:
    return stages_of(findings.shown, VALIDATION, findings.view.phases)


def _of_front(findings: Findings) -> pd.DataFrame:
    complete = candidates(findings.shown)
    check_units(complete, findings.view, float_baseline(findings.shown))
    return pd.concat([float_baselines(findings.shown), complete])


def _front(findings: Findings, axes: Sequence[Axes]) -> None:
    stages = _stages_of_search(findings)
    if not stages:
        plot_front(findings.shown, axes[0], view=findings.view, source=findings.source)
    for stage, ax in zip(stages, axes, strict=False):
        plot_front(findings.shown, ax, stage=stage, view=findings.view, source=findings.source)
        if len(axes) > 1 or stage.phase != FINETUNE:
            ax.set_title(stage.title)
    remove_repeated_labels(axes)


def _stages_of_results(findings: Findings) -> list[Stage]:
    return stages_of(replicates_of(findings), findings.split, findings.view.phases)


def _of_confirmed(findings: Findings) -> pd.DataFrame:
    shown = measured_trials(findings.view.restrict(replicates_of(findings)), findings.split)
    check_units(candidates(shown), findings.view, findings.float_accuracy(findings.split))
    return shown if findings.is_plan else pd.concat([front(findings.shown, findings.view.cost.column), shown])


def _confirmed(findings: Findings, axes: Sequence[Axes]) -> None:
    for stage, ax in zip(_stages_of_results(findings), axes, strict=False):
        searched = None if findings.is_plan else stage.at(findings.shown, VALIDATION)
        # Results of other papers are of networks that were tuned.
        view = findings.view if stage == AFTER_TUNING else replace(findings.view, literature=None)
        plot_confirmed(findings.results_at(stage), ax, searched, split=findings.split, view=view)
        if len(axes) > 1 or stage.phase != FINETUNE:
            ax.set_title(stage.title)
    remove_repeated_labels(axes)


def attained(findings: Findings) -> pd.DataFrame:
    """Return the trials behind attainment surfaces, at the last stage that is shown.

    Raises:
        NothingToShow: there are too few seeds.
    """
    trials = findings.view.restrict(replicates_of(findings))
    staged = findings.last_stage(findings.split).at(trials, findings.split)
    shown = candidates(staged, accuracy_of(findings))
    if shown["seed"].nunique() < FEWEST_SEEDS:
        raise NothingToShow(f"the median needs at least {FEWEST_SEEDS} seeds of each configuration")
    check_units(shown, findings.view, findings.float_accuracy(findings.split))
    return shown


def accuracy_of(findings: Findings) -> str:
    """Return the name of the column of the accuracy after tuning, on the split of the results."""
    return ACCURACIES[findings.split][FINETUNE]


def _attainment(findings: Findings, axes: Sequence[Axes]) -> None:
    surfaces = attainment_surfaces(attained(findings), accuracy=accuracy_of(findings), cost=findings.view.cost.column)
    reference = findings.float_accuracy(findings.split)
    plot_attainment(surfaces, axes[0], view=findings.view, source=findings.split, reference=reference)
    stage = findings.last_stage(findings.split)
    if stage.phase != FINETUNE:
        axes[0].set_title(stage.title)


def _pair(findings: Findings) -> tuple[str, str]:
    """Return the two families whose attainment is compared.

    They are the two that were chosen, or else `none` and the family whose front in the search, or in the plan, has the
    largest hypervolume; reported results do not decide.
    """
    measured = set(attained(findings)["family"])
    chosen = findings.view.families
    if chosen is not None and len(chosen) == 2 and set(chosen) <= measured:
        first, second = chosen
        return first, second
    others = sorted(measured - {BASELINE})
    if BASELINE not in measured or not others:
        raise NothingToShow("two families need at least 3 seeds each; name them with --families A,B")
    trials = findings.shown
    return max(others, key=lambda family: hypervolume(trials[trials["family"] == family])), BASELINE


def _of_difference(findings: Findings) -> pd.DataFrame:
    shown = attained(findings)
    return shown[shown["family"].isin(_pair(findings))]


def _difference(findings: Findings, axes: Sequence[Axes]) -> None:
    first, second = _pair(findings)
    shown = attained(findings)
    differences = attainment_difference(
        *(shown[shown["family"] == family] for family in (first, second)),
        accuracy=accuracy_of(findings),
        cost=findings.view.cost.column,
    )
    opposite = differences.assign(difference=-differences["difference"])
    for rows, families, ax in ((differences, (first, second), axes[0]), (opposite, (second, first), axes[1])):
        reference = findings.float_accuracy(findings.split)
        plot_difference(rows, ax, families=families, view=findings.view, split=findings.split, reference=reference)
    remove_repeated_labels(axes)


FRONT = FigureKind(
    question="which networks are on the front of the search, before and after tuning, and where is its knee?",
    shows=_of_front,
    draw=_front,
    panels=lambda findings: max(len(_stages_of_search(findings)), 1),
    height=2.0,
    one_legend=True,
)

CONFIRMED = FigureKind(
    question="which accuracy on the test split is reached at how many bits, before and after tuning?",
    shows=_of_confirmed,
    draw=_confirmed,
    panels=lambda findings: max(len(_stages_of_results(findings)), 1),
    height=2.0,
    one_legend=True,
)

ATTAINMENT = FigureKind(question="how much does the front depend on the seed?", shows=attained, draw=_attainment)

DIFFERENCE = FigureKind(
    question="where do more seeds of one family attain an accuracy than of another?",
    shows=_of_difference,
    draw=_difference,
    panels=lambda findings: 2,
    height=1.9,
)
