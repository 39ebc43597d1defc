"""Reading of files that may have come from anywhere: regular files alone, and no more of them than expected."""

import os
import stat
from io import BufferedReader
from pathlib import Path

from trainables.errors import IrregularFileError


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading; a device or a pipe, which might never end, is refused.

    Raises:
        OSError: there is no such file, or it can't be opened.
        IrregularFileError: it is something else than a regular file.
    """
    # Without O_NONBLOCK, opening a pipe waits for somebody to write into it.
    file = open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise IrregularFileError(f"{path} must be a regular file, got a device or a pipe; give another")
    return file


def read_regular(path: Path, limit: int) -> bytes:
    """Return the content of a regular file of at most `limit` bytes; raises as `open_regular`."""
    with open_regular(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise IrregularFileError(f"{path} must have at most {limit} bytes, got more; give another")
    return content
