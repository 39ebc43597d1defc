"""`qar clean`: removes the checkpoints of a finished study that no command needs."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from study.containment import remove_tree
from study.ledger.front import front_so_far
from study.ledger.history import History
from study.ledger.ledger import read_history
from study.storage.folder import StudyFolder
from study.storage.liveliness import Liveliness, liveliness


@dataclass(frozen=True, kw_only=True)
class Superfluous:
    """Checkpoints that can be removed.

    Attributes:
        paths: their folders, relative to the study.
        num_bytes: their size on disk.
        kept: numbers of the trials whose newest checkpoint is kept, which can still be exported.
    """

    paths: tuple[str, ...]
    num_bytes: int
    kept: tuple[int, ...]


def superfluous_checkpoints(folder: StudyFolder, history: History) -> Superfluous:
    """Return all checkpoints except the newest one of each trial on the front.

    `qar reproduce` and `qar confirm` need no checkpoint: they train from the float baselines or from scratch.
    """
    front = {trial.number: trial.checkpoint.path for trial in front_so_far(history) if trial.checkpoint}
    existing = [folder.inner(path) for path in sorted(folder.ray.glob("session-*/*/checkpoint_*"))]
    paths = tuple(path for path in existing if path not in front.values())
    kept = tuple(sorted(number for number, path in front.items() if path in existing))
    return Superfluous(paths=paths, num_bytes=sum(_bytes_below(folder.path / path) for path in paths), kept=kept)


def check_finished(folder: StudyFolder) -> History:
    """Return the history of a study whose checkpoints may be removed.

    Raises:
        ValueError: the study lies in a bucket, holds a symbolic link, or has not finished.
        DamagedFileError: the files of the study can't be read.
    """
    if folder.storage.has_working_copy:
        raise ValueError(
            f"qar clean needs a study in a folder, got {folder}; remove {folder}/ray with the store's own tools"
        )
    config = folder.read_config()
    folder.check_no_links()
    history = read_history(folder.ledger)
    state = liveliness(folder, history, config.trials)
    if state is not Liveliness.FINISHED:
        raise ValueError(
            f"qar clean needs a study that has finished, got {folder} ({state}); its checkpoints are needed to go on: "
            f"qar resume {folder}"
        )
    return history


def remove_checkpoints(folder: StudyFolder, superfluous: Superfluous) -> None:
    """Remove checkpoints, with the ledger locked so that no driver can start.

    Raises:
        ValueError: another process runs the study.
        StorageError: the ledger can't be opened.
        OSError: a file can't be removed.
    """
    with closing(folder.open_ledger(lambda line: None)):
        for path in superfluous.paths:
            remove_tree(folder.path, path)


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
