"""The statistics that a report is made of, each computed once."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from analysis.origin import Named
from analysis.statistics.confirmation import confirmed, count_unfinished, gaps_of, measured_trials, selected
from analysis.statistics.family_gains import ACCURACIES, TEST, VALIDATION, best_replicates, gains, improvements
from analysis.statistics.pareto import candidates
from analysis.study import StudyResults, read_study
from trainables.result import FINETUNE


class NothingToShow(Exception):  # noqa: N818 - no error: the report says why a figure or table is missing
    """The data of a figure or table are not there; the message says why, or what would bring them."""


Importances = Callable[[pd.DataFrame], pd.DataFrame]
"""From rows of trials.parquet to columns `objective`, `parameter`, `importance`, `n`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """Statistics of a study.

    Attributes:
        study: its files.
        compute_importances: given by the caller, since this package knows no Optuna; None leaves importances out.
    """

    study: StudyResults
    compute_importances: Importances | None = None

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
        """trials.parquet."""
        return self.study.trials

    @property
    def is_plan(self) -> bool:
        """Whether the study ran a plan of configurations, so that there was no search to confirm."""
        return self.study.origin.is_plan

    @property
    def finished(self) -> bool:
        """Whether no trial is running or still to come."""
        return count_unfinished(self.trials, self.study.origin.num_trials) is None

    @property
    def confirmation(self) -> pd.DataFrame | None:
        """Trials of the confirmation; None if none has ended with a result."""
        confirmation = self.study.confirmation
        return None if confirmation is None or measured_trials(confirmation.trials).empty else confirmation.trials

    @cached_property
    def replicates(self) -> pd.DataFrame | None:
        """Trials of configurations that no choice was made among: of the confirmation, or of a plan; None without."""
        if not self.is_plan:
            return self.confirmation
        return None if measured_trials(self.trials, self.split).empty else self.trials

    @property
    def gaps(self) -> list[str]:
        """Sentences on what the means of replicates lack."""
        if self.is_plan:
            return gaps_of(self.trials, self.study.origin.num_trials, "the plan")
        confirmation = self.study.confirmation
        return [] if confirmation is None else gaps_of(confirmation.trials, confirmation.origin.num_trials)

    @cached_property
    def importances(self) -> pd.DataFrame | None:
        """Shares of the variance that each hyperparameter explains; None if they are left out."""
        return None if self.compute_importances is None else self.compute_importances(self.trials)

    @cached_property
    def results(self) -> pd.DataFrame | None:
        """Means and intervals of the replicates (`analysis.statistics.confirmation.confirmed`); None without."""
        if self.replicates is None:
            return None
        search = self.trials[:0] if self.is_plan else self.trials
        return confirmed(search, self.replicates, split=self.split)

    @cached_property
    def split(self) -> str:
        """Split that families are compared on: `test` where replicates were measured on it, `validation` otherwise."""
        if self.is_plan:
            return VALIDATION if measured_trials(self.trials, TEST).empty else TEST
        return VALIDATION if self.confirmation is None else TEST

    @cached_property
    def compared(self) -> pd.DataFrame:
        """Trials by which families are compared: one configuration a family and K.

        Of a plan with several it is the one with the highest mean validation accuracy.
        """
        if self.is_plan:
            best = best_replicates(self.trials, minimum=1)
            return candidates(best, ACCURACIES[self.split][FINETUNE])
        if self.confirmation is None:
            return best_replicates(self.trials, minimum=1)
        return selected(self.trials, self.confirmation)

    @cached_property
    def is_chosen(self) -> bool:
        """Whether a plan has several configurations of a family and K, of which one is compared."""
        each = candidates(self.trials).groupby(["family", "num_levels"])["config_hash"].nunique()
        return self.is_plan and bool((each > 1).any())

    @property
    def has_tests(self) -> bool:
        """Whether differences may be tested: what was compared was not chosen by the numbers that are compared."""
        return self.split == TEST or (self.is_plan and not self.is_chosen)

    @cached_property
    def gains(self) -> pd.DataFrame:
        """Accuracies over those of plain quantization (`analysis.statistics.family_gains.gains`)."""
        return gains(self.compared, split=self.split)

    @cached_property
    def improvements(self) -> pd.DataFrame:
        """Probabilities of improvement over plain quantization; empty where nothing was quantized plainly."""
        has_baseline = (self.compared["family"] == "none").any()
        return improvements(self.compared if has_baseline else self.compared[:0], split=self.split)


def replicates_of(findings: Findings) -> pd.DataFrame:
    """Return the replicates of a study; raises NothingToShow, with the way to them, if there are none."""
    if findings.replicates is None:
        if findings.is_plan:
            raise NothingToShow("no trial of the plan has ended with a result")
        raise NothingToShow(f"nothing was confirmed; run: qar confirm {shlex.quote(str(findings.folder))}")
    return findings.replicates


def load_findings(study: Path, importances: Importances | None = None, *, named: Named = str) -> Findings:
    """Read a study; raises as `analysis.study.read_study` does.

    Args:
        study: folder of the study.
        importances: as in `Findings`.
        named: names paths in the folder to readers.
    """
    return Findings(study=read_study(study, named=named), compute_importances=importances)
