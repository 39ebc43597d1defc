"""Arrow batches of an epoch log: two columns for each metric, its numbers and the kinds of its cells."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from study.ledger.epochs import EpochColumn, EpochLog

ROWS_IN_A_BATCH = 1 << 16

_INTEGERS = ("numbers", "sessions")
_FLAGS = ("repeats", "superseded")
_KIND = "kind of "


def schema_of(log: EpochLog) -> pa.Schema:
    """Return the schema of a log's batches."""
    own = [(name, pa.int64()) for name in _INTEGERS] + [(name, pa.uint8()) for name in _FLAGS]
    metrics = [pair for name in log.columns for pair in ((name, pa.float64()), (_KIND + name, pa.uint8()))]
    return pa.schema(own + metrics)


def batches(log: EpochLog) -> Iterator[pa.RecordBatch]:
    """Return the rows of a log, copied batch by batch."""
    integers = [(getattr(log, name), np.int64) for name in _INTEGERS]
    flags = [(getattr(log, name), np.uint8) for name in _FLAGS]
    cells = [
        pair for column in log.columns.values() for pair in ((column.values, np.float64), (column.kinds, np.uint8))
    ]
    for start in range(0, len(log), ROWS_IN_A_BATCH):
        rows = slice(start, start + ROWS_IN_A_BATCH)
        arrays = [pa.array(np.frombuffer(values[rows], kind)) for values, kind in (*integers, *flags, *cells)]
        yield pa.record_batch(arrays, schema_of(log))


def append_batch(log: EpochLog, batch: pa.RecordBatch) -> None:
    """Append the rows of a batch to a log. Raises KeyError if a column is missing."""
    for name in _INTEGERS:
        getattr(log, name).frombytes(batch.column(name).to_numpy().tobytes())
    for name in _FLAGS:
        getattr(log, name).extend(batch.column(name).to_numpy().tobytes())
    for name in batch.schema.names:
        if _KIND + name in batch.schema.names:
            column = log.columns.setdefault(name, EpochColumn())
            column.values.frombytes(batch.column(name).to_numpy().tobytes())
            column.kinds.extend(batch.column(_KIND + name).to_numpy().tobytes())
