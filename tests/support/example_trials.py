"""Trials that are trained in well under a second, for the tests of `trainables`."""

from typing import Any

from trainables.config import Recipe, TrialConfig
from trainables.families import FAMILIES

LAM = {name: 4.0 if family.has_penalty else 0.0 for name, family in FAMILIES.items()}


def quick(family: str = "RM", **changes: Any) -> TrialConfig:
    """A trial of 120 images in 3 batches."""
    values: dict[str, Any] = {
        "num_levels": 4,
        "lam": LAM[family],
        "model": "tiny_cnn",
        "dataset": "few_digits",
        "validation_fraction": 0.5,
        "regularize_epochs": 2,
        "finetune_epochs": 2,
        "recipe": Recipe(batch_size=40),
    }
    return TrialConfig(family=family, **values | changes)
