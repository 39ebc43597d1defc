"""Mixed K against one K at equal bits: interpolation, pairs of seeds, and which seeds count."""

import pandas as pd
import pytest

from analysis.statistics.mixed_levels import compare_at_equal_bits
from trainables.result import FINETUNE, REGULARIZE, TRIAL_COLUMNS


def trial(seed: int, bits: float, accuracy: float, mixed: bool, family: str = "none") -> dict[str, object]:
    return dict.fromkeys(column.name for column in TRIAL_COLUMNS) | {
        "family": family,
        "num_levels": 16.0 if mixed else 4.0,
        "groups": "auto_2: 2 (0); auto_4: 4 (5)" if mixed else None,
        "state": "COMPLETE",
        "seed": seed,
        "bits_per_weight": bits,
        "val_accuracy": accuracy,
        "val_accuracy_pre_tuning": accuracy - 0.25,
    }


def frame(*rows: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame(rows)


def test_accuracy_is_interpolated_in_bits_and_paired_by_seed() -> None:
    rows = frame(
        *(trial(0, 2.0, 0.5, mixed=False), trial(0, 1.0, 0.4, mixed=True), trial(0, 3.0, 0.8, mixed=True)),
        *(trial(1, 2.5, 0.5, mixed=False), trial(1, 1.5, 0.4, mixed=True), trial(1, 3.5, 0.64, mixed=True)),
    )
    table = compare_at_equal_bits(rows).set_index("phase")
    for phase, less in ((FINETUNE, 0.0), (REGULARIZE, 0.25)):
        row = table.loc[phase]
        assert (row["num_levels"], row["n"], row["bits"]) == (4, 2, 2.25)
        assert row["accuracy"] == pytest.approx(0.5 - less)
        assert row["mixed_accuracy"] == pytest.approx((0.6 + 0.52) / 2 - less)
        assert row["difference"] == pytest.approx(0.06)
        # Student's t with one degree of freedom: 12.706 standard errors of 0.1 and 0.02.
        assert row["high"] - row["difference"] == pytest.approx(12.706 * 0.04, rel=1e-3)


def test_mixed_networks_never_count_with_more_bits() -> None:
    rows = frame(
        *(trial(0, 2.0, 0.5, mixed=False), trial(0, 2.1, 0.9, mixed=True)),
        *(trial(1, 2.0, 0.5, mixed=False), trial(1, 1.5, 0.6, mixed=True)),
        *(trial(2, 2.0, 0.5, mixed=False), trial(2, 1.5, 0.9, mixed=True, family="RM")),
    )
    (row,) = compare_at_equal_bits(rows).query("phase == 'finetune'").to_dict("records")
    assert (row["n"], row["mixed_accuracy"]) == (1, 0.6)
    assert pd.isna(row["low"])
    assert compare_at_equal_bits(rows[rows["seed"] == 0]).empty
