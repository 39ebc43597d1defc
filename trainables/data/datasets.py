"""Data sets by name."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import numpy as np

from trainables.data.batches import stratified_split
from trainables.data.cache import install
from trainables.data.fetched import fetched, is_uri
from trainables.data.npz import reason_of
from trainables.data.prepared import ARRAYS, Dataset, checked_dataset, load_prepared, map_folder, write_folder
from trainables.families import choose

NPZ = "npz:"
"""Prefix of the path of a prepared data set."""

TRUST = "allow it with --trust-addresses, or put the data set there and name its folder"
"""Remedy where a file from elsewhere names what would have to be fetched."""


def _digits(data_dir: str | Path, fetch: bool) -> Dataset:
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


def _fetched(uri: str, fetch: bool) -> Path:
    if not fetch:
        raise ValueError(f"the data set at {uri} must not be fetched, since a file names it; {TRUST}")
    return fetched(uri)


def _prepared_or_torchvision(name: str, torchvision_name: str, data_dir: str | Path, fetch: bool) -> Dataset:
    """Load the prepared form if it is there; else torchvision's files or download, which leave the prepared form.

    Without `fetch`, nothing is downloaded and nothing is written.
    """
    if is_uri(data_dir):
        parts = urlsplit(str(data_dir))
        return load_prepared(_fetched(urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}.npz")), fetch))
    data_dir = Path(data_dir).expanduser()
    folder = data_dir / name
    npz = data_dir / f"{name}.npz"
    if npz.exists() or (folder / "x_train.npy").exists():
        return load_prepared(npz)
    from torchvision import datasets  # ponderous, and needed once

    kind = getattr(datasets, torchvision_name)
    try:
        if fetch:
            data_dir.mkdir(parents=True, exist_ok=True)
        try:
            arrays = _torchvision_arrays(kind, data_dir, download=False)
        except RuntimeError:  # no such files here
            if not fetch:
                raise ValueError(
                    f"dataset {name!r} is missing: found neither {npz} nor {folder}/*.npy, and it must not be "
                    f"downloaded, since a file names it; {TRUST}"
                ) from None
            # Trials that start together download apart; torchvision would write one file from all of them.
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


DATASETS: dict[str, Callable[[str | Path, bool], Dataset]] = {
    "digits": _digits,
    "cifar10": partial(_prepared_or_torchvision, "cifar10", "CIFAR10"),
    "cifar100": partial(_prepared_or_torchvision, "cifar100", "CIFAR100"),
    "fashion_mnist": partial(_prepared_or_torchvision, "fashion_mnist", "FashionMNIST"),
}


def check_dataset_name(name: str) -> str:
    """Returns `name` if it is a key of `DATASETS` or `npz:` and a path; raises ValueError naming them if not."""
    return name if name.startswith(NPZ) and name != NPZ else choose("dataset", name, [*DATASETS, f"{NPZ}<path>"])


class DatasetError(ValueError):
    """A data set can't be loaded on this machine: it is missing or damaged."""


def load_dataset(name: str, data_dir: str | Path = "data", fetch: bool = True) -> Dataset:
    """Load a data set.

    Args:
        name: a key of `DATASETS`, or `npz:` and the path or URI of a prepared file.
        data_dir: where prepared data sets lie, and downloads go; of a URI (`s3://…`, `gs://…`), the prepared file is
            fetched once a node.
        fetch: whether a data set may be downloaded or fetched; not where a file from elsewhere names it.

    Raises:
        ValueError: the name is unknown.
        DatasetError: the data are missing, damaged, or break a rule of `checked_dataset`.
    """
    check_dataset_name(name)
    try:
        if name.startswith(NPZ):
            path = name.removeprefix(NPZ)
            return load_prepared(_fetched(path, fetch) if is_uri(path) else Path(path).expanduser())
        return DATASETS[name](data_dir, fetch)
    except ValueError as error:
        raise DatasetError(str(error)) from error


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """A data set to load.

    Attributes:
        name: as `load_dataset` takes it.
        data_dir: where prepared data sets lie.
        fetch: whether it may be downloaded or fetched.
    """

    name: str
    data_dir: str
    fetch: bool


def chosen_data(
    named: str, named_dir: str, dataset: str | None, data_dir: str | None, trust_addresses: bool
) -> DataSource:
    """Return the data set that a file names, with what the user says in its place.

    It may be fetched if the user says that all addresses are to be trusted, or gives the whole address.

    Args:
        named: data set that the file names.
        named_dir: folder that the file names.
        dataset: what the user gives in place of the first; None for nothing.
        data_dir: what the user gives in place of the second; None for nothing.
        trust_addresses: whether the user trusts what the file names.
    """
    name = named if dataset is None else dataset
    if name.startswith(NPZ):
        asked_for = dataset is not None
    else:
        asked_for = data_dir is not None and (dataset is not None or is_uri(data_dir))
    return DataSource(
        name=name, data_dir=named_dir if data_dir is None else data_dir, fetch=trust_addresses or asked_for
    )
