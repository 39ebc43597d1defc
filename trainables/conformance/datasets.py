"""Checks of a data set: its arrays, and that it is the same whenever it is loaded."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from trainables.conformance.finding import Finding, require, run_checks
from trainables.data.datasets import load_dataset
from trainables.data.own_dataset import load_own_dataset
from trainables.data.prepared import Dataset
from trainables.import_path import is_import_path


def check_dataset(name: str, data_dir: str | Path = "data") -> Iterator[Finding]:
    """Check a data set.

    Args:
        name: name of the data set, its path with a prefix, or its import path.
        data_dir: folder of data sets.
    """

    def load(anew: bool = False) -> Dataset:
        if anew and is_import_path(name):
            return load_own_dataset(name, data_dir, anew=True)
        return load_dataset(name, data_dir)

    def arrays() -> str:
        dataset = load()
        channels, height, width = dataset.image_shape
        counts = np.bincount(dataset.y_train)
        return (
            f"{len(dataset.x_train)} training and {len(dataset.x_test)} test images of {height}×{width}×{channels} "
            f"uint8, {dataset.num_classes} classes with {counts.min()} to {counts.max()} training images"
        )

    def repeated() -> str:
        np.random.seed(1)
        first = load(anew=True)
        np.random.seed(2)
        second = load(anew=True)
        for part in ("x_train", "y_train", "x_test", "y_test"):
            require(
                np.array_equal(getattr(first, part), getattr(second, part)),
                f"{part} differs between two loads; seed what it draws",
            )
        return "equal whenever it is loaded"

    return run_checks({"arrays": arrays, "repeated load": repeated})
