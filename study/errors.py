"""Errors of a study that end a command in one line."""

import errno
import os
import re

_STORAGE_FAILS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG),
    *(errno.ESTALE, errno.ENOTCONN),  # of file systems on a network
}
_OF_AN_OBJECT_STORE = re.compile(r"AWS Error|google::cloud::Status")
"""In what the clients of object stores raise, which have no error numbers."""


class StorageError(Exception):
    """A study's storage can't be written; the message says where, why and what to do, in one line."""

    @classmethod
    def of(cls, folder: object, error: OSError) -> "StorageError":
        if not error.errno:
            reason = " ".join(str(error).split())
            return cls(f"storage {folder} can't be reached: {reason}; once it can, go on with: qar resume {folder}")
        reason = os.strerror(error.errno)
        remedy = "put it back, or make room and give the right to write"
        if error.errno != errno.ENOENT:
            remedy = "make room or give the right to write"
        return cls(f"storage {folder} can't be written: {reason}; {remedy}, then go on with: qar resume {folder}")

    @classmethod
    def of_a_node(cls, folder: object, error: OSError, node: str | None) -> "StorageError":
        """Of what is not the storage, as a node's folder for temporary files, and stays as it is."""
        return cls(
            f"{error.filename} on {node or 'a node'} can't be used: {os.strerror(error.errno or 0)}; make room or give "
            f"the right there, then go on with: qar resume {folder}"
        )

    @classmethod
    def not_shared(cls, folder: object, node: str | None) -> "StorageError":
        """Of a node that came to the cluster without it."""
        return cls(
            f"storage {folder} must be seen by all nodes, but is not by {node or 'one of them'}; mount it there, put "
            f"it back if it was removed, or take the node away, then go on with: qar resume {folder}"
        )

    @classmethod
    def without_dataset(cls, folder: object, reason: str, node: str | None) -> "StorageError":
        """Of a node that can't load what a study trains on."""
        return cls(
            f"{node or 'a node'} can't load the data set: {reason}; or take that node away; then go on with: "
            f"qar resume {folder}"
        )

    @classmethod
    def of_a_baseline(cls, folder: object, cause: BaseException, node: str | None) -> "StorageError":
        """Of a float baseline that could not be trained, for a reason that is not the storage's."""
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        return cls(
            f"a float baseline that all trials begin from could not be trained on {node or 'a node'}: {reason}; mend "
            f"that, then go on with: qar resume {folder}"
        )

    @classmethod
    def without_locks(cls, folder: object, error: OSError) -> "StorageError":
        """Of a file system that keeps no locks, as Lustre does not unless it is mounted with them."""
        return cls(
            f"storage {folder} must be able to lock files, so that a study has one driver: "
            f"{os.strerror(error.errno or 0)}; mount it with flock, or choose another --storage"
        )

    @classmethod
    def behind(cls, error: BaseException | None, folder: object) -> "StorageError | None":
        """The storage's failure that has led to an error, if one has; libraries wrap what they are told.

        Args:
            error: that was caught.
            folder: of the study, as its user names it.
        """
        while error is not None:
            if isinstance(error, cls):
                return error
            if isinstance(error, OSError) and (error.errno in _STORAGE_FAILS or is_of_an_object_store(error)):
                return cls.of(folder, error)
            error = error.__cause__ or error.__context__
        return None


def is_of_an_object_store(error: BaseException) -> bool:
    """Whether an error comes from an object store's client, be it inside of an actor: no answer, or a refusal."""
    return _OF_AN_OBJECT_STORE.search(str(error)) is not None
