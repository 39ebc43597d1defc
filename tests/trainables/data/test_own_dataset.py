"""Data sets loaded by a user's function."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from trainables.conformance.datasets import check_dataset
from trainables.data.datasets import load_dataset

CODE = """
import numpy as np
import torch
from PIL import Image

calls = 0
rng = np.random.default_rng(0)
X = rng.integers(0, 256, (8, 5, 7, 1), dtype=np.uint8)
Y = np.arange(8) % 2


class Items(torch.utils.data.Dataset):
    def __init__(self, convert, length=8):
        self.convert, self.length = convert, length

    def __len__(self):
        return self.length

    def __getitem__(self, place):
        return self.convert(X[place]), torch.tensor(Y[place])


def arrays(data_dir):
    global calls
    calls += 1
    return X, Y, X[:4], Y[:4]


def mapping():
    return {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y}


def pillow():
    return Items(lambda x: Image.fromarray(x[..., 0])), Items(lambda x: Image.fromarray(x[..., 0]), 4)


def tensors():
    convert = lambda x: torch.from_numpy(x).permute(2, 0, 1).float() / 255
    return Items(convert), Items(convert, 4)


def normalized():
    return Items(lambda x: torch.from_numpy(x).float() - 128), Items(lambda x: x)


def shapes():
    return Items(lambda x: x[: int(x[0, 0, 0]) % 2 + 2]), Items(lambda x: x)


def one():
    return X


def wrong_labels():
    return X, Y + 0.5, X, Y


def fails():
    raise OSError("no disk")


def drawn():
    return np.random.randint(0, 256, X.shape).astype(np.uint8), Y, X, Y


def needs(path):
    return path
"""


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "owndata.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    del sys.modules["owndata"]


@pytest.mark.parametrize("name", ["arrays", "mapping", "pillow", "tensors"])
def test_all_forms_of_results_give_the_same_images(name: str) -> None:
    dataset = load_dataset(f"owndata:{name}")
    expected = sys.modules["owndata"].X
    assert np.array_equal(dataset.x_train, expected)
    assert dataset.y_train.tolist() == [0, 1] * 4
    assert dataset.image_shape == (1, 5, 7)
    assert len(dataset.x_test) == (8 if name == "mapping" else 4)
    assert all(found.passed for found in check_dataset(f"owndata:{name}"))


def test_function_is_called_once_per_process() -> None:
    first = load_dataset("owndata:arrays", "somewhere")
    assert load_dataset("owndata:arrays", "somewhere") is first
    assert sys.modules["owndata"].calls == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone", r"an attribute of owndata, got 'gone'; choose from \['Items', 'arrays'"),
        ("one", "must return four arrays .*, got ndarray of 8; mend it"),
        ("wrong_labels", "y_train must be integers, found float64"),
        ("fails", r"must return .*, got OSError: no disk \(.*owndata\.py, line \d+\); mend it"),
        ("needs", "must be callable with data_dir, got a signature that also needs 'path'; give it a default"),
        ("normalized", "got for item 0 of the training|train data set: a float image must have values from 0 to 1"),
        ("shapes", "must return images of one shape"),
    ],
)
def test_faults_are_told_in_one_line(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        load_dataset(f"owndata:{name}")
    assert "\n" not in str(caught.value)


def test_data_set_that_is_drawn_anew_is_refused_by_the_kit() -> None:
    faults = [found.detail for found in check_dataset("owndata:drawn") if not found.passed]
    assert faults == ["x_train differs between two loads; seed what it draws"]
