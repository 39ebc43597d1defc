"""Prepared data sets: four arrays in an .npz file, or in a folder of .npy files.

An .npz file is unpacked once into the node's cache. All trials of a node map the same .npy files into memory.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainables.data.cache import cache_folder, install
from trainables.data.npz import DAMAGES, map_arrays, read_npz, reason_of, unpack

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
CHANNELS = "channels"
OPTIONAL = (CHANNELS,)
COMMON_CHANNELS = (1, 3, 4)
"""Gray, colour, and colour with transparency."""

PREPARE = "prepare it with np.savez(path, x_train=…, y_train=…, x_test=…, y_test=…)"


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A prepared data set.

    Attributes:
        x_train: training images, uint8, (n, height, width, channels); may be mapped from a file, read-only.
        y_train: classes of the training images, int64, (n,).
        x_test: test images, uint8, (m, height, width, channels); only confirmed trials are evaluated on them.
        y_test: classes of the test images, int64, (m,).
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    @property
    def num_classes(self) -> int:
        """Number of classes: one more than the greatest label of the training images."""
        return int(self.y_train.max()) + 1

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width), as networks take images."""
        height, width, channels = self.x_train.shape[1:]
        return channels, height, width


class DatasetRuleError(ValueError):
    """A prepared data set breaks a rule; the message is one line with file, rule, value and remedy."""


def _require(holds: bool, source: Path, rule: str, actual: object, remedy: str = PREPARE) -> None:
    """Raise DatasetRuleError if a rule does not hold."""
    if not holds:
        raise DatasetRuleError(f"{source}: {rule}, found {actual}; {remedy}")


def _to_uint8(name: str, dtype: np.dtype) -> str:
    """Return the advice how to convert images of the given type to uint8."""
    if dtype == np.uint16:
        return f"convert 16-bit images: ({name} >> 8).astype(np.uint8)"
    if dtype.kind == "f":
        return f"convert images with values from 0 to 1: ({name} * 255).round().astype(np.uint8)"
    return f"convert values from 0 to 255: {name}.astype(np.uint8)"


def _first_missing(present: np.ndarray) -> int:
    """Return the smallest class that is missing from sorted classes."""
    return int(np.flatnonzero(np.append(present, -1) != np.arange(len(present) + 1))[0])


def _channels(source: Path, arrays: Mapping[str, np.ndarray]) -> int | None:
    """Return the number of channels that the array `channels` states; None if there is no such array."""
    if CHANNELS not in arrays:
        return None
    value = arrays[CHANNELS]
    plain = value.dtype.kind in "iu" and value.size == 1
    _require(plain, source, f"{CHANNELS} must be one whole number", f"{value.dtype} of shape {value.shape}")
    return int(value.reshape(()))


def _check_channels(source: Path, name: str, images: np.ndarray, channels: int | None) -> None:
    """Raise DatasetRuleError if the last axis of the images is not their channels, as in N×C×H×W."""
    _, rows, columns, last = images.shape
    if channels is not None:
        _require(last == channels, source, f"{name} must have the {CHANNELS}={channels} that it says", images.shape)
        return
    remedy = f"make it N×H×W×C with x.transpose(0, 2, 3, 1), or add {CHANNELS}={last} to the file if it is that already"
    rule = f"the last axis of {name} must be its channels, 1, 3 or 4"
    channels_first = rows in COMMON_CHANNELS and columns == last and rows != columns
    _require(last in COMMON_CHANNELS and not channels_first, source, rule, f"shape {images.shape}", remedy)


def checked_dataset(source: Path, arrays: Mapping[str, np.ndarray]) -> Dataset:
    """Return the data set of the given arrays, after checking their types, shapes and values.

    Args:
        source: file or folder of the arrays, for error messages.
        arrays: the four arrays named in `ARRAYS`: images as uint8, (n, height, width[, channels]); labels as integers,
            (n,), with classes from 0. If images have a number of channels other than 1, 3 or 4, the array `channels`
            must state it.

    Raises:
        DatasetRuleError: an array breaks a rule.
    """
    images, labels = {}, {}
    channels = _channels(source, arrays)
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        _require(x.dtype == np.uint8, source, f"x_{part} must be uint8", x.dtype, _to_uint8(f"x_{part}", x.dtype))
        _require(x.ndim in (3, 4), source, f"x_{part} must be N×H×W×C or N×H×W", f"shape {x.shape}")
        _require(x.size > 0, source, f"x_{part} must hold images", f"shape {x.shape}")
        _require(y.dtype.kind in "iu", source, f"y_{part} must be integers", y.dtype)
        _require(y.ndim == 1, source, f"y_{part} must be one class an image", f"shape {y.shape}")
        _require(len(x) == len(y), source, f"x_{part} and y_{part} must be of one length", f"{len(x)} and {len(y)}")
        _require(int(y.min()) >= 0, source, f"y_{part} must count classes from 0", y.min())
        images[part] = x if x.ndim == 4 else x[..., None]
        _check_channels(source, f"x_{part}", images[part], channels)
        labels[part] = y.astype(np.int64)
    shapes = images["train"].shape[1:], images["test"].shape[1:]
    _require(shapes[0] == shapes[1], source, "training and test images must be of one shape", shapes)
    classes = int(labels["train"].max()) + 1
    _require(classes >= 2, source, "y_train must name at least 2 classes", classes)
    # np.bincount would allocate a table as long as the largest label, which may be as wrong as 2**40.
    present, sizes = np.unique(labels["train"], return_counts=True)
    _require(
        classes == len(present),
        source,
        f"y_train must use each class from 0 to {classes - 1}",
        f"{len(present)} of {classes} classes, and no image of class {_first_missing(present)}",
        "renumber the labels: classes, y_train = np.unique(y_train, return_inverse=True); "
        "y_test = np.searchsorted(classes, y_test)",
    )
    rarest = int(sizes.argmin())
    rule = "y_train must have at least 2 images of a class to split"
    _require(int(sizes[rarest]) >= 2, source, rule, f"{sizes[rarest]} of class {present[rarest]}")
    highest = int(labels["test"].max())
    _require(highest < classes, source, f"y_test must be below {classes}, the classes of y_train", highest)
    return Dataset(x_train=images["train"], y_train=labels["train"], x_test=images["test"], y_test=labels["test"])


@contextmanager
def _readable(source: Path) -> Iterator[None]:
    """Turn the errors that damaged files raise into DatasetRuleError."""
    try:
        yield
    except DatasetRuleError:
        raise
    except DAMAGES as error:
        rule = f"must be readable and hold the arrays {', '.join(ARRAYS)}"
        raise DatasetRuleError(f"{source}: {rule}, found {reason_of(error)}; {PREPARE}") from error


def map_folder(folder: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a prepared folder, mapped into memory."""
    return map_arrays(folder, ARRAYS, OPTIONAL)


def write_folder(arrays: Mapping[str, np.ndarray], folder: Path) -> None:
    """Write the arrays of a prepared folder."""
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def unpacked_folder(path: Path) -> Path:
    """Return the folder of the node's cache for an .npz file; it depends on path, size and modification time."""
    status = path.stat()
    key = f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"
    return cache_folder() / "prepared" / f"{path.stem}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _npz_dataset(path: Path) -> Dataset:
    """Return the data set of an .npz file, mapped from the cache, or read into memory if the cache is not writable."""

    def write(fresh: Path) -> None:
        unpack(path, fresh, ARRAYS, OPTIONAL)
        checked_dataset(path, map_folder(fresh))  # raises before the cache is filled

    with suppress(OSError):
        folder = unpacked_folder(path)
        if not folder.is_dir():
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            install(folder, write)
        with suppress(ValueError):  # a damaged cache
            return checked_dataset(path, map_folder(folder))
    return checked_dataset(path, read_npz(path, ARRAYS, OPTIONAL))


def load_prepared(path: Path) -> Dataset:
    """Load a prepared .npz file, or the folder `<stem>/` beside it if the file does not exist.

    The .npz file is unpacked into `$XDG_CACHE_HOME/qar/prepared` (`~/.cache/qar/prepared`), once for each path, size
    and modification time, and mapped from there by all processes.

    Args:
        path: path of the .npz file.

    Raises:
        DatasetRuleError: file and folder are missing, the file is damaged, or an array breaks a rule of
            `checked_dataset`.
    """
    _require(path.suffix == ".npz", path, "the name must end in .npz", repr(path.name), "rename it")
    folder = path.with_suffix("")
    if path.exists():
        with _readable(path):
            return _npz_dataset(path)
    rule = f"there must be this file, or {folder}/*.npy"
    _require((folder / "x_train.npy").exists(), path, rule, "neither", f"put a prepared .npz there: {PREPARE}")
    with _readable(folder):
        return checked_dataset(folder, map_folder(folder))
