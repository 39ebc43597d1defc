"""The epochs of a study in columns: a study of millions of epochs fits into memory, and sums need no loop over them."""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from study.ledger.paged_array import PagedArray

MISSING, FLOAT, INT, INTERNED = range(4)
"""Kinds of a cell: no value, a float, an integer, or the place of another value among the interned ones."""

LARGEST_INT = 2**53
"""Largest integer that a float64 holds with all below it; larger ones are interned."""


OWN_COLUMNS = ("numbers", "sessions", "seconds", "repeats", "superseded")
"""Attributes of a log that have a number for each row, besides the metrics."""


class EpochColumn:
    """Values of one metric, a row for each epoch of the study: nine bytes a row.

    Attributes:
        values: numbers as float64; for interned values their places; 0 where there is none.
        kinds: kind of each cell.
    """

    def __init__(self, rows: int = 0) -> None:
        """Create a column without values in so many rows."""
        self.values, self.kinds = PagedArray("d"), PagedArray("B")
        self.values.extend(np.zeros(rows))
        self.kinds.extend(np.full(rows, MISSING, np.uint8))

    def append(self, value: float, kind: int) -> None:
        """Append a cell."""
        self.values.append(value)
        self.kinds.append(kind)


@dataclass(frozen=True)
class RungReport:
    """Metrics of an epoch that a trial has finished for the first time, as the rungs compare them.

    Attributes:
        number: number of the trial.
        metrics: metrics of the epoch.
    """

    number: int
    metrics: dict[str, Any]


class EpochLog:
    """All epochs of a study in order of arrival, a row each, with those that were trained again later.

    Attributes:
        numbers: number of the trial that trained each row.
        sessions: number of the session that trained each row.
        seconds: seconds since the start of its session at which each row arrived.
        repeats: 1 where the trial had trained that epoch before, 0 elsewhere.
        superseded: 1 where the trial has trained that epoch again since, 0 elsewhere.
        columns: metrics by name.
        interned: values that are no numbers, such as None and texts, once each.
    """

    def __init__(self, interned: Sequence[Any] = ()) -> None:
        """Create an empty log, in which some values are interned already."""
        self.numbers, self.sessions, self.seconds = PagedArray("q"), PagedArray("q"), PagedArray("d")
        self.repeats, self.superseded = PagedArray("B"), PagedArray("B")
        self.columns: dict[str, EpochColumn] = {}
        self.interned = list(interned)
        self._places: dict[tuple[type, Any], int] = {(type(value), value): i for i, value in enumerate(interned)}

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.numbers)

    def __eq__(self, other: object) -> bool:
        """Whether another log has the same rows."""
        if not isinstance(other, EpochLog) or len(self) != len(other):
            return False
        same = all(getattr(self, name) == getattr(other, name) for name in OWN_COLUMNS)
        return same and all(self.metrics(row) == other.metrics(row) for row in range(len(self)))

    __hash__ = None  # type: ignore[assignment]  # it grows

    def append(
        self,
        number: int,
        session: int,
        metrics: Mapping[str, Any],
        earlier: int | None = None,
        *,
        seconds: float = 0.0,
    ) -> int:
        """Append an epoch and return its row.

        Args:
            number: number of the trial.
            session: number of the session.
            metrics: metrics of the epoch: numbers, texts, truth values and None.
            earlier: row in which the trial has trained the same epoch before; None if it has not.
            seconds: seconds since the start of the session.
        """
        row = len(self)
        for name, value in metrics.items():
            if name not in self.columns:
                self.columns[name] = EpochColumn(row)
            self.columns[name].append(*self._cell(value))
        if len(metrics) < len(self.columns):
            for column in self.columns.values():
                if len(column.kinds) == row:
                    column.append(0.0, MISSING)
        self.numbers.append(number)
        self.sessions.append(session)
        self.seconds.append(seconds)
        self.repeats.append(earlier is not None)
        self.superseded.append(False)
        if earlier is not None:
            self.superseded[earlier] = True
        return row

    def metrics(self, row: int) -> dict[str, Any]:
        """Return the metrics of a row by name."""
        result = {}
        for name, column in self.columns.items():
            kind = column.kinds[row]
            if kind != MISSING:
                value = column.values[row]
                result[name] = value if kind == FLOAT else int(value) if kind == INT else self.interned[int(value)]
        return result

    def text(self, row: int, name: str) -> str | None:
        """Return a metric of a row, without reading the others; None if it is missing or no text."""
        column = self.columns.get(name)
        value = self.interned[int(column.values[row])] if column and column.kinds[row] == INTERNED else None
        return value if isinstance(value, str) else None

    def rows_by_trial(self) -> Iterator[tuple[int, np.ndarray]]:
        """Iterate over the numbers of the trials, each with the latest rows of its epochs in order, shape (epochs,).

        Raises:
            ValueError: an epoch of a trial is missing.
        """
        if not len(self):
            return
        numbers, epochs = self.trials, self.columns["epoch"].values.numpy()
        rows = np.flatnonzero(self.counts)
        rows = rows[np.lexsort((epochs[rows], numbers[rows]))]
        begins = np.flatnonzero(np.diff(numbers[rows], prepend=-1))
        ends = np.append(begins[1:], len(rows))
        if not np.array_equal(epochs[rows], np.arange(1, len(rows) + 1) - np.repeat(begins, ends - begins)):
            raise ValueError("an epoch of a trial is missing")
        for begin, end in zip(begins, ends, strict=True):
            yield int(numbers[rows[begin]]), rows[begin:end]

    def numbers_of(self, name: str) -> np.ndarray:
        """Return a metric as float64, shape (rows,); NaN where a row has no number."""
        if name not in self.columns:
            return np.full(len(self), np.nan)
        column = self.columns[name]
        kinds = column.kinds.numpy()
        return np.where((kinds == FLOAT) | (kinds == INT), column.values.numpy(), np.nan)

    def latest(self, name: str, count: int) -> np.ndarray:
        """Return the latest `count` values of a metric that every row has as a number, shape (count,)."""
        return self.columns[name].values.latest(count)

    def is_value(self, name: str, value: Any) -> np.ndarray:
        """Return whether a metric has a value that is no number, shape (rows,)."""
        if name not in self.columns or (type(value), value) not in self._places:
            return np.zeros(len(self), bool)
        column, place = self.columns[name], self._places[type(value), value]
        return (column.kinds.numpy() == INTERNED) & (column.values.numpy() == place)

    @property
    def trials(self) -> np.ndarray:
        """Number of the trial of each row, shape (rows,)."""
        return self.numbers.numpy()

    @property
    def counts(self) -> np.ndarray:
        """Whether each row is the latest of its trial and epoch, shape (rows,)."""
        return self.superseded.numpy() == 0

    @property
    def is_first(self) -> np.ndarray:
        """Whether each row is the first of its trial and epoch, shape (rows,)."""
        return self.repeats.numpy() == 0

    def _cell(self, value: Any) -> tuple[float, int]:
        """Return what a column holds for a value."""
        if type(value) is float:
            return value, FLOAT
        if type(value) is int and -LARGEST_INT <= value <= LARGEST_INT:
            return value, INT
        key = type(value), value
        if key not in self._places:
            self._places[key] = len(self.interned)
            self.interned.append(value)
        return self._places[key], INTERNED


class TrialEpochs(Mapping[int, dict[str, Any]]):
    """Metrics of a trial by epoch, as the log of its study holds them; for an epoch trained twice, the second ones."""

    __slots__ = ("_log", "_rows")

    def __init__(self, log: EpochLog) -> None:
        """Create an empty mapping; epochs are added by `record`."""
        self._log = log
        self._rows = array("q")  # by epoch, from epoch 1; -1 for an epoch that is missing

    def record(self, epoch: int, row: int) -> None:
        """Note the row that holds an epoch."""
        while len(self._rows) < epoch:
            self._rows.append(-1)
        self._rows[epoch - 1] = row

    def record_all(self, rows: np.ndarray) -> None:
        """Note the rows of all epochs from the first on, shape (epochs,)."""
        self._rows = array("q", rows.astype(np.int64).tobytes())

    def row(self, epoch: int) -> int | None:
        """Return the row of an epoch; None if it is missing."""
        row = self._rows[epoch - 1] if 0 < epoch <= len(self._rows) else -1
        return None if row < 0 else row

    def session(self, epoch: int) -> int:
        """Return the number of the session that trained an epoch. Raises KeyError."""
        return int(self._log.sessions[self._row(epoch)])

    def numbers_of(self, name: str) -> list[float]:
        """Return a metric that every epoch has, in order of the epochs."""
        values = self._log.columns[name].values if self._rows else ()
        return [values[row] for row in self._rows if row >= 0]

    def last_text(self, name: str) -> str | None:
        """Return a metric of the highest epoch; None if it is missing or no text, and before the first epoch."""
        return self._log.text(self._rows[-1], name) if self._rows else None

    def __getitem__(self, epoch: int) -> dict[str, Any]:
        """Return a copy of the metrics of an epoch."""
        return self._log.metrics(self._row(epoch))

    def __iter__(self) -> Iterator[int]:
        """Iterate over the epochs in order."""
        return (epoch for epoch, row in enumerate(self._rows, start=1) if row >= 0)

    def __len__(self) -> int:
        """Return the number of epochs."""
        return len(self._rows) - self._rows.count(-1)

    def __repr__(self) -> str:
        """Return the metrics by epoch."""
        return repr(dict(self))

    def _row(self, epoch: int) -> int:
        row = self.row(epoch)
        if row is None:
            raise KeyError(epoch)
        return row


class RungReports(Sequence[RungReport]):
    """First report of each epoch of each trial, in order of arrival."""

    def __init__(self, log: EpochLog) -> None:
        """Show the reports that a log holds now."""
        self._log = log
        self._rows = np.flatnonzero(log.is_first)

    def __len__(self) -> int:
        """Return the number of reports."""
        return len(self._rows)

    def __getitem__(self, place: Any) -> Any:
        """Return the report at a place, or a list of those in a slice."""
        if isinstance(place, slice):
            return [self[index] for index in range(*place.indices(len(self)))]
        row = int(self._rows[place])
        return RungReport(int(self._log.numbers[row]), self._log.metrics(row))
