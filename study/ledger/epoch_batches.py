"""Arrow batches of an epoch log: two columns for each metric, its numbers and the kinds of its cells."""

from collections.abc import Iterator

import pyarrow as pa

from study.ledger.epochs import OWN_COLUMNS, EpochColumn, EpochLog
from study.ledger.paged_array import PAGE

PAGES_IN_A_BATCH = 16

_KIND = "kind of "


def schema_of(log: EpochLog) -> pa.Schema:
    """Return the schema of a log's batches."""
    own = [(name, pa.from_numpy_dtype(getattr(log, name).numpy(0, 1).dtype)) for name in OWN_COLUMNS]
    metrics = [pair for name in log.columns for pair in ((name, pa.float64()), (_KIND + name, pa.uint8()))]
    return pa.schema(own + metrics)


def batches(log: EpochLog) -> Iterator[pa.RecordBatch]:
    """Return the rows of a log, copied batch by batch."""
    schema = schema_of(log)
    arrays = [getattr(log, name) for name in OWN_COLUMNS]
    arrays += [cells for column in log.columns.values() for cells in (column.values, column.kinds)]
    for first in range(0, -(-len(log) // PAGE), PAGES_IN_A_BATCH):
        yield pa.record_batch([pa.array(cells.numpy(first, PAGES_IN_A_BATCH)) for cells in arrays], schema)


def append_batch(log: EpochLog, batch: pa.RecordBatch) -> None:
    """Append the rows of a batch to a log. Raises KeyError if a column is missing."""
    for name in OWN_COLUMNS:
        getattr(log, name).extend(batch.column(name).to_numpy())
    for name in batch.schema.names:
        if _KIND + name in batch.schema.names:
            column = log.columns.setdefault(name, EpochColumn())
            column.values.extend(batch.column(name).to_numpy())
            column.kinds.extend(batch.column(_KIND + name).to_numpy())
