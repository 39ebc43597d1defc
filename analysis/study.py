"""The one reader of a study: its configuration and provenance, its tables and those of its confirmation, once each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from analysis.load import load_epochs, load_trials
from analysis.origin import Named, Origin, names_of, read_origin
from analysis.statistics.confirmation import FOLDER, confirmation_named

EPOCH_COLUMNS = (
    *("trial_id", "number", "epoch", "phase", "session", "train_seconds"),
    *("val_accuracy", "float_val_accuracy", "train_loss"),
)
"""Columns of epochs.parquet that reports need."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyResults:
    """Files of a study, as far as a report needs them.

    Attributes:
        origin: configuration and provenance.
        trials: trials.parquet.
        confirmation: the study that confirms this one; None without tables of it.
    """

    origin: Origin
    trials: pd.DataFrame
    confirmation: "StudyResults | None" = None

    @property
    def folder(self) -> Path:
        """Folder that the files were read from."""
        return self.origin.folder

    @property
    def name(self) -> str:
        """Name of the study, or the label that tells it from others."""
        return self.origin.name

    @property
    def has_epochs(self) -> bool:
        """Whether epochs.parquet was copied along with the study."""
        return (self.folder / "epochs.parquet").exists()

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """`EPOCH_COLUMNS` of epochs.parquet, read on first use; no rows where it was not copied along.

        Raises:
            DamagedFileError: the file can't be read, or breaks a rule of its schema.
        """
        if not self.has_epochs:
            return pd.DataFrame(columns=list(EPOCH_COLUMNS))
        return load_epochs(self.folder, list(EPOCH_COLUMNS))

    def labelled(self, label: str) -> "StudyResults":
        """Return the same study under a name that tells it from others; its confirmation is named after it."""
        confirmation = self.confirmation and self.confirmation.labelled(confirmation_named(label))
        return replace(self, origin=replace(self.origin, label=label), confirmation=confirmation)


def read_study(folder: Path, *, named: Named = str) -> StudyResults:
    """Read a study, and its confirmation if it has one.

    Args:
        folder: of the study.
        named: names paths in the folder to readers.

    Raises:
        ValueError: there is no study, one without tables, or the folder is that of a confirmation.
        DamagedFileError: a file can't be read, or breaks a rule of its schema.
    """
    trials = load_trials(folder)
    origin = read_origin(folder, named)
    if origin.is_plan and folder.resolve().name == FOLDER:
        raise ValueError(f"{folder} is a confirmation, which the report of its study shows; give {folder.parent}")
    confirmation = None
    if (folder / FOLDER / "trials.parquet").exists():
        where = folder / FOLDER
        label = confirmation_named(origin.name)
        confirmation = StudyResults(origin=read_origin(where, named, label), trials=load_trials(where))
    return StudyResults(origin=origin, trials=trials, confirmation=confirmation)


def read_studies(folders: Sequence[Path], *, named: Named = str) -> list[StudyResults]:
    """Read several studies, under names that tell them apart; raises as `read_study` and `names_of` do."""
    studies = [read_study(folder, named=named) for folder in folders]
    names = names_of([study.origin for study in studies])
    return [study.labelled(name) for study, name in zip(studies, names, strict=True)]
