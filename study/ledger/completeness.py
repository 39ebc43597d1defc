"""Counts of ended trials in a ledger and in the table derived from it, without reading either in full."""

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from study.ledger.facts import ENDED
from trainables.result import END_STATES

_ENDED = re.compile(rb'"fact": ?"%s"' % ENDED.encode())
"""Part of each such line, and of no other: quotation marks in a text have backslashes before them."""


def num_ended_in_ledger(content: bytes) -> int:
    """Return how many trials have ended according to the whole lines of a ledger."""
    return sum(1 for _ in _ENDED.finditer(content, 0, content.rfind(b"\n") + 1))


def num_ended_in_table(path: Path) -> int:
    """Return how many trials have ended according to trials.parquet; 0 if it can't be read, for it is made anew."""
    if not path.is_file():
        return 0
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            states = file.read(columns=["number", "state"])
        ended = {row["number"] for row in states.to_pylist() if row["state"] in END_STATES}
    except (pa.ArrowException, OSError, KeyError, ValueError):
        return 0
    return len(ended)
