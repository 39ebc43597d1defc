"""Paths of the files in a study's folder."""

from abc import ABC, abstractmethod
from pathlib import Path

from study.storage.study_storage import (
    BASELINE,
    DERIVED_JSON,
    EPOCHS,
    LEDGER,
    OPTUNA_DB,
    RAY,
    STUDY_JSON,
    STUDY_YAML,
    TRIALS,
)


class StudyFiles(ABC):
    """Base of `StudyFolder`: the paths of a study's files on this machine."""

    @property
    @abstractmethod
    def path(self) -> Path:
        """Folder on this machine with the study's files."""

    @property
    def study_yaml(self) -> Path:
        """Path of study.yaml, the resolved configuration, which suffices to launch the study again."""
        return self.path / STUDY_YAML

    @property
    def study_json(self) -> Path:
        """Path of study.json, the provenance: versions, git commit, seeds, hosts and sessions."""
        return self.path / STUDY_JSON

    @property
    def derived_json(self) -> Path:
        """Path of derived.json: from which lines of the ledger the tables and the SQLite database were derived."""
        return self.path / DERIVED_JSON

    @property
    def ledger(self) -> Path:
        """Path of the ledger: all facts in order, from which all tables are derived."""
        return self.path / LEDGER

    @property
    def trials(self) -> Path:
        """Path of the table with one row for each trial."""
        return self.path / TRIALS

    @property
    def epochs(self) -> Path:
        """Path of the table with one row for each trial and epoch."""
        return self.path / EPOCHS

    @property
    def optuna_db(self) -> Path:
        """Path of the SQLite database for optuna-dashboard."""
        return self.path / OPTUNA_DB

    def baseline(self, seed: int) -> Path:
        """Return the path of the float network from which trials of a seed with `init: pretrained` start."""
        return self.path / BASELINE / f"seed-{seed}"

    @property
    def ray(self) -> Path:
        """Path of the folder of Ray's experiments, one for each session, with their state and checkpoints."""
        return self.path / RAY

    def inner(self, path: Path) -> str:
        """Return the path relative to the study, as facts hold it."""
        return path.relative_to(self.path).as_posix()
