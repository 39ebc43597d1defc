"""Promises that every data set of the registry keeps."""

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.example_datasets import assert_holds, small_arrays
from trainables.data.datasets import DATASETS, load_dataset


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


@pytest.fixture
def source_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, np.ndarray]]:
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


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_datasets_keep_their_promises(name: str, tmp_path: Path, source_files: dict[str, Any]) -> None:
    np.random.seed(1)
    first = load_dataset(name, tmp_path)
    np.random.seed(2)
    second = load_dataset(name, tmp_path)
    assert_holds(second, {field: getattr(first, field) for field in ("x_train", "y_train", "x_test", "y_test")})
    for images, labels in ((first.x_train, first.y_train), (first.x_test, first.y_test)):
        assert images.dtype == np.uint8
        assert images.ndim == 4
        assert labels.dtype == np.int64
        assert len(images) == len(labels)
    assert set(first.y_train) == set(range(first.num_classes))
    if name in source_files:
        assert_holds(first, source_files[name])
        assert isinstance(second.x_train, np.memmap)
        assert (tmp_path / name / "x_train.npy").exists()
