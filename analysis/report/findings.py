"""Statistics of a study for its report, each computed once."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from analysis.literature import comparable_points
from analysis.load import searched_columns
from analysis.origin import Named
from analysis.statistics.confirmation import confirmed, count_unfinished, gaps_of, measured_trials, selected
from analysis.statistics.family_gains import (
    ACCURACIES,
    BASELINE,
    TEST,
    VALIDATION,
    best_replicates,
    gains,
    improvements,
)
from analysis.statistics.pareto import candidates, float_baselines
from analysis.statistics.stages import AFTER_TUNING, Stage, stages_of
from analysis.study import StudyResults, read_study
from analysis.view import EVERYTHING, View
from trainables.result import FINETUNE


class NothingToShow(Exception):  # noqa: N818 - no error: the report says why a figure or table is missing
    """A figure or table has no data; the message says why, or how to obtain them."""


Importances = Callable[[pd.DataFrame], pd.DataFrame]
"""Function from rows of trials.parquet to a table with columns `objective`, `parameter`, `importance` and `n`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """Statistics of a study.

    Attributes:
        study: contents of the study's files.
        compute_importances: computes hyperparameter importances, which needs Optuna; None omits them.
        view: what figures and tables show; the page and the lists show all.
    """

    study: StudyResults
    compute_importances: Importances | None = None
    view: View = EVERYTHING

    @property
    def folder(self) -> Path:
        """Folder of the study."""
        return self.study.folder

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.study.name

    @property
    def trials(self) -> pd.DataFrame:
        """Rows of trials.parquet."""
        return self.study.trials

    @cached_property
    def fields(self) -> list[str]:
        """Dotted names of the further searched fields, each a column of the trials and of the results."""
        return searched_columns(self.trials)

    @cached_property
    def shown(self) -> pd.DataFrame:
        """Trials that figures and tables show."""
        return self.view.restrict(self.trials)

    @property
    def source(self) -> str:
        """Name of the axis of accuracies of single trials: key of `analysis.names.ACCURACY_LABELS`."""
        return "trials" if self.is_plan else "search"

    @property
    def is_plan(self) -> bool:
        """Whether the study ran a plan of given configurations instead of a search."""
        return self.study.origin.is_plan

    @property
    def finished(self) -> bool:
        """Whether all trials of the study have ended."""
        return count_unfinished(self.trials, self.study.origin.num_trials) is None

    @property
    def confirmation(self) -> pd.DataFrame | None:
        """Trials of the confirmation; None if none has ended with a result."""
        confirmation = self.study.confirmation
        return None if confirmation is None or measured_trials(confirmation.trials).empty else confirmation.trials

    @cached_property
    def replicates(self) -> pd.DataFrame | None:
        """Trials that repeat configurations under several seeds: of the confirmation or of the plan; None if none."""
        if not self.is_plan:
            return self.confirmation
        return None if measured_trials(self.trials, self.split).empty else self.trials

    @property
    def gaps(self) -> list[str]:
        """Sentences about replicates that are missing from the means over seeds."""
        if self.is_plan:
            return gaps_of(self.trials, self.study.origin.num_trials, "the plan")
        confirmation = self.study.confirmation
        return [] if confirmation is None else gaps_of(confirmation.trials, confirmation.origin.num_trials)

    @cached_property
    def importances(self) -> pd.DataFrame | None:
        """Share of the variance that each hyperparameter explains; None if omitted."""
        return None if self.compute_importances is None else self.compute_importances(self.trials)

    @cached_property
    def results(self) -> pd.DataFrame | None:
        """Means and intervals of the replicates (`analysis.statistics.confirmation.confirmed`); None if none."""
        if self.replicates is None:
            return None
        search = self.trials[:0] if self.is_plan else self.trials
        return confirmed(search, self.replicates, split=self.split)

    def results_at(self, stage: Stage) -> pd.DataFrame:
        """Return the means and intervals that figures and tables show, of the accuracy at a stage."""
        assert self.replicates is not None
        search = self.trials[:0] if self.is_plan else stage.at(self.trials, VALIDATION)
        results = self.results
        if stage != AFTER_TUNING or results is None:
            results = confirmed(search, stage.at(self.replicates, self.split), split=self.split)
        return self.view.restrict(results)

    def float_accuracy(self, split: str) -> float | None:
        """Return the mean accuracy of the float baselines on a split; None if there are none."""
        trials = self.trials if self.replicates is None or split == VALIDATION else self.replicates
        accuracies = float_baselines(trials)[ACCURACIES[split][FINETUNE]].dropna()
        return float(accuracies.mean()) if len(accuracies) else None

    @cached_property
    def split(self) -> str:
        """Split that families are compared on: `test` where replicates were measured on it, `validation` otherwise."""
        if self.is_plan:
            return VALIDATION if measured_trials(self.trials, TEST).empty else TEST
        return VALIDATION if self.confirmation is None else TEST

    @cached_property
    def compared(self) -> pd.DataFrame:
        """Trials by which families are compared: those of one configuration for each family and K.

        If a plan has several, it is the configuration with the highest mean validation accuracy. `none` is always among
        the families, since the others are compared with it.
        """
        trials = self.view.restrict(self.trials, keep=(BASELINE,))
        if self.is_plan:
            best = best_replicates(trials, minimum=1)
            return candidates(best, ACCURACIES[self.split][FINETUNE])
        if self.confirmation is None:
            return best_replicates(trials, minimum=1)
        return selected(trials, self.view.restrict(self.confirmation, keep=(BASELINE,)))

    @cached_property
    def is_chosen(self) -> bool:
        """Whether a plan has several configurations of the same family and K, so that one was chosen."""
        each = candidates(self.trials).groupby(["family", "num_levels"])["config_hash"].nunique()
        return self.is_plan and bool((each > 1).any())

    @property
    def has_tests(self) -> bool:
        """Whether significance tests are valid: configurations were not chosen by the accuracies that are compared."""
        return self.split == TEST or (self.is_plan and not self.is_chosen)

    @cached_property
    def gains(self) -> pd.DataFrame:
        """Ratios of accuracy to that of plain quantization (`analysis.statistics.family_gains.gains`)."""
        return self._of_shown_phases(gains(self.compared, split=self.split))

    def gains_at(self, stage: Stage) -> pd.DataFrame:
        """Return the gains at a stage, whose accuracies may be those with other statistics of batch normalization."""
        if not stage.statistics:
            return self.gains
        column = ACCURACIES[self.split][stage.phase]
        trials = self.compared.assign(**{column: self.compared[stage.column(self.split)]})
        return self._of_shown_phases(gains(trials, split=self.split))

    @cached_property
    def stages(self) -> list[Stage]:
        """Stages at which families are compared."""
        return stages_of(self.compared, self.split, self.view.phases)

    def last_stage(self, split: str) -> Stage:
        """Return the last stage that is shown: after tuning, unless only the first phase is shown."""
        trials = self.trials if self.replicates is None or split == VALIDATION else self.replicates
        stages = stages_of(trials, split, self.view.phases)
        return stages[-1] if stages else AFTER_TUNING

    def _of_shown_phases(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows[rows["phase"].isin(list(self.view.phases))]

    @cached_property
    def improvements(self) -> pd.DataFrame:
        """Probabilities of improvement over plain quantization; empty if the study has no plain quantization."""
        has_baseline = (self.compared["family"] == "none").any()
        compared = self.compared if has_baseline else self.compared[:0]
        return self._of_shown_phases(improvements(compared, split=self.split))


def replicates_of(findings: Findings) -> pd.DataFrame:
    """Return the replicates of a study.

    Raises:
        NothingToShow: there are none; the message says how to obtain them.
    """
    if findings.replicates is None:
        if findings.is_plan:
            raise NothingToShow("no trial of the plan has ended with a result")
        raise NothingToShow(f"no configuration was confirmed; run: qar confirm {shlex.quote(str(findings.folder))}")
    return findings.replicates


def load_findings(
    study: Path, importances: Importances | None = None, *, named: Named = str, view: View = EVERYTHING
) -> Findings:
    """Read a study and return its statistics; raises as `analysis.study.read_study` does.

    Args:
        study: folder of the study.
        importances: as in `Findings`.
        named: returns the address to show for a path in the folder.
        view: what figures and tables show.
    """
    return findings_of(read_study(study, named=named), importances, view)


def findings_of(study: StudyResults, importances: Importances | None, view: View) -> Findings:
    """Return the statistics of a study that was read, with the points from the literature that it compares with.

    Args:
        study: contents of the study's files.
        importances: as in `Findings`.
        view: what figures and tables show.
    """
    if view.literature is not None:
        view = replace(view, literature=comparable_points(view.literature, study.trials))
    return Findings(study=study, compute_importances=importances, view=view)
