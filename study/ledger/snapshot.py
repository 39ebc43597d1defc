"""Snapshots: the history after the first lines of a ledger, in a file beside it, so that only the rest must be read.

A snapshot is derived and can be removed at any time. It is used only if it is whole, was written by the same code, and
if the ledger begins with exactly the bytes that it was derived from; otherwise the whole ledger is read. So a changed
digit anywhere in the ledger is still noticed, and reading then names its line.

The file holds two Arrow streams, the epochs and the trials in columns, and then the SHA-256 of all bytes before it. All
other fields of the history are JSON in the metadata of the first stream.
"""

import gc
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, get_type_hints

import pyarrow as pa
from pydantic import BaseModel, create_model

from study.ledger import trial_batches
from study.ledger.chain import LedgerPosition
from study.ledger.epoch_batches import append_batch, batches, schema_of
from study.ledger.epochs import EpochLog
from study.ledger.history import History, KnownResult, Trial
from trainables.files.atomic import replacing
from trainables.files.regular import open_regular

NAME = "ledger.snapshot"
"""Name of the file, in the folder of the ledger."""

CHUNK = 1 << 20
"""Bytes that are read and hashed at a time."""

_HEADER = b"qar_snapshot"
_DIGEST_BYTES = hashlib.sha256().digest_size
_APART: dict[type, tuple[str, ...]] = {History: ("trials", "proposals", "epochs")}
"""Fields that are not written as they are."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Content of a snapshot.

    Attributes:
        history: state of the study after the first lines of the ledger, and its position after them.
        lines: number of these lines.
        content: SHA-256 of these lines, which can be continued.
    """

    history: History
    lines: int
    content: Any


def snapshot_of(ledger: Path) -> Path:
    """Return the path of a ledger's snapshot."""
    return ledger.with_name(NAME)


def write_snapshot(path: Path, history: History, lines: int, content: str) -> None:
    """Replace a snapshot atomically.

    Args:
        path: path of the snapshot.
        history: state of the study, with a position in the ledger.
        lines: number of lines up to there.
        content: SHA-256 of these lines.

    Raises:
        OSError: the file can't be written.
    """
    header = {
        "code": _code_digest(),
        "lines": lines,
        "content": content,
        "interned": history.epochs.interned,
        "proposals": [item.number if isinstance(item, Trial) else item for item in history.proposals],
        "history": _plain_fields(history),
    }
    schema = schema_of(history.epochs).with_metadata({_HEADER: json.dumps(header, default=_plain)})
    with replacing(path) as file:
        hashing = _HashingFile(file)
        _write_stream(hashing, schema, batches(history.epochs))
        _write_stream(hashing, trial_batches.schema(), trial_batches.batches(list(history.trials.values())))
        file.write(hashing.content.digest())


def read_snapshot(path: Path, ledger: BinaryIO) -> Snapshot | None:
    """Return what the snapshot of an open ledger holds; None if there is none that can be used.

    Args:
        path: path of the snapshot, which need not exist.
        ledger: the ledger, whose beginning is compared with the bytes that the snapshot was derived from.
    """
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2) - _DIGEST_BYTES
            file.seek(0)
            if size < 0 or _digest_of(file, size).digest() != file.read():
                return None
            file.seek(0)
            with _without_garbage_collection():
                return _parse(file, ledger)
    except Exception:
        return None  # whatever a damaged file causes: the ledger has it all


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Create many objects that stay without looking through all of them for garbage, now and later.

    For 100,000 trials, later searches took two seconds of a session that has nothing to do. Objects are freed as usual
    once nothing refers to them.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if was_enabled:
            gc.enable()


def _parse(file: BinaryIO, ledger: BinaryIO) -> Snapshot | None:
    """Return the content of a snapshot whose checksum matches; None if it was derived from another ledger."""
    source = pa.PythonFile(file, "r")
    with pa.ipc.open_stream(source) as epochs:
        header = json.loads(epochs.schema.metadata[_HEADER])
        if header["code"] != _code_digest():
            return None
        history = History(**_read_fields(History, json.dumps(header["history"])))
        content = _content(history.position, ledger)
        if content is None or content.hexdigest() != header["content"]:
            return None
        history.epochs = EpochLog(header["interned"])
        for batch in epochs:
            batch.validate(full=True)
            append_batch(history.epochs, batch)
    with pa.ipc.open_stream(source) as trials:
        for batch in trials:
            batch.validate(full=True)
            for trial in trial_batches.trials_of(batch):
                history.add(trial)
    history.proposals = [
        history.trials[item] if isinstance(item, int) else KnownResult(**_read_fields(KnownResult, json.dumps(item)))
        for item in header["proposals"]
    ]
    for number, rows in history.epochs.rows_by_trial():
        history.trials[number].epochs.record_all(rows)
    return Snapshot(history=history, lines=header["lines"], content=content)


def _content(position: LedgerPosition | None, ledger: BinaryIO) -> Any:
    """Return the SHA-256 of a ledger up to a position; None if it has no such line."""
    if position is None or not position.is_in(ledger):
        return None
    ledger.seek(0)
    return _digest_of(ledger, position.offset)


def _digest_of(file: BinaryIO, size: int) -> Any:
    """Return the SHA-256 of the next bytes of a file."""
    digest = hashlib.sha256()
    while size > 0 and (chunk := file.read(min(size, CHUNK))):
        digest.update(chunk)
        size -= len(chunk)
    return digest


@cache
def _code_digest() -> str:
    """Return a checksum of this package's code: a snapshot is void if a change might derive another history."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


class _HashingFile:
    """File that computes the SHA-256 of what is written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.content = hashlib.sha256()
        self.closed = False

    def write(self, chunk: Any) -> int:
        self.content.update(chunk)
        return self._file.write(chunk)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        """Do nothing: the checksum follows."""


def _write_stream(file: _HashingFile, schema: pa.Schema, content: Iterator[pa.RecordBatch]) -> None:
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_stream(pa.PythonFile(file, "w"), schema, options=options) as stream:
        for batch in content:
            stream.write_batch(batch)


def _plain_fields(history: History) -> dict[str, Any]:
    """Return the fields of a history, except those that are written apart."""
    return {field.name: getattr(history, field.name) for field in fields(history) if field.name not in _APART[History]}


def _plain(value: Any) -> Any:
    """Return what JSON holds for a value that it does not know."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, set | frozenset):
        return list(value)
    raise TypeError(f"a snapshot can't hold {value!r}")


def _read_fields(kind: type, text: str | bytes) -> dict[str, Any]:
    """Return the fields of a class that were written as JSON, converted to the types that the class states."""
    return vars(_model_of(kind).model_validate_json(text))


@cache
def _model_of(kind: type) -> type[BaseModel]:
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind) if field.name not in _APART.get(kind, ())]
    model: type[BaseModel] = create_model(kind.__name__, **{name: (hints[name], ...) for name in names})  # type: ignore[call-overload]
    return model
