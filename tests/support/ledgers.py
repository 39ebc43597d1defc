"""Ledgers that tests change: rewritten facts, and files as earlier versions wrote them."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

_SEAL = re.compile(rb', "chain": "[0-9a-f]{16}"(?=\}\n)')


def without_checksums(content: bytes) -> bytes:
    """Return the content of a ledger without the checksums of its lines, as versions before the chain wrote it."""
    return _SEAL.sub(b"", content)


def change_facts(ledger: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Change the facts of a ledger in place, without checksums that would show it; the tables beside it are removed."""
    facts = [json.loads(line) for line in without_checksums(ledger.read_bytes()).splitlines()]
    change(facts)
    ledger.write_text("".join(json.dumps(fact) + "\n" for fact in facts))
    for table in ledger.parent.glob("*.parquet"):
        table.unlink()
