"""Errors that interrupt a study and end a command in one line: reason, remedy, and the command that goes on."""

import errno
import os
import re

_STORAGE_FAILURES = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG),
    *(errno.ESTALE, errno.ENOTCONN),  # raised by network file systems
}
_OBJECT_STORE_CLIENT = re.compile(r"AWS Error|google::cloud::Status|Azure Error")
"""Names in the messages of the clients of object stores, which set no error number."""


class StudyInterrupted(Exception):
    """The study can't go on until something outside of it is corrected; it can then be resumed, with nothing lost."""


class StorageError(StudyInterrupted):
    """The storage of a study can't be used."""


class StorageUnwritable(StorageError):
    """The storage of a study can't be written, or can't be reached."""

    def __init__(self, folder: object, error: OSError) -> None:
        """Name the operating system's reason and the remedy that fits it.

        Args:
            folder: path or URI of the study.
            error: exception of writing; the client of an object store sets no error number.
        """
        if error.errno:
            text = f"storage {folder} can't be written: {os.strerror(error.errno)}; {remedy(error.errno)}, then"
        else:
            text = f"storage {folder} can't be reached: {' '.join(str(error).split())}; once it can,"
        super().__init__(f"{text} go on with: qar resume {folder}")


class StorageUnlockable(StorageError):
    """The file system of the storage keeps no locks, as Lustre without its mount option."""

    def __init__(self, folder: object, error: OSError) -> None:
        """Take the path of the study, and the error that locking has raised."""
        super().__init__(
            f"storage {folder} must be able to lock files, so that a study has one driver: "
            f"{os.strerror(error.errno or 0)}; mount it with flock, or choose another --storage"
        )


class StorageNotShared(StorageError):
    """A node of the cluster does not see the storage."""

    def __init__(self, folder: object, node: str | None) -> None:
        """Take the path of the study, and the address of the node if it is known."""
        super().__init__(
            f"storage {folder} must be seen by all nodes, but is not by {node or 'one of them'}; mount it there, put "
            f"it back if it was removed, or take the node away, then go on with: qar resume {folder}"
        )


class NodeUnusable(StudyInterrupted):
    """A node can't write its own files, such as those in its folder for temporary files."""

    def __init__(self, folder: object, error: OSError, node: str | None) -> None:
        """Take the path of the study, the node's error, and the node's address if it is known."""
        super().__init__(
            f"{error.filename} on {node or 'a node'} can't be used: {os.strerror(error.errno or 0)}; "
            f"{remedy(error.errno)}, then go on with: qar resume {folder}"
        )


class NodeLacksDataset(StudyInterrupted):
    """A node can't load the data set of the study."""

    def __init__(self, folder: object, reason: str, node: str | None) -> None:
        """Take the path of the study, the reason with its remedy, and the node's address if it is known."""
        super().__init__(
            f"{node or 'a node'} can't load the data set: {reason}; or take that node away; then go on with: "
            f"qar resume {folder}"
        )


class BaselineFailed(StudyInterrupted):
    """The float network could not be trained, for a reason that is not the storage's."""

    def __init__(self, folder: object, cause: BaseException, node: str | None) -> None:
        """Take the path of the study, the exception of the training, and the node's address if it is known."""
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        super().__init__(
            f"the float network that all trials begin from could not be trained on {node or 'a node'}: {reason}; "
            f"correct that, then go on with: qar resume {folder}"
        )


class TrialsFailAlike(StudyInterrupted):
    """The first trials of a session have all failed for the same reason."""

    def __init__(self, folder: object, reason: str, trials: int) -> None:
        """Take the path of the study, the common reason, and the number of trials that must fail."""
        super().__init__(
            f"the first {trials} trials all failed alike: {reason}; correct that, then go on with: qar resume "
            f"{folder}, or launch it anew under another --name"
        )


def interruption_behind(error: BaseException | None, folder: object) -> StudyInterrupted | None:
    """Return the interruption that has led to an error, also if libraries have wrapped it; None if there is none.

    Args:
        error: the exception that was caught.
        folder: path or URI of the study.
    """
    while error is not None:
        if isinstance(error, StudyInterrupted):
            return error
        if isinstance(error, OSError) and (error.errno in _STORAGE_FAILURES or is_object_store_error(error)):
            return StorageUnwritable(folder, error)
        error = error.__cause__ or error.__context__
    return None


def is_object_store_error(error: BaseException) -> bool:
    """Return whether an error comes from the client of an object store, also from within an actor."""
    return _OBJECT_STORE_CLIENT.search(str(error)) is not None


def remedy(number: int | None, place: str = "there") -> str:
    """Return what to do about an error of the operating system.

    Args:
        number: its `errno`.
        place: where it happened: a path, or `there`.
    """
    file_system, disk, into, inside = "its file system", "its disk", "there", "there"
    if place != "there":
        file_system, disk, into, inside = (
            f"the file system of {place}",
            f"the disk of {place}",
            f"to {place}",
            f"in {place}",
        )
    match number:
        case errno.ENOSPC:
            return f"free space {inside}"
        case errno.EDQUOT:
            return f"free space {inside} or raise the quota"
        case errno.EFBIG:
            return "raise the limit of file sizes (ulimit -f)"
        case errno.EACCES | errno.EPERM:
            return f"give the right to write {into}"
        case errno.EROFS:
            return f"mount {file_system} for writing"
        case errno.EIO:
            return f"check {disk}, and the system's log (dmesg)"
        case errno.ESTALE | errno.ENOTCONN:
            return f"mount {file_system} again"
        case errno.ENOENT:
            return "put it back"
        case errno.EISDIR | errno.ENOTDIR:
            return "move away what is in its place"
        case errno.EMFILE | errno.ENFILE:
            return "raise the limit of open files (ulimit -n 65536)"
    return "correct that"
