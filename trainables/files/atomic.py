"""Atomic writing of files: a file appears complete or not at all, even if the process is killed."""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
"""Errors of file systems without hard links."""


def is_draft(name: str) -> bool:
    """Whether a file name is that of a draft, which a killed process may have left."""
    return name.startswith(".") and name.endswith(".draft")


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a new file that takes the place of `path` when the block ends without an exception. Raises OSError."""
    with _draft(path) as (draft, file):
        yield file
        _flush(file)
        os.replace(draft, path)


def create(path: Path, content: bytes) -> None:
    """Write a file that must not exist yet; of several processes that try, one succeeds.

    Raises:
        FileExistsError: it exists.
        OSError: it can't be written.
    """
    with _draft(path) as (draft, file):
        file.write(content)
        _flush(file)
        try:
            os.link(draft, path)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            with path.open("xb") as whole:
                whole.write(content)
                _flush(whole)


@contextmanager
def _draft(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Yield a new file beside `path`, with a name of its own, which follows no link; it is removed at the end."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.draft")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(draft, flags, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield draft, file
    finally:
        with suppress(OSError):
            draft.unlink()


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())  # or the new name might outlive a power cut without the content
