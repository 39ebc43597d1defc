"""Checksum of an archive within the archive, in the comment at the end of a zip file: `unzip -z` shows it."""

import hashlib
import re
import struct
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from trainables.files.regular import open_regular

_SEAL = re.compile(rb"sha256 ([0-9a-f]{64})")
_LENGTH = struct.Struct("<H")
"""Last field of a zip archive: the length of the comment that follows it."""

_SEAL_BYTES = _LENGTH.size + len("sha256 ") + 64


@runtime_checkable
class Sink(Protocol):
    """A file that is written from its beginning to its end."""

    def write(self, content: Any, /) -> Any:
        """Append bytes."""


class SealingWriter:
    """Writer of a zip archive that adds the archive's SHA-256 as its comment, and knows that of the whole file.

    The length of the comment precedes it, and is 0 in the archive as it arrives; so the last two bytes are held back
    until the end. Nothing is read again.
    """

    def __init__(self, sink: Sink) -> None:
        """Write to a sink."""
        self._sink = sink
        self._hash = hashlib.sha256()
        self._end = b""

    def write(self, content: bytes | memoryview) -> int:
        """Append a part of the archive; return its length."""
        part = memoryview(content).cast("B")
        if len(part) < _LENGTH.size:
            part = memoryview(self._end + bytes(part))
        else:
            self._emit(self._end)
        self._emit(part[: -_LENGTH.size])
        self._end = bytes(part[-_LENGTH.size :])
        return len(content)

    def flush(self) -> None:
        """Do nothing: the sink's owner flushes it."""

    def seal(self) -> str:
        """Append the comment, and return the SHA-256 of the whole file.

        Raises:
            ValueError: no archive without a comment was written.
        """
        if self._end != _LENGTH.pack(0):
            raise ValueError("the archive must end without a comment, got another end")
        comment = b"sha256 " + self._hash.hexdigest().encode()
        self._emit(_LENGTH.pack(len(comment)) + comment)
        return self._hash.hexdigest()

    def _emit(self, content: bytes | memoryview) -> None:
        self._hash.update(content)
        self._sink.write(content)


def sealed_sum(path: Path) -> str | None:
    """Return the SHA-256 of a whole sealed file; None if the file is not what was sealed.

    Raises:
        OSError, IrregularFileError: the file can't be read.
    """
    with open_regular(path) as file:
        digest = hashlib.sha256()
        left = path.stat().st_size - _SEAL_BYTES
        while left > 0 and (part := file.read(min(left, 2**20))):
            digest.update(part)
            left -= len(part)
        end = file.read(_SEAL_BYTES + 1)
    seal = _SEAL.fullmatch(end[_LENGTH.size :])
    if left != 0 or seal is None or end[: _LENGTH.size] != _LENGTH.pack(_SEAL_BYTES - _LENGTH.size):
        return None
    if seal[1].decode() != digest.hexdigest():
        return None
    digest.update(end)
    return digest.hexdigest()
