"""Reading of a ledger: its longest sound beginning, and the first line that is damaged."""

import hashlib
import io
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from study.ledger.chain import Chain
from study.ledger.coding import decode
from study.ledger.history import History
from study.ledger.order import check_order
from study.ledger.snapshot import Snapshot, read_snapshot, snapshot_of
from trainables.errors import DamagedFileError
from trainables.files.regular import open_regular


@dataclass
class Reading:
    """Content of a ledger up to its first damaged line, or up to its end.

    Attributes:
        history: state of the study after these lines.
        chain: checksums of these lines.
        intact: offset after the last of these lines, in bytes.
        lines: number of these lines.
        content: SHA-256 of these lines, as an object of `hashlib`.
        lines_in_snapshot: number of the lines that were not decoded, since a snapshot held what follows from them.
        damage: number and reason of the first damaged line, in one line; None if there is none. An incomplete last line
            is none: a crash has cut it off, and the program never acted on it.
    """

    history: History = field(default_factory=History)
    chain: Chain = field(default_factory=Chain)
    intact: int = 0
    lines: int = 0
    content: Any = field(default_factory=hashlib.sha256)
    lines_in_snapshot: int = 0
    damage: str | None = None

    def refuse_damage(self, path: Path) -> None:
        """Raise DamagedFileError if a line of the ledger with this path is damaged."""
        if self.damage is not None:
            raise DamagedFileError(
                f"{path} is damaged in {self.damage}; restore the file from a copy, or keep what is sound with: "
                f"qar repair {shlex.quote(str(path.parent))}"
            )


def read(content: bytes) -> Reading:
    """Return what a ledger's content holds up to its first damaged line."""
    return _read_on(Reading(), io.BytesIO(content))


def _read_on(reading: Reading, ledger: BinaryIO) -> Reading:
    """Continue a reading with the lines that follow in an open ledger, up to the first damaged one."""
    before = b""
    for line in ledger:
        sound = Chain(lines=reading.chain.lines, head=reading.chain.head, is_sealed=reading.chain.is_sealed)
        try:
            if not line.endswith(b"\n"):
                reading.chain.check_rest(line)
                break
            if line == before:
                raise ValueError("it repeats the line before it")
            fact = decode(reading.chain.verify(line[:-1]))
            check_order(reading.history, fact)
        except ValueError as error:
            reading.damage = f"line {reading.lines + 1}: {' '.join(str(error).split())}"
            reading.chain = sound
            break
        reading.history.apply(fact)
        reading.content.update(line)
        reading.intact += len(line)
        reading.lines += 1
        before = line
    reading.history.position = reading.chain.position(reading.intact)
    return reading


def read_history(path: Path) -> History:
    """Return the history that follows from a ledger, without opening it for writing.

    Args:
        path: path of the ledger, which need not exist.

    Raises:
        DamagedFileError: a complete line can't be read, or contradicts those before it.
    """
    return read_file(path).history


def read_file(path: Path) -> Reading:
    """Return the reading of a ledger that is sound as a whole; raises as `read_history` does.

    Where a snapshot holds the beginning, only the lines after it are decoded.
    """
    if not path.exists():
        return Reading()
    with open_regular(path) as ledger:
        snapshot = read_snapshot(snapshot_of(path), ledger)
        if snapshot is not None:
            reading = _read_on(_reading_of(snapshot), ledger)
            if reading.damage is None:
                return reading
        ledger.seek(0)
        reading = _read_on(Reading(), ledger)
    reading.refuse_damage(path)
    return reading


def _reading_of(snapshot: Snapshot) -> Reading:
    """Return the reading of the lines that a snapshot was derived from."""
    position = snapshot.history.position
    assert position is not None
    chain = Chain(lines=snapshot.lines, head=position.head.encode(), is_sealed=True)
    lines = snapshot.lines
    return Reading(snapshot.history, chain, position.offset, lines, snapshot.content, lines_in_snapshot=lines)
