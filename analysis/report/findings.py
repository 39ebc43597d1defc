"""Statistics of a study for its report, each computed once."""

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
    """A figure or table has no data; the message says why, or how to obtain them."""


Importances = Callable[[pd.DataFrame], pd.DataFrame]
"""Function from rows of trials.parquet to a table with columns `objective`, `parameter`, `importance` and `n`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """Statistics of a study.

    Attributes:
        study: contents of the study's files.
        compute_importances: computes hyperparameter importances, which needs Optuna; None omits them.
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
        """Rows of trials.parquet."""
        return self.study.trials

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

    @cached_property
    def split(self) -> str:
        """Split that families are compared on: `test` where replicates were measured on it, `validation` otherwise."""
        if self.is_plan:
            return VALIDATION if measured_trials(self.trials, TEST).empty else TEST
        return VALIDATION if self.confirmation is None else TEST

    @cached_property
    def compared(self) -> pd.DataFrame:
        """Trials by which families are compared: those of one configuration for each family and K.

        If a plan has several, it is the configuration with the highest mean validation accuracy.
        """
        if self.is_plan:
            best = best_replicates(self.trials, minimum=1)
            return candidates(best, ACCURACIES[self.split][FINETUNE])
        if self.confirmation is None:
            return best_replicates(self.trials, minimum=1)
        return selected(self.trials, self.confirmation)

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
        return gains(self.compared, split=self.split)

    @cached_property
    def improvements(self) -> pd.DataFrame:
        """Probabilities of improvement over plain quantization; empty if the study has no plain quantization."""
        has_baseline = (self.compared["family"] == "none").any()
        return improvements(self.compared if has_baseline else self.compared[:0], split=self.split)


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


def load_findings(study: Path, importances: Importances | None = None, *, named: Named = str) -> Findings:
    """Read a study and return its statistics; raises as `analysis.study.read_study` does.

    Args:
        study: folder of the study.
        importances: as in `Findings`.
        named: returns the address to show for a path in the folder.
    """
    return Findings(study=read_study(study, named=named), compute_importances=importances)
