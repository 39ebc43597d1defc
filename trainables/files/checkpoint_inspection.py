"""Inspection of a checkpoint before PyTorch loads it, without creating any tensor.

A checkpoint is a zip archive with a pickle and the bytes of each tensor's storage. A valid checksum shows that a file
is complete, not that it is harmless. With `weights_only`, PyTorch runs no code from the file, but it trusts the sizes
that the file states.
"""

import io
import math
import pickle
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import torch

MOST_PICKLE_BYTES = 2**26


def inspect_checkpoint(path: Path) -> None:
    """Check that a checkpoint holds only tensors and plain values, and no tensor larger than its bytes in the file.

    Args:
        path: the file of the checkpoint.

    Raises:
        ValueError: a size or a kind of object differs from what a trial writes. Other exceptions, of pickle and
            zipfile, mean that the file is not a checkpoint.
    """
    with ZipFile(path) as archive:
        check_archive(archive, path.stat().st_size)
        members = {info.filename: info for info in archive.infolist()}
        (pickled,) = [name for name in members if name.endswith("/data.pkl")]
        if members[pickled].file_size > MOST_PICKLE_BYTES:
            raise ValueError(f"its structure must have at most {MOST_PICKLE_BYTES} bytes")
        folder = pickled.removesuffix("data.pkl")
        sizes = {
            name.removeprefix(f"{folder}data/"): info.file_size
            for name, info in members.items()
            if name.startswith(f"{folder}data/")
        }
        with warnings.catch_warnings(action="ignore"):  # the file format uses typed storages, which are deprecated
            state = _DryReader(archive.read(pickled), sizes).load()
    if not isinstance(state, dict):
        raise ValueError(f"it must hold a dictionary, got {type(state).__name__}")


def check_archive(archive: ZipFile, num_bytes: int) -> None:
    """Check that an archive is as PyTorch writes it, uncompressed, so that no member is larger than its file.

    Args:
        archive: the archive.
        num_bytes: size of its file.

    Raises:
        ValueError: it is compressed, or states more bytes than it has.
    """
    members = archive.infolist()
    if any(info.compress_type != ZIP_STORED for info in members):
        raise ValueError("its archive must not be compressed")
    if sum(info.file_size for info in members) > num_bytes:
        raise ValueError("its archive states more bytes than it has")


class _DryTensor:
    """Placeholder for a tensor."""


class _DryReader(pickle.Unpickler):
    """Unpickler that replaces tensors by placeholders, and rejects all objects that a trial's state does not hold."""

    def __init__(self, content: bytes, sizes: dict[str, int]) -> None:
        super().__init__(io.BytesIO(content))
        self._sizes = sizes

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _dry_tensor
        if module == "torch" and name.endswith("Storage") and isinstance(getattr(torch, name, None), type):
            return getattr(torch, name)
        raise ValueError(f"it must hold tensors and plain values alone, got {module}.{name}"[:200])

    def persistent_load(self, pid: Any) -> int:
        """Return the number of elements of a storage; raise ValueError if its bytes in the file do not match."""
        kind, storage, key, _, count = pid
        if kind != "storage" or type(count) is not int or storage.dtype.itemsize * count != self._sizes[key]:
            raise ValueError(f"the storage {str(key)[:20]} must have as many bytes as it states")
        return count


def _dry_tensor(storage: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> _DryTensor:
    """Return a placeholder for a tensor, after checking that its elements are distinct and within its storage."""
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or any(type(number) is not int or number < 0 for number in numbers):
        raise ValueError("a tensor must have sizes and strides that are whole numbers from 0")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    count = math.prod(size)
    if count > storage or (count and last >= storage):
        raise ValueError(f"a tensor of shape {size} must lie in its storage of {storage} elements"[:200])
    return _DryTensor()
