"""Registry of data sets, and loading of a data set by its name."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import numpy as np

from trainables.choices import choose
from trainables.data.batches import stratified_split
from trainables.data.cache import cache_folder, install
from trainables.data.digits import read_digits
from trainables.data.fetched import fetched, is_uri
from trainables.data.image_folder import check_folder_name, load_folder
from trainables.data.npz import reason_of
from trainables.data.own_dataset import load_own_dataset
from trainables.data.prepared import ARRAYS, Dataset, checked_dataset, load_prepared, map_folder, write_folder
from trainables.import_path import FOLDER, IMPORT_PATH_FORM, NPZ, PATH_PREFIXES, is_import_path

TRUST = "allow it with --trust-addresses, or put the data set there and name its folder"
"""Remedy in error messages about data sets that only an untrusted file names."""


def _digits(data_dir: str | Path, fetch: bool) -> Dataset:
    """Return scikit-learn's 1,797 grey 8×8 images of handwritten digits; a fixed fifth of them is the test split.

    Source: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998.
    """
    pixels, labels = read_digits()
    images = (pixels * (255 / 16)).round().astype(np.uint8)[..., None]
    # The test split belongs to the data set, so its seed is fixed and independent of the trial's.
    train, test = stratified_split(labels, 0.2, np.random.default_rng(0))
    return Dataset(x_train=images[train], y_train=labels[train], x_test=images[test], y_test=labels[test])


def _torchvision_arrays(kind: Any, root: Path, download: bool) -> dict[str, np.ndarray]:
    arrays = {}
    for part in ("train", "test"):
        source = kind(root, train=part == "train", download=download)
        arrays[f"x_{part}"], arrays[f"y_{part}"] = np.asarray(source.data), np.asarray(source.targets)
    return arrays


def _fetched(uri: str, fetch: bool) -> Path:
    if not fetch:
        raise ValueError(f"the data set at {uri} must not be fetched, since a file names it; {TRUST}")
    return fetched(uri)


def _prepared_or_torchvision(name: str, torchvision_name: str, data_dir: str | Path, fetch: bool) -> Dataset:
    """Load a data set from its prepared files, or else from torchvision's files or download.

    In the latter case the prepared files are written for next time. If `fetch` is false, nothing is downloaded or
    written.
    """
    if is_uri(data_dir):
        parts = urlsplit(str(data_dir))
        return load_prepared(_fetched(urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}.npz")), fetch))
    data_dir = Path(data_dir).expanduser()
    folder = data_dir / name
    npz = data_dir / f"{name}.npz"
    if npz.exists() or (folder / "x_train.npy").exists():
        return load_prepared(npz)
    from torchvision import datasets  # slow to import, and needed only once

    kind = getattr(datasets, torchvision_name)
    try:
        if fetch:
            data_dir.mkdir(parents=True, exist_ok=True)
        try:
            arrays = _torchvision_arrays(kind, data_dir, download=False)
        except RuntimeError:  # torchvision's files are not in data_dir
            if not fetch:
                raise ValueError(
                    f"dataset {name!r} is missing: found neither {npz} nor {folder}/*.npy, and it must not be "
                    f"downloaded, since a file names it; {TRUST}"
                ) from None
            # Each process downloads into its own folder; otherwise torchvision would write to one file from several.
            with TemporaryDirectory(prefix=f".{name}-", dir=data_dir) as scratch:
                arrays = _torchvision_arrays(kind, Path(scratch), download=True)
    except (OSError, EOFError, RuntimeError) as error:
        raise ValueError(
            f"dataset {name!r} is missing: found neither {npz} nor {folder}/*.npy, and torchvision could not download "
            f"it ({reason_of(error)}); put a prepared .npz with {', '.join(ARRAYS)} at {npz}, or run once where there "
            "is a network"
        ) from error
    if fetch:
        with suppress(OSError, ValueError):
            install(folder, partial(write_folder, arrays))
            arrays = map_folder(folder)
    return checked_dataset(folder, arrays)


OF_TORCHVISION = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "fashion_mnist": "FashionMNIST"}
"""Data sets that torchvision downloads, with the names of its classes."""

DATASETS: dict[str, Callable[[str | Path, bool], Dataset]] = {
    "digits": _digits,
    **{name: partial(_prepared_or_torchvision, name, kind) for name, kind in OF_TORCHVISION.items()},
}


def is_downloaded(name: str, data_dir: str | Path) -> bool:
    """Return whether a data set of torchvision is on this machine, prepared or as torchvision stores it.

    Args:
        name: a key of `OF_TORCHVISION`.
        data_dir: folder of data sets on this machine.
    """
    folder = Path(data_dir).expanduser()
    if (folder / f"{name}.npz").exists() or (folder / name / "x_train.npy").exists():
        return True
    from torchvision import datasets  # slow to import

    try:
        getattr(datasets, OF_TORCHVISION[name])(folder, download=False)
    except (OSError, EOFError, RuntimeError):
        return False
    return True


def check_dataset_name(name: str) -> str:
    """Return `name` if it has the form of a data set's name; raise ValueError with the choices if not.

    A data set named by import path is not imported.
    """
    if name.startswith(FOLDER) and name != FOLDER:
        check_folder_name(name)
        return name
    if (name.startswith(NPZ) and name != NPZ) or is_import_path(name):
        return name
    return choose("dataset", name, [*DATASETS, *(f"{prefix}<path>" for prefix in PATH_PREFIXES), IMPORT_PATH_FORM])


class DatasetError(ValueError):
    """A data set can't be loaded on this machine: it is missing or damaged."""


def load_dataset(name: str, data_dir: str | Path = "data", fetch: bool = True) -> Dataset:
    """Load a data set.

    Args:
        name: a key of `DATASETS`, `npz:` and the path or URI of a prepared file, `folder:` and the path of a tree of
            images, or the import path of a function.
        data_dir: folder of prepared and downloaded data sets. From a URI (`s3://…`) the prepared file is
            downloaded once per node.
        fetch: whether the data set may be downloaded; false if only an untrusted file names it.

    Raises:
        ValueError: the name is unknown.
        DatasetError: the data set is missing, damaged, or breaks a rule of `checked_dataset`.
    """
    check_dataset_name(name)
    try:
        if name.startswith(NPZ):
            path = name.removeprefix(NPZ)
            return load_prepared(_fetched(path, fetch) if is_uri(path) else Path(path).expanduser())
        if name.startswith(FOLDER):
            return load_folder(name)
        if name not in DATASETS:
            return load_own_dataset(name, data_dir)
        return DATASETS[name](data_dir, fetch)
    except ValueError as error:
        raise DatasetError(str(error)) from error
    except OSError as error:
        place = error.filename or cache_folder()
        raise DatasetError(f"{name} can't be loaded: {error.strerror} ({place}); mend that") from error


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Arguments of `load_dataset`.

    Attributes:
        name: name of the data set.
        data_dir: folder of prepared data sets.
        fetch: whether the data set may be downloaded.
    """

    name: str
    data_dir: str
    fetch: bool


def chosen_data(
    named: str, named_dir: str, dataset: str | None, data_dir: str | None, trust_addresses: bool
) -> DataSource:
    """Return the data set that a file names, with the user's choices in place of the file's.

    It may be downloaded if the user trusts the addresses in the file, or gives the complete address.

    Args:
        named: data set that the file names.
        named_dir: folder of data sets that the file names.
        dataset: data set that the user gives instead; None to keep the file's.
        data_dir: folder that the user gives instead; None to keep the file's.
        trust_addresses: whether the user trusts the addresses in the file.
    """
    name = named if dataset is None else dataset
    if name.startswith(PATH_PREFIXES):
        asked_for = dataset is not None
    else:
        asked_for = data_dir is not None and (dataset is not None or is_uri(data_dir))
    return DataSource(
        name=name, data_dir=named_dir if data_dir is None else data_dir, fetch=trust_addresses or asked_for
    )
