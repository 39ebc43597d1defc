"""Prepared data sets: four arrays in an .npz, or in a folder of .npy files that all trials of a node share.

An .npz is unpacked once into such a folder beside it, which is mapped into memory.
"""

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import BadZipFile, ZipFile

import numpy as np

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
PREPARE = "prepare it with np.savez(path, x_train=…, y_train=…, x_test=…, y_test=…)"
STAMP = "unpacked_from.json"  # marks a folder as ours to replace


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A prepared data set.

    Attributes:
        x_train: training images, uint8, (n, height, width, channels); may be mapped from a file, read-only.
        y_train: their classes, int64, (n,).
        x_test: test images; only confirmed trials look at them.
        y_test: their classes.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    @property
    def num_classes(self) -> int:
        return int(self.y_train.max()) + 1

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width), as networks take images."""
        height, width, channels = self.x_train.shape[1:]
        return channels, height, width


def _require(holds: bool, source: Path, rule: str, found: object, remedy: str = PREPARE) -> None:
    if not holds:
        raise ValueError(f"{source}: {rule}, found {found}; {remedy}")


def checked_dataset(source: Path, arrays: Mapping[str, np.ndarray]) -> Dataset:
    """The data set of these arrays; images of one channel may lack that axis.

    Args:
        source: where the arrays come from, for the error's sake.
        arrays: `ARRAYS`; images uint8, (n, height, width[, channels]); labels integers, (n,), classes from 0.

    Raises:
        ValueError: an array breaks a rule.
    """
    images, labels = {}, {}
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        _require(x.dtype == np.uint8, source, f"x_{part} must be uint8", x.dtype)
        _require(x.ndim in (3, 4), source, f"x_{part} must be N×H×W×C or N×H×W", f"shape {x.shape}")
        _require(x.size > 0, source, f"x_{part} must hold images", f"shape {x.shape}")
        _require(y.dtype.kind in "iu", source, f"y_{part} must be integers", y.dtype)
        _require(y.ndim == 1, source, f"y_{part} must be one class an image", f"shape {y.shape}")
        _require(len(x) == len(y), source, f"x_{part} and y_{part} must be of one length", f"{len(x)} and {len(y)}")
        _require(int(y.min()) >= 0, source, f"y_{part} must count classes from 0", y.min())
        images[part] = x if x.ndim == 4 else x[..., None]
        labels[part] = y.astype(np.int64)
    shapes = images["train"].shape[1:], images["test"].shape[1:]
    _require(shapes[0] == shapes[1], source, "training and test images must be of one shape", shapes)
    classes = int(labels["train"].max()) + 1
    _require(classes >= 2, source, "y_train must name at least 2 classes", classes)
    # Not bincount: one stray label such as 2**40 would make a table of that length.
    present, sizes = np.unique(labels["train"], return_counts=True)
    _require(classes == len(present), source, "y_train must use each class from 0 up", f"{len(present)} of {classes}")
    rarest = int(sizes.argmin())
    rule = "y_train must have at least 2 images of a class to split"
    _require(int(sizes[rarest]) >= 2, source, rule, f"{sizes[rarest]} of class {present[rarest]}")
    highest = int(labels["test"].max())
    _require(highest < classes, source, f"y_test must be below {classes}, the classes of y_train", highest)
    return Dataset(x_train=images["train"], y_train=labels["train"], x_test=images["test"], y_test=labels["test"])


@contextmanager
def _readable(source: Path) -> Iterator[None]:
    """Turns all that damaged files raise into one line."""
    try:
        yield
    except (OSError, EOFError, KeyError, ValueError, NotImplementedError, BadZipFile, zlib.error) as error:
        rule = f"must be readable and hold the arrays {', '.join(ARRAYS)}"
        raise ValueError(f"{source}: {rule}, found: {one_line(error)}; {PREPARE}") from error


def one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _stamp(folder: Path) -> dict[str, int] | None:
    """Which .npz a folder was unpacked from; None for a folder that is not ours."""
    with suppress(OSError, ValueError):
        return json.loads((folder / STAMP).read_text())
    return None


def install(folder: Path, stamp: dict[str, int], write: Callable[[Path], None]) -> None:
    """Fills a folder by `write` and puts it in place whole, so that no trial ever sees a half of it.

    Raises:
        OSError: the folder can't be written, or one that is not ours is in its place.
    """
    with TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        fresh = Path(scratch, "fresh")
        fresh.mkdir()
        write(fresh)
        (fresh / STAMP).write_text(json.dumps(stamp))
        found = _stamp(folder)
        if found == stamp:
            return  # another trial was faster
        if found is not None:
            folder.rename(Path(scratch, "stale"))
        fresh.rename(folder)


def map_folder(folder: Path) -> dict[str, np.ndarray]:
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}


def write_folder(arrays: Mapping[str, np.ndarray], folder: Path) -> None:
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with ZipFile(path) as archive:
        return {name: np.lib.format.read_array(archive.open(f"{name}.npy")) for name in ARRAYS}


def _unpack_npz(path: Path, folder: Path) -> None:
    with ZipFile(path) as archive:
        archive.extractall(folder, [f"{name}.npy" for name in ARRAYS])


def _npz_arrays(path: Path, folder: Path) -> dict[str, np.ndarray]:
    status = path.stat()
    stamp = {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
    with suppress(OSError):
        if _stamp(folder) != stamp:
            install(folder, stamp, partial(_unpack_npz, path))
    with suppress(OSError, ValueError):
        if _stamp(folder) == stamp:
            return map_folder(folder)
    return _read_npz(path)


def load_prepared(path: Path) -> Dataset:
    """Loads a prepared .npz through the folder beside it, `<stem>/`, unpacking it if that is missing or older.

    Where that folder can't be written, the arrays are read into memory instead. A folder without an .npz will do.

    Raises:
        ValueError: there is neither, the file is damaged, or an array breaks a rule of `checked_dataset`.
    """
    _require(path.suffix == ".npz", path, "the name must end in .npz", repr(path.name), "rename it")
    folder = path.with_suffix("")
    if path.exists():
        with _readable(path):
            arrays = _npz_arrays(path, folder)
        return checked_dataset(path, arrays)
    rule = f"there must be this file, or {folder}/*.npy"
    _require((folder / "x_train.npy").exists(), path, rule, "neither", f"put a prepared .npz there: {PREPARE}")
    with _readable(folder):
        arrays = map_folder(folder)
    return checked_dataset(folder, arrays)
