"""Reader of a study's Parquet tables; checks them, since other versions or programs may have written them."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trainables.errors import DamagedFileError, IrregularFileError
from trainables.files.regular import open_regular
from trainables.result import SCHEMA_VERSION, SCHEMA_VERSION_KEY, SEARCHED_KEY, Column, searched_column

ARROW_TYPES = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "str": pa.string()}

_TYPE_NAMES = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}


class _RuleError(Exception):
    """A table breaks a rule of its schema; the message states the rule, but does not name the file."""


def read_table(
    path: Path,
    columns: Sequence[Column],
    *,
    keys: Sequence[Sequence[str]] = (),
    shown_as: str | None = None,
    remedy: str,
    searched: bool = False,
) -> pa.Table:
    """Return the given columns of a Parquet table, with the types of the schema, sorted by the last key.

    Columns that pandas stored as an index are read as well, and whole numbers may be stored as floating-point numbers.
    A column that was added after the table's schema version is filled with nulls. A table without a version counts as
    version 1, because programs that rewrite a table drop its metadata.

    Args:
        path: the Parquet file.
        columns: columns to return; all others are ignored.
        keys: groups of columns; the values of each group must identify a row. The last group holds whole numbers.
        shown_as: name of the file in error messages; None for its path.
        remedy: last part of the error message, which says how to repair the file.
        searched: whether to return the columns of further searched fields too, which the file names itself.

    Raises:
        DamagedFileError: the file cannot be read, has a newer schema version, or breaks a rule of a column.
    """
    shown_as = shown_as or str(path)
    try:
        open_regular(path).close()  # a pipe would block
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if searched:
                columns = [*columns, *_searched_columns(file.schema_arrow, {column.name for column in columns})]
            names = {column.name for column in columns}
            # Not pq.read_table, which would turn a parent folder named `a=b` into a column.
            table = file.read(columns=[name for name in file.schema_arrow.names if name in names])
            table = _with_range_index(table, file.schema_arrow, names)
    except (pa.ArrowException, OSError, UnicodeDecodeError, IrregularFileError) as error:
        raise DamagedFileError(f"{shown_as} is damaged: {' '.join(str(error).split())}; {remedy}") from None
    version = (table.schema.metadata or {}).get(SCHEMA_VERSION_KEY.encode())
    if version is not None and (not version.isdigit() or int(version) > SCHEMA_VERSION):
        raise DamagedFileError(
            f"{shown_as} is of schema {version.decode(errors='replace')}, and this version of qar reads up to "
            f"{SCHEMA_VERSION}; install a newer one"
        )
    try:
        table = _with_all_columns(table, columns, int(version or 1))
        table = pa.table({column.name: _checked(column, table[column.name]) for column in columns})
        for key in keys:
            _check_unique(table, key)
    except _RuleError as error:
        raise DamagedFileError(f"{shown_as} is damaged: {error}; {remedy}") from None
    return _sorted(table, keys[-1]) if keys else table


def _searched_columns(schema: pa.Schema, known: set[str]) -> list[Column]:
    """Return the columns of further searched fields that a table names in its metadata and holds."""
    try:
        kinds = json.loads((schema.metadata or {}).get(SEARCHED_KEY.encode(), b"{}"))
    except ValueError:
        return []
    if not isinstance(kinds, dict):
        return []
    return [
        searched_column(name, kind)
        for name, kind in kinds.items()
        if name in schema.names and name not in known and kind in ARROW_TYPES
    ]


def _with_range_index(table: pa.Table, schema: pa.Schema, names: set[str]) -> pa.Table:
    """Append the data frame's index, if it is requested and pandas stored it as start, stop and step only."""
    for index in (schema.pandas_metadata or {}).get("index_columns", []):
        if isinstance(index, dict) and index.get("name") in names - set(table.column_names):
            values = range(index["start"], index["stop"], index["step"])
            table = table.append_column(index["name"], pa.array(values, pa.int64()))
    return table


def _with_all_columns(table: pa.Table, columns: Sequence[Column], version: int) -> pa.Table:
    """Append nulls for the columns that are newer than the table."""
    twice = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if twice:
        raise _RuleError(f"it has the columns {twice} more than once")
    missing = [column for column in columns if column.name not in table.column_names]
    lacking = [column.name for column in missing if column.since <= version]
    if lacking:
        raise _RuleError(f"it lacks the columns {lacking}")
    for column in missing:
        table = table.append_column(column.name, pa.nulls(len(table), ARROW_TYPES[column.type]))
    return table


def _checked(column: Column, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the values in the column's type; raise _RuleError if one breaks a rule of the column."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    values = _CONVERTERS[column.type](column, values)
    if column.required and values.null_count:
        _refuse(column, "set", values, pc.is_null(values))
    if column.range is not None and len(values):
        low, high = column.range.low, column.range.high
        below = pc.less_equal(values, low) if column.range.above else pc.less(values, low)
        infinite = pc.is_inf(values) if column.type == "float" else False
        outside = pc.or_(below, pc.or_(pc.greater(values, high), infinite))
        _refuse(column, f"{_TYPE_NAMES[column.type]} {column.range}", values, outside)
    if column.choices:
        known = pc.is_in(values, value_set=pa.array(column.choices))
        _refuse(column, f"one of {list(column.choices)}", values, pc.and_not(pc.is_valid(values), known))
    return values


def _as_integers(column: Column, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return whole numbers of any numeric type as int64; NaN, which pandas writes for a null, becomes null."""
    if not pa.types.is_integer(values.type):
        values = _as_floats(column, values)
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
        whole = pc.and_(pc.is_finite(values), pc.equal(pc.floor(values), values))
        _refuse(column, _wanted(column), values, pc.invert(whole))
    try:
        return values.cast(pa.int64())
    except pa.ArrowInvalid:
        raise _RuleError(f"{column.name} must be {_wanted(column)} below 2^63, got {pc.max(values)}") from None


def _as_floats(column: Column, values: pa.ChunkedArray) -> pa.ChunkedArray:
    types = pa.types
    accepted = (types.is_integer, types.is_floating, types.is_decimal, types.is_null)
    if not any(is_type(values.type) for is_type in accepted):
        _refuse_type(column, values)
    return values.cast(pa.float64(), safe=False)


def _as_truth_values(column: Column, values: pa.ChunkedArray) -> pa.ChunkedArray:
    if not (pa.types.is_boolean(values.type) or pa.types.is_null(values.type)):
        _refuse_type(column, values)
    return values.cast(pa.bool_())


def _as_texts(column: Column, values: pa.ChunkedArray) -> pa.ChunkedArray:
    types = pa.types
    accepted = (types.is_string, types.is_large_string, types.is_string_view, types.is_null)
    if not any(is_type(values.type) for is_type in accepted):
        _refuse_type(column, values)
    return values.cast(pa.string())


_CONVERTERS = {"int": _as_integers, "float": _as_floats, "bool": _as_truth_values, "str": _as_texts}


def _wanted(column: Column) -> str:
    """Return the rule for one value of the column."""
    return f"{_TYPE_NAMES[column.type]}{f' {column.range}' if column.range else ''}"


def _refuse_type(column: Column, values: pa.ChunkedArray) -> None:
    """Raise _RuleError about the type of a column, with the first value that is not null."""
    first = next((value for value in values.drop_null().to_pylist()), None) if values.null_count < len(values) else None
    raise _RuleError(f"{column.name} must be {_wanted(column)}, got {_shown(first)} of type {values.type}")


def _refuse(column: Column, rule: str, values: pa.ChunkedArray, broken: pa.ChunkedArray) -> None:
    """Raise _RuleError about the first value that breaks a rule, if one does; `broken` is null where a value is."""
    row = pc.index(broken, True).as_py()
    if row >= 0:
        raise _RuleError(f"{column.name} must be {rule}, got {_shown(values[row].as_py())} in row {row + 1}")


def _check_unique(table: pa.Table, key: Sequence[str]) -> None:
    """Raise _RuleError if two rows have the same values in all columns of the key."""
    counts = table.select(key).group_by(key).aggregate([([], "count_all")])
    if len(counts) == len(table):
        return
    first = counts.filter(pc.greater(counts["count_all"], 1)).slice(0, 1).to_pylist()[0]
    values = ", ".join(f"{name} {_shown(first[name])}" for name in key)
    raise _RuleError(f"{' and '.join(key)} must name one row, got {first['count_all']} rows with {values}")


def _sorted(table: pa.Table, key: Sequence[str]) -> pa.Table:
    """Return the rows in the order of a key of whole numbers."""
    columns = [table[name].to_numpy() for name in key]
    in_order = np.zeros(max(len(table) - 1, 0), dtype=bool)
    for column in reversed(columns):
        steps = np.diff(column)
        in_order = (steps > 0) | ((steps == 0) & in_order)
    return table if in_order.all() else table.take(np.lexsort(columns[::-1]))


def _shown(value: object, most: int = 60) -> str:
    """Return a value as a message shows it, on one line and cut off where it is long."""
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.12g}"
    text = "null" if value is None else repr(value)
    return text if len(text) <= most else f"{text[:most]}…"
