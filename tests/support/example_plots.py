"""Tables to draw, and the plots of them."""

import pandas as pd
from matplotlib.axes import Axes

from analysis.statistics.confirmation import confirmed
from tests.support.example_studies import trials_frame
from trainables.families import FAMILIES
from trainables.result import FINETUNE, REGULARIZE

FAMILY_TABLE = trials_frame(
    {"family": "none", "num_levels": None, "lam": None, "val_accuracy": 0.97, "bits_per_weight": 32.1},
    *(
        {
            "family": family,
            "val_accuracy": 0.5 + place / 20 + better / 10,
            "bits_per_weight": 1.5 + place,
            "conv_bits_per_weight": 1.6 + place,
            "epochs": 4,
        }
        for place, family in enumerate(FAMILIES)
        for better in (0, 1)
    ),
)
"""Rows of one trial on the front and one behind it for each family, and of the float baseline."""


CONFIRMATION = trials_frame(
    *(
        {
            "family": family,
            "config_hash": f"{family}-{levels}",
            "num_levels": levels,
            "seed": seed,
            "bits_per_weight": 1.0 + levels / 2,
            "val_accuracy": 0.8,
            "val_accuracy_pre_tuning": 0.5,
            "test_accuracy_pre_tuning": 0.3 + seed / 50 + (family != "none") / 5,
            "test_accuracy": 0.7 + levels / 40 + seed / 100,
        }
        for family in ("none", "RS", "RE")
        for levels in (2, 4)
        for seed in range(3)
    ),
    {"family": "none", "num_levels": None, "config_hash": "float", "seed": 0, "test_accuracy": 0.97},
)
"""Three seeds of three families at two K, and the float baseline."""


RESULTS = confirmed(FAMILY_TABLE, CONFIRMATION)


def epochs_of(trials: pd.DataFrame) -> pd.DataFrame:
    """Three epochs of the first phase and one of the second, as many as each trial has."""
    rows = [
        (trial_id, epoch, REGULARIZE if epoch < 4 else FINETUNE, epoch / 10)
        for trial_id, epochs in zip(trials["trial_id"], trials["epochs"].tolist(), strict=True)
        for epoch in range(1, int(epochs if epochs == epochs else 0) + 1)
    ]
    return pd.DataFrame(rows, columns=["trial_id", "epoch", "phase", "val_accuracy"])


IMPORTANCES = pd.DataFrame(
    {
        "objective": ["val_accuracy"] * 2 + ["bits_per_weight"] * 2,
        "parameter": ["num_levels", "lam"] * 2,
        "importance": [0.6, 0.2, 0.9, 0.0],
        "n": 20,
    }
)


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def legend(ax: Axes) -> list[str]:
    found = ax.get_legend()
    return [] if found is None else [text.get_text() for text in found.get_texts()]
