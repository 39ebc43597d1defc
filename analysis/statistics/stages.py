"""Moments of a trial at which its accuracy is measured: before tuning and after it."""

from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd

from analysis.statistics.family_gains import ACCURACIES, accuracies_of
from analysis.statistics.pareto import candidates
from trainables.result import FINETUNE, REGULARIZE, STATISTICS

KEPT, RECALIBRATED = STATISTICS

TITLES = {
    (REGULARIZE, ""): "before tuning",
    (REGULARIZE, KEPT): "before tuning, statistics kept",
    (REGULARIZE, RECALIBRATED): "before tuning, statistics re-estimated",
    (FINETUNE, ""): "after tuning",
}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A moment at which accuracy is measured.

    Attributes:
        phase: `regularize` (before tuning) or `finetune` (after).
        statistics: suffix of the columns, which says what the statistics of batch normalization are; empty for those
            that the study has chosen.
    """

    phase: str
    statistics: str = ""

    @property
    def title(self) -> str:
        """Title of a panel."""
        return TITLES[self.phase, self.statistics]

    def column(self, split: str) -> str:
        """Return the column of the accuracy on a split: `validation` or `test`."""
        return ACCURACIES[split][self.phase] + self.statistics

    def at(self, trials: pd.DataFrame, split: str) -> pd.DataFrame:
        """Return the trials with the accuracy of this stage where functions expect that after tuning.

        Float baselines, which are never quantized, keep their accuracy.
        """
        final = ACCURACIES[split][FINETUNE]
        quantized = trials["num_levels"].notna()
        return trials.assign(**{final: trials[self.column(split)].where(quantized, trials[final])})


AFTER_TUNING = Stage(phase=FINETUNE)


def stages_of(trials: pd.DataFrame, split: str, phases: Collection[str]) -> list[Stage]:
    """Return the stages that trials have an accuracy of, in order of time.

    Before tuning there are two if the trials have accuracies with both kinds of statistics of batch normalization: as
    training left them, and re-estimated.

    Args:
        trials: rows of trials.parquet.
        split: `validation` or `test`.
        phases: phases to return stages of.
    """
    complete = candidates(trials)
    stages = []
    for phase in accuracies_of(complete, split):
        if phase not in phases:
            continue
        both = [Stage(phase=phase, statistics=suffix) for suffix in (KEPT, RECALIBRATED)]
        if phase == REGULARIZE and all(_is_measured(complete, stage, split) for stage in both):
            stages += both
        elif _is_measured(complete, plain := Stage(phase=phase), split):
            stages.append(plain)
    return stages


def _is_measured(trials: pd.DataFrame, stage: Stage, split: str) -> bool:
    return bool(trials[stage.column(split)].notna().any())
