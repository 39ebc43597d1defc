"""The digits are those of scikit-learn, which is not imported for them."""

import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from trainables.data import digits
from trainables.data.digits import read_digits


@pytest.mark.parametrize("file", [digits.FILE, Path("elsewhere.csv.gz")], ids=["its file", "its function"])
def test_images_and_labels_are_those_of_scikit_learn(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "FILE", file)
    images, labels = read_digits()
    expected = load_digits()
    np.testing.assert_array_equal(images, expected.images, strict=True)
    np.testing.assert_array_equal(labels, expected.target.astype(np.int64), strict=True)


def test_scikit_learn_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)  # its import fails
    assert len(read_digits()[1]) == 1797
