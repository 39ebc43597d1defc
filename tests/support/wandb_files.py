"""The files that W&B's client writes in offline mode, read with its own reader."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

HEADER_BYTES = 7
BLOCK_BYTES = 32 * 1024


def records_of(content: bytes) -> Iterator[bytes]:
    """Yield the records of a file in the log format of LevelDB, which has parts of type full, first, middle and last.

    Source: https://github.com/google/leveldb/blob/main/doc/log_format.md; W&B's files begin with 7 bytes of their own.
    """
    position, parts = HEADER_BYTES, b""
    while position < len(content):
        if BLOCK_BYTES - position % BLOCK_BYTES < HEADER_BYTES:  # the rest of a block is padding
            position += BLOCK_BYTES - position % BLOCK_BYTES
            continue
        _, length, kind = struct.unpack_from("<IHB", content, position)
        position += HEADER_BYTES
        parts += content[position : position + length]
        position += length
        if kind in (1, 4):
            yield parts
            parts = b""


def rows_of(root: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the logged rows by the id of their run."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for file in root.glob("wandb/offline-run-*/run-*.wandb"):
        name = file.stem.removeprefix("run-")
        for data in records_of(file.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "history":
                items = record.history.item
                row = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
                rows.setdefault(name, []).append(row)
    return rows
