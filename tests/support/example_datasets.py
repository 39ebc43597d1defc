"""Small data sets to write and read back."""

from typing import Any

import numpy as np

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
