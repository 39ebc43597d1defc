"""Safe reading of untrusted files: only regular files, and only up to a limit."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

from trainables.errors import IrregularFileError


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading; devices and pipes, which might never end, are refused.

    Raises:
        OSError: the file does not exist, is a folder, or cannot be opened.
        IrregularFileError: the path is not a regular file.
    """
    # Without O_NONBLOCK, opening a pipe blocks until another process opens it for writing.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return open(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise IrregularFileError(f"{path} must be a regular file, got a device or a pipe; give another")


def read_regular(path: Path, limit: int) -> bytes:
    """Return the content of a regular file.

    Args:
        path: the file.
        limit: greatest size that is accepted, in bytes.

    Raises:
        OSError: the file does not exist or cannot be opened.
        IrregularFileError: the path is not a regular file, or the file is larger than `limit`.
    """
    with open_regular(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise IrregularFileError(f"{path} must have at most {limit} bytes, got more; give another")
    return content
