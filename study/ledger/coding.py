"""Lines of the ledger: a fact as JSON, and back."""

import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from study.ledger.facts import FACTS, Fact

_ADAPTERS: dict[str, TypeAdapter[Fact]] = {name: TypeAdapter(kind) for name, kind in FACTS.items()}

_SURROGATE = "\\ud"
"""Start of an escaped surrogate in JSON. A pair encodes one character; pydantic refuses a lone surrogate."""

_SURROGATE_BYTES = _SURROGATE.encode()

_START = re.compile(rb'\{"fact": "([a-z_]+)"')
"""Start of every line that `encode` has written, which tells the kind without decoding the line twice."""
_ADAPTERS_BY_START = {name.encode(): adapter for name, adapter in _ADAPTERS.items()}


def encode(entry: Mapping[str, Any]) -> bytes:
    """Return the line of the ledger that holds a fact; lone surrogates are replaced by U+FFFD."""
    text = json.dumps(entry)
    if _SURROGATE in text:
        whole = json.dumps(entry, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        text = json.dumps(json.loads(whole))
    return text.encode() + b"\n"


def decode(line: bytes) -> Fact:
    """Return the fact that a line of the ledger holds.

    Raises:
        ValueError: the line holds no valid fact; the message gives the reason, in one line.
    """
    start = _START.match(line)
    if start is not None and start[1] in _ADAPTERS_BY_START and _SURROGATE_BYTES not in line:
        try:
            return _ADAPTERS_BY_START[start[1]].validate_json(line)
        except ValidationError:
            pass  # what follows gives the reason
    try:
        entry = json.loads(line)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    name = entry.get("fact") if isinstance(entry, dict) else None
    if not isinstance(name, str) or name not in _ADAPTERS:
        raise ValueError(f"fact must be one of {list(FACTS)}, got {name!r}")
    try:
        return _ADAPTERS[name].validate_json(encode(entry) if _SURROGATE_BYTES in line else line)
    except ValidationError as error:
        raise ValueError("; ".join(_in_words(problem) for problem in error.errors(include_url=False))) from None


def _in_words(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    text = problem["msg"].removeprefix("Value error, ")
    return " ".join((f"{where}: {text}" if where else text).split())
