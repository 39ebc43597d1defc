"""`qar clean`: removes the checkpoints of a finished study that no command needs."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from study.ledger.front import front_so_far
from study.ledger.history import History
from study.storage.folder import StudyFolder
from study.storage.liveliness import Liveliness, liveliness


@dataclass(frozen=True, kw_only=True)
class Superfluous:
    """Checkpoints that can be removed.

    Attributes:
        names: their names in the study's storage.
        num_bytes: their total size.
        kept: numbers of the trials whose newest checkpoint is kept, which can still be exported.
    """

    names: tuple[str, ...]
    num_bytes: int
    kept: tuple[int, ...]


def superfluous_checkpoints(folder: StudyFolder, history: History) -> Superfluous:
    """Return all checkpoints except the newest one of each trial on the front.

    `qar reproduce` and `qar confirm` need no checkpoint: they train from the float networks or from scratch.

    Raises:
        StorageError: the study lies in a bucket that can't be reached.
    """
    front = {trial.number: trial.checkpoint.path for trial in front_so_far(history) if trial.checkpoint}
    existing = folder.storage.checkpoints()
    names = tuple(name for name in existing if name not in front.values())
    kept = tuple(sorted(number for number, name in front.items() if name in existing))
    return Superfluous(names=names, num_bytes=sum(existing[name] for name in names), kept=kept)


def check_finished(folder: StudyFolder) -> History:
    """Return the history of a study whose checkpoints may be removed.

    Raises:
        ValueError: the study holds a symbolic link, or has not finished.
        DamagedFileError: the files of the study can't be read.
        StorageError: the study lies in a bucket that can't be reached.
    """
    config = folder.read_config()
    folder.check_no_links()
    history = folder.read_history()
    state = liveliness(folder, history, config)
    if state is not Liveliness.FINISHED:
        raise ValueError(
            f"qar clean needs a study that has finished, got {folder} ({state}); its checkpoints are needed to go on: "
            f"qar resume {folder}"
        )
    return history


def remove_checkpoints(folder: StudyFolder, superfluous: Superfluous, say: Callable[[str], None]) -> None:
    """Remove checkpoints, with the ledger locked so that no driver can start.

    Args:
        folder: folder of the study.
        superfluous: the checkpoints.
        say: called with a line where the lock takes a while.

    Raises:
        ValueError: another process runs the study.
        StorageError: the ledger can't be opened, or the bucket can't be reached.
        OSError: a file can't be removed.
    """
    with closing(folder.open_ledger(say)):
        folder.storage.remove_checkpoints(superfluous.names)
