"""Promises that every data set of the registry keeps."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.example_datasets import assert_holds
from trainables.data.datasets import DATASETS, load_dataset


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
