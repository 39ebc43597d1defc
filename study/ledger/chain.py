"""The chain of a ledger: each line ends with a checksum of itself and of all lines before it.

A line is `{"fact": …, "chain": "0123456789abcdef"}`. Its checksum is BLAKE2b over the checksum of the line before and
the bytes of the line without `, "chain": "…"}`. So every changed, missing, added or moved byte is noticed in the first
line that it affects. Lines that earlier versions wrote have no checksum. They count towards the first line that has
one; no line without one may follow.
"""

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import BinaryIO

DIGEST_BYTES = 8
"""Length of a checksum. A random change passes with a probability of 2^-64."""

_SEAL = re.compile(rb', "chain": "([0-9a-f]{%d})"\}' % (2 * DIGEST_BYTES))
_SEAL_BYTES = len(b', "chain": ""}') + 2 * DIGEST_BYTES  # as _seal makes it


@dataclass(frozen=True)
class LedgerPosition:
    """The end of a line of a ledger, by which another file says up to where it was derived from it.

    Attributes:
        offset: bytes up to there, the newline included.
        head: checksum of the line.
    """

    offset: int
    head: str

    def is_in(self, ledger: BinaryIO) -> bool:
        """Whether an open ledger holds the line at this place."""
        length = _SEAL_BYTES + 1
        ledger.seek(max(0, self.offset - length))
        return ledger.read(length) == _seal(self.head.encode()) + b"\n"


def _seal(head: bytes) -> bytes:
    return b', "chain": "%b"}' % head


class ChainError(ValueError):
    """A line does not continue the chain; the message gives the reason, in one line."""


@dataclass
class Chain:
    """The checksums of a ledger, from its first line up to the present one.

    Attributes:
        lines: number of lines so far.
        head: checksum of the last line, as in the file; that of an empty ledger is empty.
        is_sealed: whether a line with a checksum was seen.
    """

    lines: int = 0
    head: bytes = b""
    is_sealed: bool = False

    def seal(self, line: bytes) -> bytes:
        """Append a line and return it with its checksum.

        Args:
            line: a JSON object of at least one key, and a newline.
        """
        body = line[:-2]
        self._append(body)
        self.is_sealed = True
        return body + _seal(self.head) + b"\n"

    def verify(self, line: bytes) -> bytes:
        """Append a line that was read, and return it without its checksum and newline.

        Args:
            line: a line of the file, without its newline.

        Raises:
            ChainError: the line is not the one that was written after those before it.
        """
        match = _SEAL.fullmatch(line, max(0, len(line) - _SEAL_BYTES))
        if match is None:
            if self.is_sealed:
                raise ChainError("it has no checksum, unlike the lines before it")
            self._append(line)
            return line
        before = self.lines
        body = line[:-_SEAL_BYTES]
        self._append(body)
        if match[1] != self.head:
            also = f", or one of the {before} lines before it, which have none" if before and not self.is_sealed else ""
            raise ChainError(f"its checksum does not match: it was changed, or lines before it are missing{also}")
        self.is_sealed = True
        return body + b"}"

    def position(self, offset: int) -> LedgerPosition | None:
        """Return the end of the last line, at an offset in bytes; None if that line has no checksum."""
        return LedgerPosition(offset, self.head.decode()) if self.is_sealed else None

    def check_rest(self, rest: bytes) -> None:
        """Check the bytes after the last newline, which are the beginning of a line if a crash has cut it off.

        Raises:
            ChainError: they are the whole next line, with other bytes in place of its newline.
        """
        for match in _SEAL.finditer(rest, 0, len(rest) - 1):
            if match[1] == self._after(rest[: match.start()]):
                raise ChainError("it is whole, but its newline was changed")

    def _append(self, body: bytes) -> None:
        self.lines += 1
        self.head = self._after(body)

    def _after(self, body: bytes) -> bytes:
        return blake2b(self.head + body, digest_size=DIGEST_BYTES).hexdigest().encode()
