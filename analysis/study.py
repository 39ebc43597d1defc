"""Reader of a study: its configuration, provenance and tables, and those of its confirmation, each read once."""

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
    """Contents of a study's files, as far as a report needs them.

    Attributes:
        origin: configuration and provenance.
        trials: rows of trials.parquet.
        confirmation: the study that confirms this one; None if it has no tables.
    """

    origin: Origin
    trials: pd.DataFrame
    confirmation: "StudyResults | None" = None

    @property
    def folder(self) -> Path:
        """Folder of the study's files."""
        return self.origin.folder

    @property
    def name(self) -> str:
        """Name of the study, or its label in a comparison."""
        return self.origin.name

    @property
    def has_epochs(self) -> bool:
        """Whether epochs.parquet was copied along with the study."""
        return (self.folder / "epochs.parquet").exists()

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """`EPOCH_COLUMNS` of epochs.parquet, read on first use; no rows if there is no such file.

        Raises:
            DamagedFileError: the file cannot be read, or breaks a rule of its schema.
        """
        if not self.has_epochs:
            return pd.DataFrame(columns=list(EPOCH_COLUMNS))
        return load_epochs(self.folder, list(EPOCH_COLUMNS))

    def labelled(self, label: str) -> "StudyResults":
        """Return the same study under another name; its confirmation is named after it."""
        confirmation = self.confirmation and self.confirmation.labelled(confirmation_named(label))
        return replace(self, origin=replace(self.origin, label=label), confirmation=confirmation)


def read_study(folder: Path, *, named: Named = str) -> StudyResults:
    """Read a study, and its confirmation if it has one.

    Args:
        folder: folder of the study.
        named: returns the address to show for a path in the folder.

    Raises:
        ValueError: the folder is not a study, the study has no tables yet, or it is a confirmation.
        DamagedFileError: a file cannot be read, or breaks a rule of its schema.
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
    """Read several studies, and give them distinct names; raises as `read_study` and `names_of` do."""
    studies = [read_study(folder, named=named) for folder in folders]
    names = names_of([study.origin for study in studies])
    return [study.labelled(name) for study, name in zip(studies, names, strict=True)]
