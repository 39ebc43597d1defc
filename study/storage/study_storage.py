"""The interface of the places where a study is kept, and the names of the files in it."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from study.ledger.ledger import LedgerCopy

STUDY_YAML = "study.yaml"
LEDGER = "ledger.jsonl"
SNAPSHOT = "ledger.snapshot"
STUDY_JSON = "study.json"
DERIVED_JSON = "derived.json"
TRIALS = "trials.parquet"
EPOCHS = "epochs.parquet"
OPTUNA_DB = "optuna.db"
RAY = "ray"
BASELINE = "baseline"
CONFIRM = "confirm"
REPORT = "report"
TRACKERS = "trackers"
REQUESTS = "requests"
RESULTS = (STUDY_JSON, TRIALS, EPOCHS)
"""Files that a report reads, besides the configuration."""


_OURS = {STUDY_YAML, LEDGER, SNAPSHOT, DERIVED_JSON, *RESULTS, OPTUNA_DB, RAY, BASELINE, CONFIRM, REPORT, TRACKERS}
_OURS_TOO = re.compile(
    rf"\..+\.draft|{re.escape(OPTUNA_DB)}-(journal|wal|shm)|\w+\.damaged-\d+\.\w+|.+\.(qar|safetensors|pt|onnx)"
)
"""Drafts, files of SQLite, originals that `qar repair` has kept, and exported networks."""


def is_study_file(name: str) -> bool:
    """Whether a file or folder directly in the folder of a study is one that qar writes there."""
    return name in _OURS or _OURS_TOO.fullmatch(name) is not None


def study_exists(place: object) -> ValueError:
    """Return the error of a study that can't be created because one is there; `place` is quoted for a shell."""
    return ValueError(f"{place} holds a study already; continue it with: qar resume {place}")


class StudyStorage(Protocol):
    """A place where one study is kept: a folder, or a bucket of an object store.

    `str` returns its path or URI, quoted for a shell. Names of files are relative to the study, with `/` between parts.
    Methods raise StorageError if the place can't be reached.

    Attributes:
        path: folder on this machine with the study's files: the study itself, or a working copy.
        has_working_copy: whether `path` is a working copy.
    """

    path: Path
    has_working_copy: bool

    @property
    def parent(self) -> str:
        """Path or URI of the folder that the study lies in."""

    @property
    def confirmation(self) -> "StudyStorage":
        """The place of the study that confirms this one."""

    @property
    def confirmed(self) -> "StudyStorage | None":
        """The place of the study that this one confirms; None if this is not the place of a confirmation."""

    def names(self) -> set[str]:
        """Return the names of the files and folders at the top of the study, drafts left out."""

    def create(self, content: bytes) -> None:
        """Write study.yaml, for which `path` must exist; of several processes that try, one succeeds.

        Raises:
            ValueError: another process has created a study there.
            FileExistsError: the same, in a folder.
        """

    def discard(self, made: list[Path]) -> None:
        """Remove a study that has just been created, and the folders `made` for it, innermost first, if empty."""

    def publish(self) -> None:
        """Bring the place up to date with `path`."""

    def fetch_ledger(self) -> None:
        """Bring the ledger in `path` up to date with the place."""

    def fetch_results(self) -> None:
        """Bring what a report is made of into `path`."""

    def fetch_folder(self, name: str) -> None:
        """Bring all files of a folder into `path`."""

    def is_driven(self) -> bool:
        """Whether a driver runs the study."""

    def drive(self, say: Callable[[str], None]) -> LedgerCopy | None:
        """Claim the study for this process; return where the ledger's facts are kept besides its file, if anywhere.

        Args:
            say: called with a line where the claim takes a while.

        Raises:
            ValueError: another driver runs the study.
        """

    def replace_ledger(self, damaged: bytes, sound: bytes, say: Callable[[str], None]) -> None:
        """Put the sound beginning of a damaged ledger in its place.

        Args:
            damaged: content of the ledger as it was read; it must not have changed since.
            sound: content to write.
            say: called with a line where claiming the study takes a while.

        Raises:
            ValueError: a driver runs the study.
        """

    def prune_checkpoints(self, kept: Iterable[str]) -> None:
        """Remove what earlier sessions of Ray have left, except the checkpoints with these names."""

    def checkpoints(self) -> dict[str, int]:
        """Return the size of each checkpoint in bytes, by name in order of names."""

    def remove_checkpoints(self, names: Iterable[str]) -> None:
        """Remove the checkpoints with these names."""

    def requests(self) -> dict[str, bytes]:
        """Return the content of the requests to the driver, by name, in order of the names."""

    def add_request(self, name: str, content: bytes) -> None:
        """Write a request to the driver."""

    def remove_request(self, name: str) -> None:
        """Remove a request, if it is there."""

    def ray_options(self) -> dict[str, Any]:
        """Return where Ray Tune keeps its experiments, as arguments of `ray.tune.RunConfig`."""

    def name_of(self, checkpoint: str) -> str:
        """Return the name of a checkpoint, given its path as Ray states it."""

    def may_hold(self, name: str) -> bool:
        """Whether a file or folder may exist, as far as one can tell without a request to a server."""

    def address_of(self, name: str) -> str:
        """Return the path or URI by which every node finds a file or folder."""

    def shown(self, path: Path) -> str:
        """Return a path in `path` as the user knows it."""

    def as_shown(self, text: str) -> str:
        """Return a text with all paths in `path` replaced by those that the user knows."""
