"""Data sets, splits, batches and augmentation.

Each public name imports its module when it is first used.
"""

from typing import TYPE_CHECKING

from trainables.lazy import lazy_names

if TYPE_CHECKING:
    from trainables.data.batches import Split, test_split, train_and_validation
    from trainables.data.datasets import load_dataset
    from trainables.data.prepared import Dataset
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "Dataset": "prepared",
            "Split": "batches",
            "load_dataset": "datasets",
            "test_split": "batches",
            "train_and_validation": "batches",
        },
    )


__all__ = [
    "Dataset",
    "Split",
    "load_dataset",
    "test_split",
    "train_and_validation",
]
