"""A Parquet file that is written again and again, in which row groups that never change are encoded once.

Each writing makes a new file, which takes the place of the earlier one at once: the settled row groups are copied as
bytes, and row groups with the other rows and a footer follow. So the file is whole at every moment, for any reader.
"""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from trainables.errors import IrregularFileError
from trainables.files.atomic import replacing
from trainables.files.regular import open_regular

MAGIC = b"PAR1"
CHUNK = 1 << 20
"""Bytes that are copied, or dropped, at a time."""


class ChangedFileError(Exception):
    """The file no longer begins with the settled row groups that the last writing left in it."""


class GrowingTable:
    """Writer of one such file."""

    def __init__(self, path: Path) -> None:
        """Name the file; nothing is read or written, and an earlier file has no settled rows."""
        self._path = path
        self.forget()

    def forget(self) -> None:
        """Have the next writing encode all rows, and copy nothing."""
        self._settled: list[pq.FileMetaData] = []
        self._end = len(MAGIC)  # of the settled row groups in the file
        self._digest = hashlib.sha256()  # of their bytes

    def write(self, settled: pa.Table, unsettled: pa.Table) -> None:
        """Replace the file by one with the rows that were settled before, these, and the unsettled ones.

        Args:
            settled: rows that every later file has, too.
            unsettled: rows that the next writing leaves out unless they are given again. The metadata of their schema
                becomes the file's.

        Raises:
            ChangedFileError: the rows that were settled before are lost; then the earlier file is as it was.
            OSError: the file can't be written; likewise.
        """
        groups, end, digest = [*self._settled], self._end, self._digest.copy()
        with replacing(self._path) as file:
            file.write(MAGIC)
            if groups:
                self._copy_settled(file)
            if len(settled):
                encoded, end = _encode(settled, file, end, digest)
                groups.append(encoded)
            last, _ = _encode(unsettled, file, end, hashlib.sha256())
            file.write(_footer(unsettled.schema, [*groups, last]))
        self._settled, self._end, self._digest = groups, end, digest

    def _copy_settled(self, target: BinaryIO) -> None:
        """Copy the settled row groups from the earlier file."""
        digest = hashlib.sha256()
        try:
            with open_regular(self._path) as earlier:
                earlier.seek(len(MAGIC))
                for place in range(len(MAGIC), self._end, CHUNK):
                    chunk = earlier.read(min(CHUNK, self._end - place))
                    digest.update(chunk)
                    target.write(chunk)
        except (FileNotFoundError, IrregularFileError):
            raise ChangedFileError(self._path) from None
        if digest.digest() != self._digest.digest():
            raise ChangedFileError(self._path)


class _Sink(io.RawIOBase):
    """File for Arrow's writer, which passes on what is written between two moments and drops the rest."""

    def __init__(self, file: BinaryIO, digest: "hashlib._Hash") -> None:
        """Drop everything until `passes_on` is true; `digest` is updated with what is passed on."""
        self._file = file
        self._digest = digest
        self.passes_on = False

    def writable(self) -> bool:
        """Whether it can be written."""
        return True

    def write(self, data: Any) -> int:
        """Pass on data, or drop it."""
        if self.passes_on:
            self._file.write(data)
            self._digest.update(data)
        return len(data)


def _encode(rows: pa.Table, file: BinaryIO, start: int, digest: "hashlib._Hash") -> tuple[pq.FileMetaData, int]:
    """Write row groups into a file, whose position is `start`.

    Arrow's writer refuses a file that is not empty. So it begins an empty one with `start` bytes that are dropped, and
    its footer, which describes these row groups alone, is dropped as well.

    Returns:
        The metadata of the row groups, and where they end.
    """
    sink = _Sink(file, digest)
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
