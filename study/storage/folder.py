"""Where a study lies: `<storage>/<name>/` and the files in it."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.config import StudyConfig, parse_written_study
from study.config.yaml_loading import dump_yaml, load_written_yaml
from study.containment import check_no_links
from study.errors import StorageError
from study.ledger.history import History, Trial
from study.ledger.ledger import Ledger, is_being_written, read_history
from study.storage.atomic import create, is_draft, replacing
from study.storage.object_store import above
from trainables.result import DamagedFileError

if TYPE_CHECKING:
    from study.storage.remote import RemoteStudy

CONFIRM = "confirm"
"""Of the confirmation, in the folder of the study that it confirms. It is a study like any other."""


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new and nothing between."""
    with replacing(path) as file:
        file.write(text.encode())


def _as_yaml(config: StudyConfig) -> bytes:
    return dump_yaml(config.model_dump()).encode()


def _remove_empty(folders: list[Path]) -> None:
    """Removes those of nested folders that are empty, beginning with the innermost, which comes first."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return


@dataclass(frozen=True)
class StudyFolder:
    """Paths of one study; `create` makes a new one.

    Attributes:
        path: of the folder, or of the working copy of a study on an object store.
        remote: that study; None for one that lies where `path` is.
    """

    path: Path
    remote: "RemoteStudy | None" = None

    @classmethod
    def at(cls, address: str) -> "StudyFolder":
        """The study with a path, or a URI on an object store, of which a working copy is fetched.

        Raises:
            ValueError: the URI leads nowhere.
            StorageError: the store can't be reached.
        """
        if "://" not in address:
            return cls(Path(address))
        from study.storage.remote import RemoteStudy

        remote = RemoteStudy.open(address)
        return cls(remote.path, remote)

    def __str__(self) -> str:
        """Path or URI, as a shell takes it."""
        return str(self.remote or self.path)

    @property
    def storage(self) -> str:
        """Path or URI of the folder that it lies in."""
        return above(str(self)) if self.remote else str(self.path.parent)

    @property
    def confirmation(self) -> "StudyFolder":
        """The study that confirms this one."""
        if self.remote is None:
            return StudyFolder(self.path / CONFIRM)
        from study.storage.remote import RemoteStudy

        return StudyFolder(self.path / CONFIRM, RemoteStudy(self.remote.bucket / CONFIRM, self.path / CONFIRM))

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

    def check_no_links(self) -> None:
        """Check that writing or removing the study's files touches nothing outside of it.

        Raises:
            ValueError: the folder holds a symbolic link, or anything else but files and folders.
        """
        if self.path.name == CONFIRM and (self.path.parent / self.study_yaml.name).exists():
            check_no_links(self.path.parent)  # a confirmation is part of the study that it confirms
        else:
            check_no_links(self.path)

    def check_free(self) -> None:
        """Raises ValueError if another study, or something else, is in the folder, or it can't be seen."""
        try:
            if self.exists():
                raise ValueError(f"{self} holds a study already; continue it with: qar resume {self}")
            taken = (
                self.remote.bucket.names() if self.remote else {name for name in self._names() if not is_draft(name)}
            )
        except OSError as error:
            raise self._unusable(error) from None
        if taken:
            raise ValueError(f"{self} is not empty and holds no study; choose another --name or --storage")

    def create(self, config: StudyConfig) -> list[Path]:
        """Make the folder and write study.yaml, which claims it: of several processes that try, one succeeds.

        Returns:
            The folders that were made, the innermost first: for `discard`.

        Raises:
            ValueError: that can't be, or another study is there; then nothing is changed.
        """
        self.check_free()
        made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.check_no_links()
            create(self.study_yaml, _as_yaml(config))
            self.publish()
        except FileExistsError as error:
            if not self.exists():  # a file is in the folder's place
                raise self._unusable(NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))) from error
            raise ValueError(f"{self} holds a study already; continue it with: qar resume {self}") from None
        except OSError as error:
            _remove_empty(made)
            raise self._unusable(error) from None
        except StorageError as error:
            raise ValueError(str(error)) from None
        return made

    def _names(self) -> set[str]:
        return {path.name for path in self.path.iterdir()} if self.path.is_dir() else set()

    def _unusable(self, error: OSError) -> ValueError:
        return ValueError(f"storage {self} can't be written: {error.strerror}; choose another --storage")

    def replace_config(self, config: StudyConfig) -> None:
        """Write study.yaml anew, in one stroke; raises ValueError if the study holds a symbolic link."""
        self.check_no_links()
        write_atomically(self.study_yaml, _as_yaml(config).decode())
        self.publish()

    def discard(self, made: list[Path]) -> None:
        """Takes back `create`, which has told what it `made`, as far as nothing else is in there."""
        self.study_yaml.unlink()
        if self.remote:
            self.remote.bucket.remove(self.study_yaml.name)
            return
        _remove_empty(made)

    def read_config(self) -> StudyConfig:
        """Reads study.yaml.

        Raises:
            ValueError: the folder holds no study.
            DamagedFileError: the file can't be understood.
        """
        if not self.exists():
            raise ValueError(f"{self} is no study folder (it has no study.yaml); give the folder of a study")
        try:
            values = load_written_yaml(self.study_yaml.read_bytes(), str(self.study_yaml))
            return parse_written_study(values, str(self.study_yaml))
        except (ValueError, OSError) as error:
            text = " ".join(str(error).split()).removeprefix(f"{self.study_yaml}: ")
            raise DamagedFileError(f"{self.study_yaml} is damaged: {text}") from None

    def open_ledger(self, say: Callable[[str], None]) -> Ledger:
        """Open the ledger for writing, as one driver at a time can.

        Raises:
            ValueError: the study holds a symbolic link.
            Exception: as `Ledger` and `RemoteStudy.drive` raise.
        """
        self.check_no_links()
        self._check_ledger_is_there()
        ledger = Ledger(self.ledger, self.remote.drive(say) if self.remote else None)
        for path in self.path.iterdir():
            if is_draft(path.name) and path.is_file():  # of a process that was killed
                path.unlink()
        return ledger

    def read_history(self) -> History:
        """Return the history that the ledger holds.

        Raises:
            DamagedFileError: the ledger can't be read, or is missing though the study has run.
            StorageError: the bucket can't be reached.
        """
        self._check_ledger_is_there()
        return read_history(self.ledger)

    def _check_ledger_is_there(self) -> None:
        """Raise DamagedFileError if the study has no fact but what only a study that has run leaves."""
        if self.ledger.is_file():
            with self.ledger.open("rb") as file:
                if file.readline().endswith(b"\n"):
                    return
        elif self.ledger.exists():
            return  # opening it says why not
        outputs = (self.study_json, self.trials, self.epochs, self.optuna_db, self.ray, self.path / "baseline")
        if self.remote:
            present = {name.partition("/")[0] for name in self.remote.bucket.names()}
            left = [path.name for path in outputs if path.name in present]
        else:
            left = [path.name for path in outputs if path.exists()]
        if left:
            raise DamagedFileError(
                f"{self.ledger} must hold what the study has done, but is missing or holds no whole line, "
                f"though {', '.join(left)} are there; restore it from a copy, or launch anew under another --name"
            )

    def is_driven(self) -> bool:
        """Whether a driver runs the study. Raises StorageError."""
        return self.remote.is_driven() if self.remote else is_being_written(self.ledger)

    def named(self, path: Path) -> str:
        """The name of a path in the folder that a user knows it by."""
        return self.remote.named(path) if self.remote else str(path)

    def as_told(self, text: str) -> str:
        """A text as it is for a user, who doesn't know of working copies."""
        return self.remote.as_told(text) if self.remote else text

    def publish(self) -> None:
        """Brings a study on an object store up to date with its working copy. Raises StorageError."""
        if self.remote:
            self.remote.publish()

    def has_baseline(self, seed: int) -> bool:
        """Whether the float baseline of a seed is there, whole. Raises StorageError."""
        from trainables.checkpoint import read_checkpoint

        try:
            read_checkpoint(self.fetched_baseline(seed))
        except DamagedFileError:
            return False
        return True

    def baseline_address(self, seed: int) -> str:
        """The path or URI by which every node finds the float baseline of a seed."""
        return self.address_of(self.inner(self.baseline(seed)))

    def fetched_baseline(self, seed: int) -> Path:
        """Where the float baseline of a seed lies on this machine, if there is one. Raises StorageError."""
        if self.remote:
            self.remote.fetch_folder(self.inner(self.baseline(seed)))
        return self.baseline(seed)

    def inner(self, path: Path) -> str:
        """Return the path relative to the study, as facts hold it."""
        return path.relative_to(self.path).as_posix()

    def fetch_results(self) -> None:
        """Brings what a report is made of into the working copy of a study on an object store. Raises StorageError."""
        if self.remote:
            self.remote.fetch_results()

    @property
    def ray_storage(self) -> dict[str, Any]:
        """Where Ray Tune keeps its experiments, as its `RunConfig` takes it."""
        if self.remote is None:
            return {"storage_path": str(self.ray.resolve())}
        bucket = self.remote.bucket / self.ray.name
        return {"storage_path": bucket.path, "storage_filesystem": bucket.filesystem}

    def relative(self, checkpoint: str) -> str:
        """Path of a checkpoint of Ray's, relative to the study."""
        return os.path.relpath(checkpoint, self.remote.bucket.path if self.remote else self.path.resolve())

    def address_of(self, path: str) -> str:
        """The path or URI by which every node finds what is called so in the study."""
        return (self.remote.bucket / path).full_uri if self.remote else str(self.path.resolve() / path)

    def checkpoints_of(self, trial: Trial) -> list[str]:
        """Where a trial may go on from, the newest first; one without any begins anew."""
        saved = [saved.path for saved in reversed(trial.checkpoints)]
        # On an object store, the trial itself finds out.
        return [self.address_of(path) for path in saved if self.remote or (self.path / path).exists()]
