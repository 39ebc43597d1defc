"""The lock of a ledger's file, which one process at a time can hold."""

import fcntl
import shlex
from io import FileIO
from pathlib import Path

from study.errors import StorageUnlockable, StorageUnwritable
from trainables.files.regular import open_regular


def lock(path: Path) -> FileIO:
    """Open a ledger for appending and lock it until the file is closed; it is created if missing.

    Raises:
        ValueError: another process holds the ledger.
        StorageError: the file can't be opened for writing or locked.
    """
    study = shlex.quote(str(path.parent))
    try:
        file = path.open("ab", buffering=0)
    except OSError as error:
        raise StorageUnwritable(study, error) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ValueError(f"{study} is being run by another process; watch it with: qar status {study}") from None
    except OSError as error:
        file.close()
        raise StorageUnlockable(study, error) from None
    return file


def is_being_written(path: Path) -> bool:
    """Whether a process holds the ledger; processes of other machines are missed where locks aren't shared.

    Args:
        path: path of the ledger, which need not exist.

    Raises:
        StorageError: the file system can't lock files.
    """
    try:
        with open_regular(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError as error:
        raise StorageUnlockable(path.parent, error) from None
    return False
