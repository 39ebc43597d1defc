"""A Parquet file that is written again and again, in which row groups that never change are encoded once.

Each writing makes a new file, which takes the place of the earlier one at once: the settled row groups are copied as
bytes, and row groups with the other rows and a footer follow. So the file is whole at every moment, for any reader.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from trainables.files.atomic import replacing

MAGIC = b"PAR1"
CHUNK = 1 << 20
"""Bytes that are copied at a time."""


class GrowingTable:
    """Writer of one such file."""

    def __init__(self, path: Path) -> None:
        """Name the file; nothing is written, and an earlier file has no settled rows."""
        self._path = path
        self._settled: list[pq.FileMetaData] = []
        self._end = len(MAGIC)  # of the settled row groups in the file

    def forget(self) -> None:
        """Have the next writing encode all rows, since the file is not the one that the last writing made."""
        self._settled, self._end = [], len(MAGIC)

    def write(self, settled: pa.Table, unsettled: pa.Table) -> None:
        """Replace the file by one with the rows that were settled before, these, and the unsettled ones.

        Args:
            settled: rows that every later file has, too.
            unsettled: rows that the next writing leaves out unless they are given again. The metadata of their schema
                becomes the file's.

        Raises:
            OSError: the file can't be written; then the earlier one is as it was.
        """
        groups, end = [*self._settled], self._end
        with replacing(self._path) as file:
            file.write(MAGIC)
            if groups:
                with self._path.open("rb") as earlier:
                    _copy(earlier, file, end)
            if len(settled):
                encoded, end = _encode(settled, file, end)
                groups.append(encoded)
            last, _ = _encode(unsettled, file, end)
            file.write(_footer(unsettled.schema, [*groups, last]))
        self._settled, self._end = groups, end


def _copy(source: BinaryIO, target: BinaryIO, end: int) -> None:
    """Copy the bytes of row groups from the same place in another file, up to `end`."""
    source.seek(len(MAGIC))
    left = end - len(MAGIC)
    while left:
        chunk = source.read(min(CHUNK, left))
        if not chunk:
            raise OSError(f"{source.name} has become shorter while it was copied")
        target.write(chunk)
        left -= len(chunk)


class _Sink(io.RawIOBase):
    """File for Arrow's writer, which passes on what is written between two moments and drops the rest."""

    def __init__(self, file: BinaryIO) -> None:
        """Drop everything until `passes_on` is true."""
        self._file = file
        self.passes_on = False

    def writable(self) -> bool:
        """Whether it can be written."""
        return True

    def write(self, data: Any) -> int:
        """Pass on data, or drop it."""
        if self.passes_on:
            self._file.write(data)
        return len(data)


def _encode(rows: pa.Table, file: BinaryIO, start: int) -> tuple[pq.FileMetaData, int]:
    """Write row groups at a place in a file.

    Arrow's writer refuses a file that is not empty. So it begins an empty one with `start` bytes that are dropped, and
    its footer, which describes these row groups alone, is dropped as well.

    Returns:
        The metadata of the row groups, and where they end.
    """
    sink = _Sink(file)
    stream = pa.PythonFile(sink, "w")
    described: list[pq.FileMetaData] = []
    with pq.ParquetWriter(stream, rows.schema, write_page_checksum=True, metadata_collector=described) as writer:
        for place in range(stream.tell(), start, CHUNK):
            stream.write(bytes(min(CHUNK, start - place)))
        sink.passes_on = True
        writer.write_table(rows)
        sink.passes_on = False
        end = stream.tell()
    return described[0], end


def _footer(schema: pa.Schema, groups: Sequence[pq.FileMetaData]) -> bytes:
    """Return the end of a file with these row groups and the metadata of the schema."""
    described: list[pq.FileMetaData] = []
    pq.ParquetWriter(pa.BufferOutputStream(), schema, metadata_collector=described).close()
    for group in groups:
        described[0].append_row_groups(group)
    buffer = pa.BufferOutputStream()
    described[0].write_metadata_file(buffer)
    return buffer.getvalue().to_pybytes()[len(MAGIC) :]
