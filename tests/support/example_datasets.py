"""Small data sets to write and read back."""

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainables.data.prepared import Dataset


def small_arrays(channels: int = 3, size: int = 32, classes: int = 10) -> dict[str, Any]:
    rng = np.random.default_rng(7)
    return {
        "x_train": rng.integers(0, 256, (5 * classes, size, size, channels), dtype=np.uint8),
        "y_train": np.arange(5 * classes) % classes,
        "x_test": rng.integers(0, 256, (classes, size, size, channels), dtype=np.uint8),
        "y_test": np.arange(classes),
    }


def assert_holds(dataset: Dataset, arrays: dict[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        np.testing.assert_array_equal(getattr(dataset, name), array)


def write_cifar(folder: Path, label_key: str, names_key: str, arrays: dict[str, np.ndarray], parts: Any) -> None:
    """The pickles of CIFAR's Python version, as torchvision unpacks them."""
    folder.mkdir(parents=True)
    for part, file_names in parts.items():
        images, labels = arrays[f"x_{part}"].transpose(0, 3, 1, 2), arrays[f"y_{part}"]
        pieces = np.array_split(np.arange(len(labels)), len(file_names))
        for file_name, piece in zip(file_names, pieces, strict=True):
            batch = {"data": images[piece].reshape(len(piece), -1), label_key: labels[piece].tolist()}
            (folder / file_name).write_bytes(pickle.dumps(batch))
    (folder / ("batches.meta" if label_key == "labels" else "meta")).write_bytes(pickle.dumps({names_key: []}))


def write_fashion_mnist(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    """The four idx files of MNIST's format (yann.lecun.com/exdb/mnist)."""
    folder.mkdir(parents=True)
    for part, stem in (("train", "train"), ("test", "t10k")):
        images, labels = arrays[f"x_{part}"][..., 0], arrays[f"y_{part}"].astype(np.uint8)
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, *images.shape) + images.tobytes())
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, len(labels)) + labels.tobytes())


def write_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, np.ndarray]]:
    """Small files in the formats that torchvision downloads; returns what each data set should hold."""
    from torchvision import datasets

    for kind in (datasets.CIFAR10, datasets.CIFAR100):  # small files have other checksums
        for files in ("train_list", "test_list"):
            monkeypatch.setattr(kind, files, [[name, None] for name, _ in getattr(kind, files)])
        monkeypatch.setattr(kind, "meta", kind.meta | {"md5": None})
    wanted = {"cifar10": small_arrays(), "cifar100": small_arrays(classes=100), "fashion_mnist": small_arrays(1, 28)}
    batches = {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}
    write_cifar(tmp_path / "cifar-10-batches-py", "labels", "label_names", wanted["cifar10"], batches)
    whole = {"train": ["train"], "test": ["test"]}
    write_cifar(tmp_path / "cifar-100-python", "fine_labels", "fine_label_names", wanted["cifar100"], whole)
    write_fashion_mnist(tmp_path / "FashionMNIST" / "raw", wanted["fashion_mnist"])
    return wanted
