"""Many studies: `qar list`, `qar remove` and `qar rename`."""

import os
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any

from study.config import StudyConfig, parse_study
from study.containment import remove_tree
from study.errors import StorageError
from study.ledger.front import front_so_far
from study.storage.folder import StudyFolder
from study.storage.liveliness import liveliness
from study.storage.object_store import BucketFolder, below, is_uri
from study.storage.study_storage import STUDY_YAML, is_study_file
from trainables.errors import DamagedFileError, message_of


@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """One line of a list of studies.

    Attributes:
        name: name of the study's folder.
        state: state of its latest driver; None if its files can't be read.
        ended: number of trials that have ended.
        trials: number of trials in total.
        best: highest `val_accuracy` of the front; None without one.
        least_bits: fewest bits per weight of the front; None without one.
        num_bytes: size of the folder; None for a study in a bucket.
        age: seconds since its latest fact; None if it has none.
        problem: reason why its files can't be read, in one line.
    """

    name: str
    state: str | None = None
    ended: int = 0
    trials: int = 0
    best: float | None = None
    least_bits: float | None = None
    num_bytes: int | None = None
    age: float | None = None
    problem: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the summary for programs."""
        return asdict(self)


def list_studies(storage: str) -> list[StudySummary]:
    """Return the studies in a folder or bucket, by name; one that can't be read has a `problem`.

    Raises:
        ValueError: there is no such folder.
        StorageError: the bucket can't be reached.
    """
    return [_summary(name, address) for name, address in _addresses_in(storage)]


def _addresses_in(storage: str) -> list[tuple[str, str]]:
    if is_uri(storage):
        suffix = f"/{STUDY_YAML}"
        names = [name.removesuffix(suffix) for name in BucketFolder.open(storage).names() if name.endswith(suffix)]
        return [(name, below(storage, name)) for name in names if "/" not in name]
    root = Path(storage)
    if not root.is_dir():
        raise ValueError(f"STORAGE must be a folder that holds studies, got {storage!r}; correct the path")
    return [(path.name, str(path)) for path in sorted(root.iterdir()) if os.path.lexists(path / STUDY_YAML)]


def _summary(name: str, address: str) -> StudySummary:
    try:
        folder = StudyFolder.at(address)
        config, history = folder.read_config(), folder.read_history()
        state = liveliness(folder, history, config)
    except (ValueError, DamagedFileError, StorageError, OSError) as error:
        return StudySummary(name=name, problem=message_of(error))
    front = front_so_far(history)
    return StudySummary(
        name=name,
        state=state,
        ended=history.num_ended,
        trials=config.trials,
        best=front[-1].last["val_accuracy"] if front else None,
        least_bits=front[0].last["bits_per_weight"] if front else None,
        num_bytes=None if folder.storage.has_working_copy else _bytes_below(folder.path),
        age=max(0.0, time.time() - history.sessions[-1].latest) if history.sessions else None,
    )


def _bytes_below(folder: Path) -> int:
    """Return the size of all files; those that a running driver removes meanwhile don't count."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                status = os.lstat(os.path.join(parent, name))
                total += status.st_size if S_ISREG(status.st_mode) else 0
    return total


def remove_study(folder: StudyFolder, say: Callable[[str], None]) -> None:
    """Remove a study with all its files, while holding its ledger, so that no driver can start.

    Raises:
        ValueError: the folder holds no study, another process runs it, it lies in a bucket, or it holds a link or a
            file that qar did not write.
    """
    _require_folder(folder, "remove", "remove its objects with the store's own tools")
    if others := sorted(path.name for path in folder.path.iterdir() if not is_study_file(path.name)):
        raise ValueError(
            f"{folder} must hold a study alone to be removed, got {', '.join(map(repr, others[:3]))}"
            f"{', …' if len(others) > 3 else ''}; move what you want to keep elsewhere, and remove the rest"
        )
    config = _readable_config(folder)
    with closing(folder.open_ledger(say)):
        remove_tree(folder.path.resolve().parent, folder.path.resolve().name)
    if config is not None and config.optuna_storage:
        say(f"the study {config.name!r} in {config.optuna_storage} is kept; delete it there with Optuna's own tools")


def _readable_config(folder: StudyFolder) -> StudyConfig | None:
    try:
        return folder.read_config()
    except DamagedFileError:
        return None  # a damaged study can be removed too


def rename_study(folder: StudyFolder, name: str, say: Callable[[str], None]) -> StudyFolder:
    """Rename a study and its folder. Trials keep their names, which are those in papers and exported files.

    Raises:
        ValueError: the folder holds no study, the name is invalid or taken, another process runs the study, or it lies
            in a bucket.
        DamagedFileError: study.yaml can't be read.
    """
    _require_folder(folder, "rename", "copy its objects with the store's own tools, then change the name in study.yaml")
    config = folder.read_config()
    renamed = parse_study(config.model_dump() | {"name": name}, "NAME", stored=True)
    target = folder.path.resolve().with_name(name)
    with closing(folder.open_ledger(say)) as ledger:
        if os.path.lexists(target):
            raise ValueError(f"NAME must be free, got {name!r}, but {target} exists; choose another")
        os.rename(folder.path.resolve(), target)  # first: if it fails, nothing has changed
        moved = StudyFolder(target)
        if config.optuna_storage is None:
            moved.optuna_db.unlink(missing_ok=True)  # made again from the ledger, under the new name
        moved.record_config(config.model_copy(update={"name": renamed.name}), ledger)
    if config.optuna_storage:
        say(f"the study {config.name!r} in {config.optuna_storage} keeps its name; the next session adds {name!r}")
    return moved


def _require_folder(folder: StudyFolder, command: str, remedy: str) -> None:
    if folder.storage.has_working_copy:
        raise ValueError(f"qar {command} needs a study in a folder, got {folder}; {remedy}")
    if not folder.exists():
        raise ValueError(f"{folder} is no study folder (it has no study.yaml); give the folder of a study")
