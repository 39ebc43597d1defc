"""Reading of a ledger: its longest sound beginning, and the first line that is damaged."""

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from study.ledger.chain import Chain, ChainError
from study.ledger.facts import decode
from study.ledger.history import History
from study.ledger.order import check_order
from trainables.errors import DamagedFileError


@dataclass
class Reading:
    """Content of a ledger up to its first damaged line, or up to its end.

    Attributes:
        history: state of the study after these lines.
        chain: checksums of these lines.
        intact: offset after the last of these lines, in bytes.
        lines: number of these lines.
        damage: number and reason of the first damaged line, in one line; None if there is none. An incomplete last line
            is none: a crash has cut it off, and the program never acted on it.
    """

    history: History = field(default_factory=History)
    chain: Chain = field(default_factory=Chain)
    intact: int = 0
    lines: int = 0
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
    reading, before = Reading(), b""
    *lines, rest = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        sound = Chain(lines=number - 1, head=reading.chain.head, is_sealed=reading.chain.is_sealed)
        try:
            if line == before:
                raise ValueError("it repeats the line before it")
            fact = decode(reading.chain.verify(line))
            check_order(reading.history, fact)
        except ValueError as error:
            reading.damage = f"line {number}: {' '.join(str(error).split())}"
            reading.chain = sound
            break
        reading.history.apply(fact)
        reading.intact += len(line) + 1
        reading.lines = number
        before = line
    else:
        try:
            reading.chain.check_rest(rest)
        except ChainError as error:
            reading.damage = f"line {len(lines) + 1}: {error}"
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
    """Return the reading of a ledger that is sound as a whole; raises as `read_history` does."""
    reading = read(path.read_bytes() if path.exists() else b"")
    reading.refuse_damage(path)
    return reading
