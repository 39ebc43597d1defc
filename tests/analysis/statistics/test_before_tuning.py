"""Accuracies before tuning, by the statistics of batch normalization."""

from typing import Any

import pytest

from analysis.statistics.before_tuning import accuracies_before_tuning
from tests.support.example_studies import trials_frame


def trial(family: str, num_levels: int, accuracy: float, seed: int = 0, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "family": family,
        "num_levels": num_levels,
        "seed": seed,
        "config_hash": f"{family}-{num_levels}",
    }
    row |= {"val_accuracy_pre_tuning": accuracy, "val_accuracy_pre_tuning_recalibrated": accuracy}
    return row | {"val_accuracy_pre_tuning_kept": accuracy - 0.25} | changes


def test_families_are_compared_at_equal_levels_best_first() -> None:
    trials = trials_frame(
        trial("none", 2, 0.5),
        trial("RC", 2, 0.75, seed=0),
        trial("RC", 2, 1.0, seed=1),
        trial("RC", 2, 0.25, config_hash="another"),
        trial("none", 4, 0.875),
        trial("RM", 8, 0.9),
        trial("RM", 4, 0.99, state="PRUNED"),
    )
    table = accuracies_before_tuning(trials)
    assert table[["num_levels", "family", "n"]].to_numpy().tolist() == [[2, "RC", 2], [2, "none", 1]]
    assert table["recalibrated"].tolist() == [0.875, 0.5]
    assert table["kept"].tolist() == [0.625, 0.25]


def test_accuracies_of_earlier_versions_are_unknown() -> None:
    changes: dict[str, Any] = {"val_accuracy_pre_tuning_recalibrated": None, "val_accuracy_pre_tuning_kept": None}
    table = accuracies_before_tuning(trials_frame(trial("none", 2, 0.5, **changes), trial("RC", 2, 0.75, **changes)))
    assert list(table["family"]) == ["RC", "none"]
    assert table[["recalibrated", "kept"]].isna().all(axis=None)


@pytest.mark.parametrize("family", ["none", "RC"])
def test_a_single_family_is_compared_with_nothing(family: str) -> None:
    assert accuracies_before_tuning(trials_frame(trial(family, 2, 0.5))).empty
