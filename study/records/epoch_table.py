"""The table of epochs, converted from the columns in which the history holds them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from study.ledger.epochs import FLOAT, INT, INTERNED, EpochLog
from study.ledger.history import History, Trial
from trainables.result import EPOCH_COLUMNS, Column

ARROW_TYPES = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "str": pa.string()}


def schema_of(columns: Sequence[Column]) -> pa.Schema:
    """Return the schema of a table with these columns, whose meaning is part of it."""
    return pa.schema(
        [pa.field(column.name, ARROW_TYPES[column.type], metadata={"meaning": column.meaning}) for column in columns]
    )


def epoch_rows(trial: Trial) -> list[dict[str, Any]]:
    """Return the rows of a trial in epochs.parquet, in order of the epochs."""
    return [
        {column.name: metrics.get(column.name) for column in EPOCH_COLUMNS}
        | {"trial_id": trial.trial_id, "number": trial.number, "session": trial.sessions[epoch]}
        for epoch, metrics in sorted(trial.epochs.items())
    ]


def epochs_table(history: History, trials: Sequence[int] | None = None) -> pa.Table:
    """Return the rows of epochs.parquet at this moment, by number and epoch.

    Args:
        history: history of the ledger.
        trials: numbers of the trials whose rows are wanted; None for all.

    Raises:
        pa.ArrowInvalid: a metric does not have the type of its column.
    """
    log = history.epochs
    wanted = sorted(history.trials if trials is None else trials)
    numbers = log.trials
    rows = np.flatnonzero(log.counts if trials is None else log.counts & np.isin(numbers, wanted))
    rows = rows[np.lexsort((log.numbers_of("epoch")[rows], numbers[rows]))]
    names = pa.array([history.trials[number].trial_id for number in wanted], pa.string())
    own = {
        "trial_id": names.take(pa.array(np.searchsorted(wanted, numbers[rows]))),
        "number": pa.array(numbers[rows]),
        "session": pa.array(log.sessions.take(rows)),
    }
    arrays = [own[column.name] if column.name in own else _metric(log, column, rows) for column in EPOCH_COLUMNS]
    return pa.Table.from_arrays(arrays, schema=schema_of(EPOCH_COLUMNS))


def _metric(log: EpochLog, column: Column, rows: np.ndarray) -> pa.Array:
    """Return the values of a metric in some rows; null where there are none."""
    kind = ARROW_TYPES[column.type]
    if column.name not in log.columns:
        return pa.nulls(len(rows), kind)
    cells = log.columns[column.name]
    kinds, values = cells.kinds.take(rows), cells.values.take(rows)
    interned = kinds == INTERNED
    places = pa.array(np.where(interned, values, 0).astype(np.int64), mask=~interned)
    used = set(places.unique().to_pylist())
    others = pa.array([value if place in used else None for place, value in enumerate(log.interned)], kind)
    numbers = pa.array(values, mask=(kinds != FLOAT) & (kinds != INT)).cast(kind)
    return pc.coalesce(numbers, others.take(places))
