"""Reading of untrusted archives of NumPy arrays (.npz); sizes are checked before anything is unpacked or allocated.

An archive may unpack to at most `MOST_UNPACKED_RATIO` times its own size, or to `ALWAYS_UNPACKED` bytes if that is
more.
"""

import math
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from struct import error as StructError  # noqa: N812
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.lib import format as npy

from trainables.errors import IrregularFileError
from trainables.files.regular import open_regular

MOST_UNPACKED_RATIO = 100
"""Greatest ratio of unpacked to packed size; real images compress to a tenth at best."""

ALWAYS_UNPACKED = 2**26
"""Number of bytes that any archive may unpack to, whatever its own size."""

MOST_DIMENSIONS = 4

DAMAGES = (
    OSError,
    EOFError,
    LookupError,
    ValueError,  # raised by NumPy, and for texts that are not Unicode
    TypeError,
    SyntaxError,
    RuntimeError,  # encrypted archives; includes RecursionError and NotImplementedError
    OverflowError,
    MemoryError,
    BadZipFile,
    StructError,
    zlib.error,
)
"""Errors that Python and NumPy raise for a damaged archive or array."""


class UnreadableArrayError(ValueError):
    """An archive or array cannot be read; the message says why, in terms that a user understands."""


@contextmanager
def opened(path: Path, names: tuple[str, ...], optional: tuple[str, ...] = ()) -> Iterator[tuple[ZipFile, list[str]]]:
    """Open an archive for reading, after checking the headers and sizes of its arrays.

    Args:
        path: the .npz file.
        names: arrays that must be in the archive.
        optional: arrays that may be in the archive.

    Yields:
        The archive, and the names of the arrays that are in it.

    Raises:
        UnreadableArrayError: the file is not an archive, lacks an array, or an array breaks a limit.
    """
    with open_regular(path) as file:
        try:
            archive = ZipFile(file)
        except BadZipFile:
            raise UnreadableArrayError("no .npz archive, or only a part of one") from None
        with archive:
            members = {info.filename: info for info in archive.infolist()}
            present = [name for name in (*names, *optional) if f"{name}.npy" in members]
            if missing := [name for name in names if name not in present]:
                raise UnreadableArrayError(f"no array {missing[0]}")
            unpacked = sum(members[f"{name}.npy"].file_size for name in present)
            most = max(ALWAYS_UNPACKED, MOST_UNPACKED_RATIO * path.stat().st_size)
            if unpacked > most:
                raise UnreadableArrayError(f"arrays of {unpacked} bytes, more than the {most} that it may unpack to")
            for name in present:
                info = members[f"{name}.npy"]
                with archive.open(info) as member:
                    check_header(name, member, info.file_size)  # type: ignore[arg-type]
            yield archive, present


def check_header(name: str, file: BufferedIOBase, size: int) -> None:
    """Check that an array in NumPy's format holds plain values, and exactly as many as its header states.

    Args:
        name: name of the array, for error messages.
        file: the array's file, at its beginning.
        size: size of the file in bytes, including the header.

    Raises:
        UnreadableArrayError: the array breaks a rule.
    """
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise UnreadableArrayError(f"{name} in version {version} of NumPy's format")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise UnreadableArrayError(f"pickled Python objects in {name}, which are never loaded")
    if len(shape) > MOST_DIMENSIONS or any(length < 0 for length in shape):
        raise UnreadableArrayError(f"shape {str(shape)[:100]} of {name}")
    needed = file.tell() + math.prod(shape) * dtype.itemsize
    if needed != size:
        raise UnreadableArrayError(f"{size} bytes of {name}, whose shape {shape} takes {needed}")


def unpack(path: Path, folder: Path, names: tuple[str, ...], optional: tuple[str, ...]) -> None:
    """Write the arrays of an archive into a folder, as .npy files; raise as `opened` does."""
    with opened(path, names, optional) as (archive, present):
        for name in present:
            with archive.open(f"{name}.npy") as source, (folder / f"{name}.npy").open("wb") as target:
                shutil.copyfileobj(source, target, 2**20)


def read_npz(path: Path, names: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the arrays of an archive, read into memory; raise as `opened` does."""
    with opened(path, names, optional) as (archive, present):
        return {name: npy.read_array(archive.open(f"{name}.npy"), allow_pickle=False) for name in present}


def map_arrays(folder: Path, names: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the arrays of a folder of .npy files, mapped into memory read-only.

    Raises:
        UnreadableArrayError: a file of `names` is missing, or an array breaks a limit.
    """
    present = [*names, *(name for name in optional if (folder / f"{name}.npy").exists())]
    arrays = {}
    for name in present:
        path = folder / f"{name}.npy"
        if not path.exists():
            raise UnreadableArrayError(f"no {name}.npy")
        with open_regular(path) as file:
            check_header(name, file, path.stat().st_size)
        arrays[name] = np.load(path, mmap_mode="r" if path.stat().st_size else None)
    return arrays


def reason_of(error: BaseException) -> str:
    """Return in one line why an archive or array cannot be read, in terms that a user understands."""
    if isinstance(error, (UnreadableArrayError, IrregularFileError)):
        return str(error)
    if isinstance(error, NotImplementedError):
        return "an archive compressed by a method that can't be read"
    if isinstance(error, RuntimeError) and "encrypted" in str(error):
        return "an encrypted archive"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"damaged content ({' '.join(str(error).split())[:200] or type(error).__name__})"
