"""All that a report is made of: the tables of a study, of its confirmation, and what was derived from them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from analysis.load import load_epochs, load_trials
from analysis.statistics.confirmed import FOLDER, confirmed, count_unfinished, load_confirmation, load_gaps, selected
from analysis.statistics.gains import TEST, VALIDATION, best_replicates, gains, improvements


class NothingToShow(Exception):  # noqa: N818 - no error: the report says why a figure or table is missing
    """The data of a figure or table are not there; the message says why, or what would bring them."""


CURVE_COLUMNS = ["trial_id", "epoch", "phase", "val_accuracy"]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What is known of a study.

    Attributes:
        folder: of the study.
        name: of the study.
        planned: trials that the study asks for; None if study.yaml doesn't say.
        trials: trials.parquet.
        confirmation: that of its confirmation; None if nothing was confirmed.
        gaps: what the confirmation lacks (`analysis.statistics.confirmed.load_gaps`).
        importances: shares of the variance that each hyperparameter explains; None if they were not computed.
    """

    folder: Path
    name: str
    planned: int | None
    trials: pd.DataFrame
    confirmation: pd.DataFrame | None = None
    gaps: tuple[str, ...] = ()
    importances: pd.DataFrame | None = None

    @property
    def finished(self) -> bool:
        """Whether no trial is running or still to come."""
        return count_unfinished(self.trials, self.planned) is None

    @cached_property
    def epochs(self) -> pd.DataFrame | None:
        """Of epochs.parquet what learning curves need; None if it was not copied along with the study."""
        return load_epochs(self.folder, CURVE_COLUMNS) if (self.folder / "epochs.parquet").exists() else None

    @cached_property
    def results(self) -> pd.DataFrame | None:
        """Confirmed configurations; see `analysis.statistics.confirmed.confirmed`."""
        return None if self.confirmation is None else confirmed(self.trials, self.confirmation)

    @property
    def split(self) -> str:
        """What families are compared on: `test` where something was confirmed, `validation` of the search otherwise."""
        return VALIDATION if self.confirmation is None else TEST

    @cached_property
    def compared(self) -> pd.DataFrame:
        """Trials by which families are compared: one configuration a family and K."""
        if self.confirmation is None:
            return best_replicates(self.trials, minimum=1)
        return selected(self.trials, self.confirmation)

    @cached_property
    def gains(self) -> pd.DataFrame:
        return gains(self.compared, split=self.split)

    @cached_property
    def improvements(self) -> pd.DataFrame:
        return improvements_over_none(self.compared, self.split)


def improvements_over_none(trials: pd.DataFrame, split: str) -> pd.DataFrame:
    """`analysis.statistics.gains.improvements`, empty where nothing was quantized plainly."""
    has_baseline = (trials["family"] == "none").any()
    return improvements(trials if has_baseline else trials[:0], split=split)


def load_findings(study: Path, importances: Callable[[pd.DataFrame], pd.DataFrame] | None = None) -> Findings:
    """Reads the tables of a study and of its confirmation.

    Args:
        study: folder of the study.
        importances: from trials to their importances; given by the caller, since this package knows no Optuna.

    Raises:
        ValueError: there is no study, or one without tables, or it is a confirmation.
        DamagedFileError: a file can't be read.
    """
    told = _told(study / "study.yaml")
    if told.get("plan") and study.resolve().name == FOLDER:
        raise ValueError(f"{study} is a confirmation, which the report of its study shows; give {study.parent}")
    told_of_confirmation = _told(study / FOLDER / "study.yaml")
    trials, confirmation = load_trials(study), load_confirmation(study)
    return Findings(
        folder=study,
        name=str(told.get("name") or study.resolve().name),
        planned=_planned(told),
        trials=trials,
        confirmation=confirmation,
        gaps=tuple(load_gaps(study, _planned(told_of_confirmation))),
        importances=None if importances is None else importances(trials),
    )


def _planned(told: dict[str, Any]) -> int | None:
    planned = told.get("trials")
    return planned if isinstance(planned, int) else None


def _told(path: Path) -> dict[str, Any]:
    """What study.yaml says; nothing if it can't be read, since the figures need none of it."""
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return values if isinstance(values, dict) else {}
