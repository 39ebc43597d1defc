"""Where a study lies: `<storage>/<name>/` and the files in it."""

import os
from dataclasses import dataclass
from pathlib import Path

import yaml

from study.config import StudyConfig, parse_study
from trainables.result import DamagedFileError


def write_atomically(path: Path, text: str) -> None:
    """Writes a file so that a reader, or a crash, sees the old content or the new and nothing between."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text)
    os.replace(draft, path)


@dataclass(frozen=True)
class StudyFolder:
    """Paths of one study; `create` makes a new one, `open` an existing one."""

    path: Path

    @property
    def study_yaml(self) -> Path:
        """The configuration as resolved, enough to launch the study again."""
        return self.path / "study.yaml"

    @property
    def study_json(self) -> Path:
        """Provenance: versions, git commit, seeds, hosts, sessions."""
        return self.path / "study.json"

    @property
    def ledger(self) -> Path:
        """Every fact in the order it happened; all other tables are derived from it."""
        return self.path / "ledger.jsonl"

    @property
    def trials(self) -> Path:
        """A row a trial."""
        return self.path / "trials.parquet"

    @property
    def epochs(self) -> Path:
        """A row a trial and epoch."""
        return self.path / "epochs.parquet"

    @property
    def optuna_db(self) -> Path:
        """Optuna's study, for optuna-dashboard: SQLite."""
        return self.path / "optuna.db"

    def baseline(self, seed: int) -> Path:
        """Checkpoint of the float baseline that trials of this seed with `init: pretrained` begin from."""
        return self.path / "baseline" / f"seed-{seed}"

    @property
    def ray(self) -> Path:
        """Ray's experiments, one a session: their state and the checkpoints."""
        return self.path / "ray"

    def exists(self) -> bool:
        return self.study_yaml.exists()

    def create(self, config: StudyConfig) -> None:
        """Makes the folder and writes study.yaml; raises ValueError if that can't be, and then leaves nothing."""
        if self.exists():
            raise ValueError(f"{self.path} holds a study already; continue it with: qar resume {self.path}")
        missing = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        try:
            if self.path.is_dir() and any(self.path.iterdir()):
                raise ValueError(f"{self.path} is not empty and holds no study; choose another --name or --storage")
            self.path.mkdir(parents=True, exist_ok=True)
            self.replace_config(config)
        except OSError as error:
            for folder in missing:
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
            raise ValueError(
                f"storage {self.path} can't be written: {error.strerror}; choose another --storage"
            ) from None

    def replace_config(self, config: StudyConfig) -> None:
        """Writes study.yaml anew, in one stroke."""
        write_atomically(self.study_yaml, yaml.safe_dump(config.model_dump(), sort_keys=False))

    def discard(self) -> None:
        """Takes back `create`, as long as nothing else is in the folder."""
        self.study_yaml.unlink()
        for folder in (self.path, *self.path.parents):
            try:
                folder.rmdir()
            except OSError:  # not empty, so not made for this study alone
                return

    def read_config(self) -> StudyConfig:
        """Reads study.yaml.

        Raises:
            ValueError: the folder holds no study.
            DamagedFileError: the file can't be understood.
        """
        if not self.exists():
            raise ValueError(f"{self.path} is no study folder (it has no study.yaml); give the folder of a study")
        try:
            return parse_study(yaml.safe_load(self.study_yaml.read_text()), str(self.study_yaml))
        except (ValueError, OSError, yaml.YAMLError) as error:
            text = " ".join(str(error).split()).removeprefix(f"{self.study_yaml}: ")
            raise DamagedFileError(f"{self.study_yaml} is damaged: {text}") from None
