"""Trials whose layers have K of their own: what stands for K, and that they are in no comparison at equal K."""

import pandas as pd
import pytest

from analysis.levels import is_allocated, levels_text
from analysis.statistics.family_gains import comparable
from trainables.result import TRIAL_COLUMNS

GROUPS = ["auto_2: 2 (0, 3); auto_8: 8 (7)", "first: float (first)", None, "first: float (first); auto_4: 4 (5)"]


def trials() -> pd.DataFrame:
    columns = {column.name: [None] * len(GROUPS) for column in TRIAL_COLUMNS}
    frame = pd.DataFrame(columns).assign(state="COMPLETE", num_levels=8.0, val_accuracy=0.5, bits_per_weight=2.0)
    return frame.assign(
        groups=pd.Series(GROUPS, dtype=object), model="m", dataset="d", epochs=2, number=range(len(GROUPS))
    )


def test_only_trials_with_one_k_are_compared_at_equal_k() -> None:
    frame = trials()
    assert is_allocated(frame).tolist() == [True, False, False, True]
    assert comparable(frame)["number"].tolist() == [1, 2]
    earlier = frame.drop(columns="groups")
    assert not is_allocated(earlier).any()
    assert len(comparable(earlier)) == len(GROUPS)


@pytest.mark.parametrize(("groups", "text"), zip(GROUPS, ["mixed", "8", "8", "mixed"], strict=True))
def test_text_of_k(groups: str | None, text: str) -> None:
    assert levels_text(8.0, groups) == text
    assert levels_text(float("nan"), groups) == "float"
