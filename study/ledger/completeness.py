"""Whether a ledger fits the tables and study.yaml, found out without decoding its facts."""

import re
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from study.ledger.chain import LedgerPosition
from study.ledger.facts import ENDED
from trainables.result import END_STATES

POSITION_KEY = b"qar_ledger"
"""Key in the metadata of a table: offset and checksum of the ledger's last line when the table was made."""

_ENDED = re.compile(rb'"fact": ?"%s"' % ENDED.encode())
"""Part of each such line, and of no other: quotation marks in a text have backslashes before them."""
_DIGEST_KEY = b'"study_yaml": "'
_DIGEST = re.compile(rb'"(?:study_yaml|replaces)": "([0-9a-f]{64})"')
_BLOCK = 1 << 24
"""Bytes that are searched at a time."""
_POSITION = re.compile(rb"(\d{1,18}) ([0-9a-f]{16})")


def position_metadata(position: LedgerPosition | None) -> dict[bytes, bytes]:
    """Return the metadata of a table that was derived from a ledger up to a position."""
    return {} if position is None else {POSITION_KEY: f"{position.offset} {position.head}".encode()}


def table_position(path: Path) -> LedgerPosition | None:
    """Return the position in the ledger up to which a table was made; None if it states none or can't be read."""
    try:
        match = _POSITION.fullmatch((pq.read_schema(path).metadata or {}).get(POSITION_KEY, b""))
    except (pa.ArrowException, OSError):
        return None
    return LedgerPosition(int(match[1]), match[2].decode()) if match else None


class TableWitness:
    """Statement of trials.parquet about the ledger that it was derived from.

    A table that can't be read says nothing, for it is made anew. One of an earlier version, or one that another program
    has written anew, states no position; then the trials that have ended are counted.
    """

    def __init__(self, path: Path) -> None:
        """Read the metadata and the states of a table, which need not exist."""
        self.num_ended = 0
        self.position: LedgerPosition | None = None
        if not path.is_file():
            return
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                rows = file.read(columns=["number", "state"]).to_pylist()
            self.num_ended = len({row["number"] for row in rows if row["state"] in END_STATES})
        except (pa.ArrowException, OSError, KeyError, ValueError):
            return
        self.position = table_position(path)

    def contradiction(self, ledger: BinaryIO) -> str | None:
        """Return how an open ledger falls short of the table, in words; None if it does not."""
        if self.position is not None:
            if self.position.is_in(ledger):
                return None
            return f"lacks the line that ends at byte {self.position.offset}, up to which"
        if self.num_ended == 0:
            return None
        ledger.seek(0)
        ended = sum(line.endswith(b"\n") and _ENDED.search(line) is not None for line in ledger)
        return f"holds {ended} ended trials, of the {self.num_ended} from which" if ended < self.num_ended else None


def config_digests(ledger: BinaryIO) -> set[str]:
    """Return the SHA-256 sums that study.yaml may have according to an open ledger; none if it states none.

    A fact announces the replacement of study.yaml, so until the next session starts, the earlier file is valid too.
    """
    line = _last_line_with(_DIGEST_KEY, ledger)
    return {digest.decode() for digest in _DIGEST.findall(line)}


def _last_line_with(text: bytes, ledger: BinaryIO) -> bytes:
    """Return the last complete line that contains a text, empty if there is none; read from the end in blocks."""
    end, rest = ledger.seek(0, 2), b""
    while end > 0:
        start = max(0, end - _BLOCK)
        ledger.seek(start)
        block = ledger.read(end - start) + rest
        complete = block.rfind(b"\n") + 1
        newline = block.find(b"\n")
        first = 0 if start == 0 else newline + 1 if newline >= 0 else len(block)  # where the first whole line begins
        place = block.rfind(text, first, complete)
        if place >= 0:
            return block[block.rfind(b"\n", 0, place) + 1 : block.find(b"\n", place) + 1]
        end, rest = start, block[:first]
    return b""
