"""Comparisons of families at equal K: against SciPy, statsmodels' definition of Holm, and cases by hand."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.statistics.comparison import compare, holm, sizes
from analysis.statistics.confirmation import selected
from analysis.statistics.family_gains import TEST
from analysis.statistics.intervals.means import mean_interval
from tests.support.example_studies import confirmed_rows, searched_frame, trials_frame
from trainables.result import FINETUNE, REGULARIZE

CONFIRMED = trials_frame(*confirmed_rows(5))


def test_comparison_matches_paired_t_tests_of_scipy() -> None:
    found = compare(selected(searched_frame(), CONFIRMED), split=TEST)
    for row in found[found["family"] != "none"].itertuples():
        column = {REGULARIZE: "test_accuracy_pre_tuning", FINETUNE: "test_accuracy"}[row.phase]
        mine, plain = (
            CONFIRMED[(CONFIRMED["family"] == family) & (CONFIRMED["num_levels"] == row.num_levels)]
            .set_index("seed")[column]
            .sort_index()
            for family in (row.family, "none")
        )
        expected = stats.ttest_rel(mine, plain)
        assert row.p == pytest.approx(expected.pvalue)
        low, high = expected.confidence_interval()
        assert (row.difference_low, row.difference_high) == (pytest.approx(low), pytest.approx(high))
        interval = mean_interval(mine)
        assert (row.accuracy, row.low, row.high) == (interval.estimate, interval.low, interval.high)
        assert row.n == 5
    assert found.loc[found["family"] == "none", "p"].isna().all()


def test_comparison_marks_the_best_of_each_phase_and_level_and_what_is_significant() -> None:
    found = compare(selected(searched_frame(), CONFIRMED), split=TEST)
    assert set(found.loc[found["best"], "family"]) == {"RE"}
    assert found["best"].sum() == 4
    assert (found["significant"] == (found["p_adjusted"] < 0.05)).all()
    assert found.loc[found["family"] == "RE", "significant"].all()


def test_ties_are_all_best() -> None:
    rows = [{"family": family, "config_hash": family, "seed": 0} for family in ("none", "RS")]
    assert compare(trials_frame(*rows), split="validation")["best"].all()


@pytest.mark.parametrize(
    ("seeds", "accuracies"),
    [((0, 1), (0.5, 0.6)), ((2, 3), (0.6, 0.7)), ((0, 1), (0.6, 0.7))],
    ids=["equal", "no seed in common", "equal differences"],
)
def test_no_test_is_made_where_differences_tell_no_spread(
    seeds: tuple[int, ...], accuracies: tuple[float, ...]
) -> None:
    plain = [
        {"family": "none", "config_hash": "none", "seed": seed, "test_accuracy": accuracy}
        for seed, accuracy in ((0, 0.5), (1, 0.6))
    ]
    mine = [
        {"family": "RS", "config_hash": "RS", "seed": seed, "test_accuracy": accuracy}
        for seed, accuracy in zip(seeds, accuracies, strict=True)
    ]
    found = compare(trials_frame(*plain, *mine), split=TEST)
    assert found["p"].isna().all()
    assert not found["significant"].any()


def test_nothing_is_tested_on_what_configurations_were_chosen_by() -> None:
    accuracies = {"none": (0.5, 0.5, 0.5), "RS": (0.90, 0.91, 0.92)}
    frame = trials_frame(
        *(
            {"family": family, "config_hash": family, "seed": seed, "val_accuracy": value, "test_accuracy": value}
            for family, values in accuracies.items()
            for seed, value in enumerate(values)
        )
    )
    assert compare(frame, split=TEST)["significant"].any()
    searched = compare(frame, split="validation")
    assert searched["p"].isna().all()
    assert not searched["significant"].any()


def test_two_configurations_of_a_family_and_level_are_refused() -> None:
    rows: list[dict[str, Any]] = [{"config_hash": "a", "seed": 0}, {"config_hash": "b", "seed": 0}]
    with pytest.raises(ValueError, match=r"^a family and K must have one configuration, got 2 of RS at 4;"):
        compare(trials_frame(*rows), split="validation")


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_is_the_closed_test_of_bonferroni(p: list[float]) -> None:
    """Adjust by definition: the adjusted p of a test is the maximum of size × least p over all sets that hold it."""
    found = holm(np.array(p))
    order = np.argsort(p, kind="stable")
    worst = 0.0
    for rank, place in enumerate(order):
        worst = max(worst, (len(p) - rank) * p[place])
        assert found[place] == pytest.approx(min(worst, 1.0))


def test_holm_does_not_count_what_is_no_test() -> None:
    assert holm(np.array([0.02, math.nan, 0.04])).tolist() == pytest.approx([0.04, math.nan, 0.04], nan_ok=True)
    assert holm(np.array([])).tolist() == []


def test_marks_are_rarely_false_in_a_simulation() -> None:
    """Where no family differs from none, a table of four tests has a mark in at most 5% of studies."""
    rng = np.random.default_rng(0)
    marked = 0
    frame = pd.concat([CONFIRMED[CONFIRMED["num_levels"].notna()]], ignore_index=True)
    for _ in range(100):
        noise = frame.assign(test_accuracy=rng.normal(0.9, 0.01, len(frame)), test_accuracy_pre_tuning=np.nan)
        marked += bool(compare(noise, split=TEST)["significant"].any())
    assert marked / 100 <= 0.11  # three standard errors above 5%


def test_selection_is_the_searchs_and_not_the_tests() -> None:
    """The search's better one of two configurations of a family and K is compared, though its results are worse."""
    usual = {"num_levels": 2, "family": "RS"}
    search = trials_frame(
        usual | {"config_hash": "liked", "val_accuracy": 0.9}, usual | {"config_hash": "other", "val_accuracy": 0.8}
    )
    confirmation = trials_frame(
        usual | {"config_hash": "other", "test_accuracy": 0.9},
        usual | {"config_hash": "liked", "test_accuracy": 0.7},
        usual | {"config_hash": "never searched", "test_accuracy": 1.0},
    )
    assert selected(search, confirmation)["config_hash"].tolist() == ["liked"]


def test_sizes_are_means_over_seeds() -> None:
    found = sizes(selected(searched_frame(), CONFIRMED))
    assert found["num_levels"].tolist() == [2, 2, 2, 4, 4, 4]
    assert found["bits_per_weight"].tolist() == [2.0] * 3 + [3.0] * 3
    assert found["times_smaller"].tolist() == [16.0] * 3 + [32 / 3] * 3
    assert (found["n"] == 5).all()
