"""Data sets of image files in folders, one folder a class; decoded once per node and mapped into memory.

A tree is `train/CLASS/*` and `test/CLASS/*` (or `val`, `validation`), or `CLASS/*` alone, of which a fixed fifth of
each class is then the test split.
"""

import hashlib
import os
import re
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from trainables.data.batches import stratified_split
from trainables.data.cache import cache_folder, install
from trainables.data.prepared import Dataset, DatasetRuleError, checked_dataset, map_folder
from trainables.errors import message_of
from trainables.import_path import FOLDER

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
TEST_FOLDERS = ("test", "val", "validation")
TEST_SHARE = 0.2
MOST_PIXELS = 2**12
"""Largest height and width of the images of a data set."""
MOST_DECODED = 2**26
"""Largest number of pixels of a file before it is resized. A small file may state any number."""
LEAST_IMAGES = 2
"""Fewest training images of a class: one to train on, one to validate on."""

_FORM = re.compile(r"(?P<path>.+?)(\?size=(?P<height>\d{1,5})(x(?P<width>\d{1,5}))?)?")


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Files of one split, and the index of the class of each."""

    files: list[Path]
    labels: np.ndarray


def check_folder_name(name: str) -> tuple[Path, tuple[int, int] | None]:
    """Return the path in a name `folder:PATH?size=…`, and the (height, width) to resize to; None for no resizing.

    Raises:
        ValueError: the name has another form.
    """
    match = _FORM.fullmatch(name.removeprefix(FOLDER))
    if match is None or "://" in name:
        raise ValueError(
            f"dataset must be {FOLDER}PATH of a folder on every node, with ?size=32 or ?size=48x64 (height×width) at "
            f"its end to resize images, got {name!r}; correct it"
        )
    if match["height"] is None:
        return Path(match["path"]).expanduser(), None
    size = int(match["height"]), int(match["width"] or match["height"])
    if not all(1 <= pixels <= MOST_PIXELS for pixels in size):
        raise ValueError(f"size in {name!r} must be from 1 to {MOST_PIXELS}, got {size}; correct it")
    return Path(match["path"]).expanduser(), size


def load_folder(name: str) -> Dataset:
    """Load a tree of images.

    The images are decoded, cropped to the aspect ratio of `size` and resized into
    `$XDG_CACHE_HOME/qar/folders`, once for each state of the tree. All images are gray only if all files are.

    Args:
        name: `folder:PATH` or `folder:PATH?size=HEIGHTxWIDTH`.

    Raises:
        DatasetRuleError: there is no such tree, an image can't be decoded, or images have several sizes and no `size`
            is given.
        OSError: the node's cache can't be written.
    """
    root, size = check_folder_name(name)
    train, test = _tree(root)
    key = _key(root, size, [*train.files, *test.files])
    folder = cache_folder() / "folders" / f"{root.name}-{key}"
    if not folder.is_dir():
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        install(folder, partial(_decode, root, train, test, size))
    return checked_dataset(root, map_folder(folder))


def _require(holds: bool, root: Path, rule: str, actual: object, remedy: str) -> None:
    if not holds:
        raise DatasetRuleError(f"{root}: {rule}, found {actual}; {remedy}")


def _tree(root: Path) -> tuple[_Part, _Part]:
    """Return the files of the training and of the test split."""
    _require(root.is_dir(), root, "there must be a folder of images", "none", "correct the path")
    if not (root / "train").is_dir():
        classes = _classes(root)
        whole = _part(root, classes, LEAST_IMAGES + 1)
        # The test split belongs to the data set, so its seed is fixed and independent of the trial's.
        chosen = stratified_split(whole.labels, TEST_SHARE, np.random.default_rng(0))
        train, test = (
            _Part(files=[whole.files[place] for place in places], labels=whole.labels[places]) for places in chosen
        )
        return train, test
    present = [name for name in TEST_FOLDERS if (root / name).is_dir()]
    rule = f"beside train there must be one of {', '.join(TEST_FOLDERS)}"
    _require(len(present) == 1, root, rule, present or "none", "add one, or remove the others")
    classes, others = _classes(root / "train"), _classes(root / present[0])
    unknown = sorted(set(others) - set(classes))
    _require(not unknown, root, f"{present[0]} must have the classes of train", unknown[:3], "remove them")
    return _part(root / "train", classes, LEAST_IMAGES), _part(root / present[0], classes, 0)


def _classes(folder: Path) -> list[str]:
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    _require(len(names) >= 2, folder, "there must be a folder for each of at least 2 classes", names, "add them")
    return names


def _part(folder: Path, classes: Sequence[str], least: int) -> _Part:
    """Return the images of a split; each class must have at least `least`."""
    files: list[Path] = []
    labels: list[int] = []
    suffixes = ", ".join(sorted(SUFFIXES))
    for label, name in enumerate(classes):
        images = _images(folder, folder / name)
        rule = f"there must be at least {least} images ({suffixes}) of each class"
        _require(len(images) >= least, folder, rule, f"{len(images)} of {_quoted(name)}", "add some, or remove it")
        files += images
        labels += [label] * len(images)
    _require(bool(files), folder, f"there must be files of images ({suffixes})", "none", "add them")
    return _Part(files=files, labels=np.array(labels, dtype=np.int64))


def _images(root: Path, folder: Path) -> list[Path]:
    """Return the images below a folder, sorted. A class itself may be a link; links to folders in it are refused."""
    images = []
    for path in folder.rglob("*"):
        to_folder = path.is_symlink() and path.is_dir()
        _require(not to_folder, root, "a class must hold no links to folders", _quoted(path), "copy what they hold")
        if path.suffix.lower() in SUFFIXES and not path.is_dir():
            _require(path.is_file(), root, "every image must be a file", _quoted(path), "correct it, or remove it")
            images.append(path)
    return sorted(images)


def _quoted(name: str | Path) -> str:
    """Return a name as an error message shows it, in one line."""
    return repr(str(name))


def _key(root: Path, size: tuple[int, int] | None, files: Sequence[Path]) -> str:
    digest = hashlib.sha256(os.fsencode(f"{root.resolve()} {size}"))
    for file in files:
        status = file.stat()
        digest.update(os.fsencode(f"{file.relative_to(root)} {status.st_size} {status.st_mtime_ns}\n"))
    return digest.hexdigest()[:16]


def _decode(root: Path, train: _Part, test: _Part, size: tuple[int, int] | None, folder: Path) -> None:
    """Write the arrays of a prepared data set; raise DatasetRuleError if an image can't be used."""
    from PIL import Image

    bomb = warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning)  # `_head` has a limit
    with bomb, ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        heads = list(pool.map(partial(_head, root), [*train.files, *test.files]))
        sizes = {shape for shape, _ in heads}
        _require(
            size is not None or len(sizes) == 1,
            root,
            "images must have one size, or the data set's name one to resize to",
            f"{len(sizes)} sizes, such as {sorted(sizes)[:2]}",
            f"write {FOLDER}{root}?size=HEIGHTxWIDTH",
        )
        height, width = size or next(iter(sizes))
        _require(
            max(height, width) <= MOST_PIXELS,
            root,
            f"images must have at most {MOST_PIXELS} pixels per side, or the data set's name a size to resize to",
            f"{height}x{width}",
            f"write {FOLDER}{root}?size=HEIGHTxWIDTH",
        )
        mode = "L" if all(gray for _, gray in heads) else "RGB"
        for name, part in (("train", train), ("test", test)):
            shape = (len(part.files), height, width, 1 if mode == "L" else 3)
            pixels = pool.map(partial(_pixels, root, mode, (height, width)), part.files)
            with (folder / f"x_{name}.npy").open("wb") as file:  # on a full disk, a mapped file would end the process
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                for image in pixels:
                    file.write(np.ascontiguousarray(image).data)
            np.save(folder / f"y_{name}.npy", part.labels)
    np.save(folder / "channels.npy", np.array(1 if mode == "L" else 3))


def _head(root: Path, file: Path) -> tuple[tuple[int, int], bool]:
    """Return (height, width) of an image, and whether it is gray."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.height * image.width > MOST_DECODED:
                raise ValueError(f"{image.height}x{image.width}, more than {MOST_DECODED} pixels")
            return (image.height, image.width), image.mode in ("1", "L")
    except Exception as error:  # Pillow raises errors of many types
        raise _undecodable(root, file, error) from None


def _pixels(root: Path, mode: str, size: tuple[int, int], file: Path) -> np.ndarray:
    """Return the pixels of an image, uint8, (height, width, channels)."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as image:
            upright = ImageOps.exif_transpose(image).convert(mode)
            fitted = upright if upright.size == size[::-1] else ImageOps.fit(upright, size[::-1])
            return np.asarray(fitted).reshape(*size, -1)
    except Exception as error:  # Pillow raises errors of many types
        raise _undecodable(root, file, error) from None


def _undecodable(root: Path, file: Path, error: Exception) -> DatasetRuleError:
    reason = message_of(error)[:200]
    name = _quoted(file.relative_to(root))
    return DatasetRuleError(f"{root}: every image must be readable, found {name} ({reason}); mend it, or remove it")
