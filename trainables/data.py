"""Data sets: images as uint8 arrays, seeded splits, and batches that live on the device.

A prepared data set is an .npz with four arrays, or a folder of the same arrays as .npy files. An .npz is unpacked
once into such a folder beside it, which all trials of a node map into memory and so share.
"""

import json
import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from torch import Tensor

from trainables.augmentation import AUGMENTATIONS, crop_flip, draw_crop_flips
from trainables.families import choose
from trainables.shapes import Float, Int, UInt8

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
NPZ = "npz:"
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
        raise ValueError(f"{source}: {rule}, found: {_one_line(error)}; {PREPARE}") from error


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _stamp(folder: Path) -> dict[str, int] | None:
    """Which .npz a folder was unpacked from; None for a folder that is not ours."""
    with suppress(OSError, ValueError):
        return json.loads((folder / STAMP).read_text())
    return None


def _install(folder: Path, stamp: dict[str, int], write: Callable[[Path], None]) -> None:
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


def _map_folder(folder: Path) -> dict[str, np.ndarray]:
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}


def _write_folder(arrays: Mapping[str, np.ndarray], folder: Path) -> None:
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
            _install(folder, stamp, partial(_unpack_npz, path))
    with suppress(OSError, ValueError):
        if _stamp(folder) == stamp:
            return _map_folder(folder)
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
        arrays = _map_folder(folder)
    return checked_dataset(folder, arrays)


def _digits(_: Path) -> Dataset:
    """1,797 grey 8×8 images of handwritten digits that come with scikit-learn; a fixed fifth is the test split.

    Source: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998.
    """
    from sklearn.datasets import load_digits  # ponderous, and needed for this data set alone

    bunch = load_digits()
    images = (bunch.images * (255 / 16)).round().astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int64)
    # The test split is the data set's, not the trial's: its seed never changes.
    train, test = stratified_split(labels, 0.2, np.random.default_rng(0))
    return Dataset(x_train=images[train], y_train=labels[train], x_test=images[test], y_test=labels[test])


def _torchvision_arrays(kind: Any, root: Path, download: bool) -> dict[str, np.ndarray]:
    arrays = {}
    for part in ("train", "test"):
        source = kind(root, train=part == "train", download=download)
        arrays[f"x_{part}"], arrays[f"y_{part}"] = np.asarray(source.data), np.asarray(source.targets)
    return arrays


def _prepared_or_torchvision(name: str, torchvision_name: str, data_dir: Path) -> Dataset:
    """The prepared form if it is there; else torchvision's files or download, which leave the prepared form behind."""
    folder = data_dir / name
    npz = data_dir / f"{name}.npz"
    if npz.exists() or (folder / "x_train.npy").exists():
        return load_prepared(npz)
    from torchvision import datasets  # ponderous, and needed once

    kind = getattr(datasets, torchvision_name)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        try:
            arrays = _torchvision_arrays(kind, data_dir, download=False)
        except RuntimeError:  # no such files here
            # Trials that start together download apart; torchvision would write one file from all of them.
            with TemporaryDirectory(prefix=f".{name}-", dir=data_dir) as scratch:
                arrays = _torchvision_arrays(kind, Path(scratch), download=True)
    except (OSError, EOFError, RuntimeError) as error:
        raise ValueError(
            f"dataset {name!r} is missing: found neither {npz} nor {folder}/*.npy, and torchvision could not download "
            f"it ({_one_line(error)}); put a prepared .npz with {', '.join(ARRAYS)} at {npz}, or run once where there "
            "is a network"
        ) from error
    with suppress(OSError):
        _install(folder, {}, partial(_write_folder, arrays))
        arrays = _map_folder(folder)
    return checked_dataset(folder, arrays)


DATASETS: dict[str, Callable[[Path], Dataset]] = {
    "digits": _digits,
    "cifar10": partial(_prepared_or_torchvision, "cifar10", "CIFAR10"),
    "cifar100": partial(_prepared_or_torchvision, "cifar100", "CIFAR100"),
    "fashion_mnist": partial(_prepared_or_torchvision, "fashion_mnist", "FashionMNIST"),
}


def check_dataset_name(name: str) -> str:
    """Returns `name` if it is a key of `DATASETS` or `npz:` and a path; raises ValueError naming them if not."""
    return name if name.startswith(NPZ) and name != NPZ else choose("dataset", name, [*DATASETS, f"{NPZ}<path>"])


def load_dataset(name: str, data_dir: str | Path = "data") -> Dataset:
    """Loads a data set.

    Args:
        name: a key of `DATASETS`, or `npz:` and the path of a prepared file.
        data_dir: where prepared data sets lie, and downloads go.

    Raises:
        ValueError: the name is unknown, or the data are missing, damaged, or break a rule of `checked_dataset`.
    """
    if check_dataset_name(name).startswith(NPZ):
        return load_prepared(Path(name.removeprefix(NPZ)).expanduser())
    return DATASETS[name](Path(data_dir).expanduser())


def stratified_split(labels: np.ndarray, fraction: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Splits indices in two, each class in the same proportion.

    Args:
        labels: class of each image, (n,).
        fraction: share of each class that goes to the second part, rounded, at least one image of each.
        rng: decides which.

    Returns:
        Indices of the first and of the second part, each in increasing order.
    """
    held_out = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        held_out.append(members[: max(1, round(fraction * len(members)))])
    second = np.sort(np.concatenate(held_out))
    return np.setdiff1d(np.arange(len(labels)), second), second


def stratified_choice(labels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Chooses exactly `size` indices, in increasing order, each class in proportion to within one image.

    Raises:
        ValueError: there are fewer.
    """
    if not 1 <= size <= len(labels):
        raise ValueError(
            f"subset must be from 1 to {len(labels)}, the training images available, got {size}; "
            "lower it, or leave it out for all"
        )
    classes, counts = np.unique(labels, return_counts=True)
    quotas, remainders = np.divmod(size * counts, len(labels))
    # Largest remainders: the images that rounding down leaves over go where most was cut off.
    quotas[np.argsort(-remainders, kind="stable")[: size - quotas.sum()]] += 1
    chosen = [
        rng.permutation(np.flatnonzero(labels == label))[:quota] for label, quota in zip(classes, quotas, strict=True)
    ]
    return np.sort(np.concatenate(chosen))


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images of one split on a device, normalized as they are read.

    Attributes:
        images: uint8, (n, channels, height, width), channels last in memory.
        labels: int64, (n,).
        mean: of each channel over the training split, in units of uint8.
        std: likewise.
    """

    images: UInt8[Tensor, "n c h w"]
    labels: Int[Tensor, " n"]
    mean: Float[Tensor, " c"]
    std: Float[Tensor, " c"]

    def __len__(self) -> int:
        return len(self.labels)

    def batches(
        self, batch_size: int, generator: torch.Generator | None = None, augmentation: str = "none"
    ) -> Iterator[tuple[Float[Tensor, "b c h w"], Int[Tensor, " b"]]]:
        """Yields normalized images, channels last in memory, and their classes.

        Args:
            batch_size: images in a batch; the last may be smaller.
            generator: shuffles and augments; without one, images come in order.
            augmentation: one of `AUGMENTATIONS`; `crop_flip` needs a generator.
        """
        device = self.labels.device
        augmented = choose("augmentation", augmentation, AUGMENTATIONS) == "crop_flip"
        if augmented and generator is None:
            raise ValueError("generator must be given for augmentation 'crop_flip', got None; set it")
        order = crop_flips = None
        if generator is not None:
            order = torch.randperm(len(self), generator=generator).to(device)
            crop_flips = draw_crop_flips(len(self), generator).to(device) if augmented else None
        for start in range(0, len(self), batch_size):
            stop = min(start + batch_size, len(self))
            if stop - start == 1 and generator is not None and start > 0:
                return  # batch normalization can't train on a single image
            chosen = slice(start, stop) if order is None else order[start:stop]
            images = self.images[chosen].to(torch.float32, memory_format=torch.channels_last)
            images.sub_(self.mean[:, None, None]).div_(self.std[:, None, None])
            if crop_flips is not None:
                images = crop_flip(images, crop_flips[start:stop])
            yield images, self.labels[chosen]


def channel_moments(images: UInt8[Tensor, "n c h w"]) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
    """Mean and standard deviation of each channel, exact until they are rounded to float32."""
    pixels = images.permute(0, 2, 3, 1).reshape(-1, images.shape[1])
    total = torch.zeros(2, images.shape[1], dtype=torch.float64, device=images.device)
    for part in pixels.split(2**18):  # all pixels in float64 would take eight times the memory of the images
        values = part.double()
        total += torch.stack([values.sum(0), values.square().sum(0)])
    count = len(pixels)
    # Sums of integers below 2⁵³ have no rounding, whatever their order; Python's integers have none at all.
    sums, squares = ([int(value) for value in row] for row in total.tolist())
    mean = [value / count for value in sums]
    std = [math.sqrt(count * square - value**2) / count for value, square in zip(sums, squares, strict=True)]
    return torch.tensor(mean, device=images.device), torch.tensor(std, device=images.device)


def train_and_validation(
    dataset: Dataset,
    validation_fraction: float,
    rng: np.random.Generator,
    device: torch.device,
    subset: int | None = None,
) -> tuple[Split, Split]:
    """Splits the training images, stratified by class, and puts both parts on the device.

    Args:
        dataset: whose test images stay untouched.
        validation_fraction: share of each class that is held out.
        rng: decides which.
        device: where the splits live.
        subset: size of a stratified choice of training images, which alone are then split; None for all.

    Raises:
        ValueError: there are fewer images than `subset`, or the splits would leave a class out of training.
    """
    available = np.arange(len(dataset.y_train))
    if subset is not None:
        available = stratified_choice(dataset.y_train, subset, rng)
    train, validation = (
        available[part] for part in stratified_split(dataset.y_train[available], validation_fraction, rng)
    )
    missing = np.setdiff1d(np.arange(dataset.num_classes), dataset.y_train[train])
    if len(missing):
        raise ValueError(
            f"each class must have images to train on and to validate on, got none to train on of class {missing[0]} "
            f"with {len(available)} images and validation_fraction={validation_fraction}; "
            "raise subset, lower validation_fraction, or give it more images"
        )

    def on_device(indices: np.ndarray) -> tuple[Tensor, Tensor]:
        images = torch.from_numpy(dataset.x_train[indices]).to(device)
        return images.permute(0, 3, 1, 2), torch.from_numpy(dataset.y_train[indices]).to(device)

    images, labels = on_device(train)
    mean, std = channel_moments(images)
    std = std.clamp(min=1.0)
    held_out_images, held_out_labels = on_device(validation)
    return (
        Split(images=images, labels=labels, mean=mean, std=std),
        Split(images=held_out_images, labels=held_out_labels, mean=mean, std=std),
    )
