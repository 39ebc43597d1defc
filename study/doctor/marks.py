"""Files that the nodes of a cluster write for one another, to find out whether they share a storage."""

import fcntl
import shutil
from contextlib import suppress
from pathlib import Path

from study.errors import StorageError
from study.storage.object_store import BucketFolder, is_uri


def write_mark(folder: str, name: str) -> str | None:
    """Write a file that other nodes read with `unseen_marks`.

    Args:
        folder: path or URI of the folder to write into; it is created if missing.
        name: name of the file, which is also its content.

    Returns:
        The reason why the file can't be written, in one line; None if it was written.
    """
    try:
        if is_uri(folder):
            BucketFolder.open(folder).write(name, name.encode())
        else:
            Path(folder).mkdir(parents=True, exist_ok=True)
            with (Path(folder) / name).open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as a driver will
                file.write(name)
    except OSError as error:
        return error.strerror or str(error)
    except (ValueError, StorageError) as error:  # of an object store, in one line
        return str(error)
    return None


def unseen_marks(folder: str, names: list[str]) -> list[str]:
    """Return the names of those files of `write_mark` that this node can't read.

    Args:
        folder: path or URI of the folder with the files.
        names: names of the files that other nodes have written.
    """

    def seen(name: str) -> bool:
        try:
            if is_uri(folder):
                return BucketFolder.open(folder).read(name) == name.encode()
            return (Path(folder) / name).read_text() == name
        except (OSError, ValueError, StorageError):
            return False

    return [name for name in names if not seen(name)]


def remove_marks(folder: str) -> None:
    """Remove the files of `write_mark` and their folder; failures are ignored.

    Args:
        folder: path or URI of the folder with the files.
    """
    if not is_uri(folder):
        shutil.rmtree(folder, ignore_errors=True)
        return
    with suppress(ValueError, StorageError):
        marks = BucketFolder.open(folder)
        for name in marks.names():
            marks.remove(name)
