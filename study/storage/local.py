"""A study in a folder of this machine, or of a file system that all nodes share."""

import os
import shlex
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from study.containment import check_no_links, remove_file, remove_tree
from study.ledger.lock import is_being_written, lock
from study.storage.study_storage import CONFIRM, LEDGER, RAY, REQUESTS, STUDY_YAML
from trainables.errors import IrregularFileError
from trainables.files.atomic import create, is_draft, replacing
from trainables.files.regular import read_regular

MOST_BYTES_OF_REQUEST = 100_000


def remove_empty(folders: list[Path]) -> None:
    """Remove those of nested folders, innermost first, that are empty."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return


class LocalStorage:
    """A study in a folder; see `StudyStorage`.

    Attributes:
        path: the folder.
    """

    has_working_copy = False

    def __init__(self, path: Path) -> None:
        """Name the folder, which need not exist."""
        self.path = path

    def __str__(self) -> str:
        """Return the path, quoted for a shell."""
        return shlex.quote(str(self.path))

    @property
    def parent(self) -> str:
        """Path of the folder that the study lies in."""
        return str(self.path.parent)

    @property
    def confirmation(self) -> "LocalStorage":
        """The folder of the confirmation, within the study's."""
        return LocalStorage(self.path / CONFIRM)

    @property
    def confirmed(self) -> "LocalStorage | None":
        """The folder of the study that this one confirms."""
        path = self.path if self.path.name == CONFIRM else self.path.resolve()
        return LocalStorage(path.parent) if path.name == CONFIRM else None

    def names(self) -> set[str]:
        """Return the names in the folder."""
        if not self.path.is_dir():
            return set()
        return {path.name for path in self.path.iterdir() if not is_draft(path.name)}

    def create(self, content: bytes) -> None:
        """Create study.yaml. Raises FileExistsError, OSError."""
        create(self.path / STUDY_YAML, content)

    def discard(self, made: list[Path]) -> None:
        """Remove study.yaml and the empty ones of the folders that were made."""
        (self.path / STUDY_YAML).unlink()
        remove_empty(made)

    def publish(self) -> None:
        """Do nothing: the folder is the study."""

    def fetch_ledger(self) -> None:
        """Do nothing: the folder is the study."""

    def fetch_results(self) -> None:
        """Do nothing: the folder is the study."""

    def fetch_folder(self, name: str) -> None:
        """Do nothing: the folder is the study."""

    def is_driven(self) -> bool:
        """Whether a process holds the ledger's lock."""
        return is_being_written(self.path / LEDGER)

    def drive(self, say: Callable[[str], None]) -> None:
        """Return None: the lock of the ledger's file is the claim."""

    def replace_ledger(self, damaged: bytes, sound: bytes, say: Callable[[str], None]) -> None:
        """Replace the file atomically while its lock is held; raises ValueError as `lock` does, or if it has grown."""
        path = self.path / LEDGER
        with lock(path):
            if path.read_bytes() != damaged:
                raise ValueError(f"{self} has changed since it was read; try again: qar repair {self}")
            with replacing(path) as file:
                file.write(sound)

    def prune_checkpoints(self, kept: Iterable[str]) -> None:
        """Remove Ray's state and checkpoints; raises ValueError if the study holds a symbolic link, OSError."""
        names = set(kept)
        check_no_links(self.path)
        for session in (self.path / RAY).glob("session-*"):
            for path in session.iterdir():
                if path.is_file():
                    remove_file(self.path, self._name(path))
        self.remove_checkpoints(name for name in self.checkpoints() if name not in names)

    def checkpoints(self) -> dict[str, int]:
        """Return the size of each checkpoint in bytes, by path relative to the study."""
        return {
            self._name(checkpoint): sum(file.stat().st_size for file in checkpoint.rglob("*") if file.is_file())
            for checkpoint in sorted((self.path / RAY).glob("session-*/*/checkpoint_*"))
        }

    def remove_checkpoints(self, names: Iterable[str]) -> None:
        """Remove checkpoints; raises OSError."""
        for name in names:
            remove_tree(self.path, name)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()

    def requests(self) -> dict[str, bytes]:
        """Return the requests in the folder; a file that is not a regular one, or too large, counts as empty."""
        found = {}
        for path in sorted((self.path / REQUESTS).glob("*.json")):
            if is_draft(path.name):
                continue
            try:
                found[path.stem] = read_regular(path, MOST_BYTES_OF_REQUEST)
            except FileNotFoundError:
                continue  # its user has withdrawn it
            except (OSError, IrregularFileError):
                found[path.stem] = b""
        return found

    def add_request(self, name: str, content: bytes) -> None:
        """Write a request atomically; raises OSError."""
        folder = self.path / REQUESTS
        folder.mkdir(exist_ok=True)
        create(folder / f"{name}.json", content)

    def remove_request(self, name: str) -> None:
        """Remove a request; raises OSError, and ValueError if the study holds a symbolic link."""
        with suppress(FileNotFoundError):
            remove_file(self.path, f"{REQUESTS}/{name}.json")

    @cached_property
    def _resolved(self) -> Path:
        """Absolute path without symbolic links, which is asked for at each checkpoint."""
        return self.path.resolve()

    def ray_options(self) -> dict[str, Any]:
        """Return the folder of Ray's experiments."""
        return {"storage_path": str((self.path / RAY).resolve())}

    def name_of(self, checkpoint: str) -> str:
        """Return the path of a checkpoint relative to the study."""
        return os.path.relpath(checkpoint, self._resolved)

    def may_hold(self, name: str) -> bool:
        """Whether there is such a file or folder."""
        return (self.path / name).exists()

    def address_of(self, name: str) -> str:
        """Return the absolute path."""
        return str(self._resolved / name)

    def shown(self, path: Path) -> str:
        """Return the path."""
        return str(path)

    def as_shown(self, text: str) -> str:
        """Return the text."""
        return text
