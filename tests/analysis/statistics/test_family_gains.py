"""Families against each other at equal K: factors and probabilities by hand, and what can't be compared."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.statistics.comparison import compare
from analysis.statistics.family_gains import GAIN_COLUMNS, IMPROVEMENT_COLUMNS, best_replicates, gains, improvements
from analysis.statistics.intervals.improvement import improvement_interval
from analysis.statistics.intervals.ratios import ratio_interval
from tests.support.example_studies import trials_frame
from trainables.result import FINETUNE, REGULARIZE, TrialState

ACCURACIES = st.lists(st.integers(1, 20).map(lambda twentieth: twentieth / 20), min_size=1, max_size=6)


def trial(family: str, levels: int | None, before: float | None, after: float | None, **rest: Any) -> dict[str, Any]:
    return {"family": family, "num_levels": levels, "val_accuracy_pre_tuning": before, "val_accuracy": after} | rest


TRIALS = trials_frame(
    trial("none", None, None, 0.99),
    trial("none", 2, 0.1, 0.5),
    trial("none", 2, 0.3, 0.7),
    trial("RS", 2, 0.6, 0.9),
    trial("RS", 2, 0.8, 0.6),
    trial("RM", 2, 0.4, 0.3),
    trial("RS", 4, 0.9, 0.9),
    trial("RS", 2, 1.0, 1.0, state=TrialState.PRUNED),
    trial("none", 2, 1.0, 1.0, state=TrialState.FAIL),
)


def test_gains_match_a_computation_by_hand() -> None:
    found = gains(TRIALS)
    assert tuple(found.columns) == GAIN_COLUMNS
    by_hand = [
        ("RM", 2, REGULARIZE, 1, 2, 0.4, 0.2, 2.0),
        ("RM", 2, FINETUNE, 1, 2, 0.3, 0.6, 0.5),
        ("RS", 2, REGULARIZE, 2, 2, 0.7, 0.2, 3.5),
        ("RS", 2, FINETUNE, 2, 2, 0.75, 0.6, 1.25),
    ]
    pd.testing.assert_frame_equal(found[list(GAIN_COLUMNS[:8])], pd.DataFrame(by_hand, columns=GAIN_COLUMNS[:8]))
    assert found["low"].isna().tolist() == [True, True, False, False]
    expected = [ratio_interval([0.6, 0.8], [0.1, 0.3]), ratio_interval([0.9, 0.6], [0.5, 0.7])]
    assert found["low"].iloc[2:].tolist() == [interval.low for interval in expected]
    assert found["high"].iloc[2:].tolist() == [interval.high for interval in expected]


def test_nothing_comes_after_tuning_where_nothing_was_tuned() -> None:
    untuned = trials_frame(*(trial(family, 2, 0.5, 0.5, seed=seed) for family in ("none", "RS") for seed in (1, 2)))
    assert set(gains(untuned)["phase"]) == set(improvements(untuned)["phase"]) == {REGULARIZE}
    assert set(compare(untuned, split="validation")["phase"]) == {REGULARIZE}


def test_gains_on_the_test_split_are_of_its_columns() -> None:
    test = trials_frame(
        trial("none", 2, 0.9, 0.9, test_accuracy_pre_tuning=0.2, test_accuracy=0.4),
        trial("RS", 2, 0.1, 0.1, test_accuracy_pre_tuning=0.6, test_accuracy=0.8),
    )
    assert gains(test, split="test")["gain"].tolist() == pytest.approx([3.0, 2.0])
    assert improvements(test, split="test")["probability"].tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match=r"^unknown split 'train'; choose from \['validation', 'test'\]$"):
        gains(test, split="train")


def test_improvements_match_a_count_by_hand() -> None:
    found = improvements(TRIALS)
    assert tuple(found.columns) == IMPROVEMENT_COLUMNS
    by_hand = [
        ("RM", 2, REGULARIZE, 1.0),
        ("RM", 2, FINETUNE, 0.0),
        ("RS", 2, REGULARIZE, 1.0),
        ("RS", 2, FINETUNE, 0.75),
    ]
    assert list(found[["family", "num_levels", "phase", "probability"]].itertuples(index=False, name=None)) == by_hand
    other = improvements(TRIALS, "RS")
    assert sorted(set(other["family"])) == ["RM", "none"]
    assert other["probability"].tolist() == [0.0, 0.0, 0.0, 0.25]


@settings(max_examples=30)
@given(ACCURACIES, ACCURACIES)
def test_tables_hold_the_intervals_of_their_samples(family: list[float], none: list[float]) -> None:
    trials = trials_frame(
        *(trial("RE", 4, None, after) for after in family), *(trial("none", 4, 0.5, after) for after in none)
    )
    (gain,) = gains(trials, resamples=100, rng=3).itertuples()
    (improvement,) = improvements(trials, resamples=100, rng=3).itertuples()
    ratio = ratio_interval(family, none, resamples=100, rng=3)
    better = improvement_interval(family, none, resamples=100, rng=3)
    np.testing.assert_equal([gain.gain, gain.low, gain.high], [ratio.estimate, ratio.low, ratio.high])
    np.testing.assert_equal(
        [improvement.probability, improvement.low, improvement.high], [better.estimate, better.low, better.high]
    )
    assert (gain.n, gain.n_none) == (improvement.n, improvement.n_over) == (len(family), len(none))


def test_gain_over_a_baseline_of_0_is_infinite() -> None:
    found = gains(trials_frame(*[trial("RS", 2, None, 0.5)] * 2, *[trial("none", 2, None, 0.0)] * 2))
    assert found[["gain", "low", "high"]].to_numpy().tolist() == [[math.inf] * 3]


@pytest.mark.parametrize(
    "rows",
    [
        (),
        (trial("RS", 2, 0.5, 0.5),),
        (trial("none", 2, 0.5, 0.5), trial("none", 2, 0.4, 0.4)),
        (trial("none", 2, 0.5, 0.5), trial("RS", 4, 0.5, 0.5)),
        (trial("none", 2, 0.5, 0.5), trial("RS", 2, 0.5, 0.5, state=TrialState.FAIL)),
        (trial("none", 2, 0.5, 0.5), trial("RS", 2, 0.5, math.nan)),
    ],
    ids=["no trial", "one trial", "one family", "no equal K", "no complete trial", "NaN"],
)
def test_gains_without_a_pair_at_equal_levels_are_empty(rows: tuple[dict[str, Any], ...]) -> None:
    found = gains(trials_frame(*rows))
    assert found.empty
    assert tuple(found.columns) == GAIN_COLUMNS


@pytest.mark.parametrize(("column", "values"), [("model", ("a", "b")), ("dataset", ("a", "b")), ("epochs", (4, 18))])
@pytest.mark.parametrize("compare", [gains, improvements, best_replicates])
def test_trials_that_differ_in_more_than_family_are_refused(compare: Any, column: str, values: tuple[Any, ...]) -> None:
    trials = trials_frame(
        trial("none", 2, 0.5, 0.5, **{column: values[0]}), trial("RS", 2, 0.5, 0.5, **{column: values[1]})
    )
    with pytest.raises(
        ValueError, match=rf"^trials to compare must share {column}, got \[[^\n]*; select those of one$"
    ):
        compare(trials)


def test_improvement_over_a_family_without_trials_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^no complete trial of family 'RX'; choose from \['RM', 'RS', 'none'\]$"):
        improvements(TRIALS, "RX")
    assert improvements(TRIALS[:0]).empty


REPLICATES = trials_frame(
    trial("RS", 2, 0.9, 0.5, config_hash="a", seed=0),
    trial("RS", 2, 0.9, 0.7, config_hash="a", seed=1),
    trial("RS", 2, 0.2, 0.8, config_hash="b", seed=0),
    trial("RS", 2, 0.2, 0.6, config_hash="b", seed=1),
    trial("RS", 2, 1.0, 1.0, config_hash="c", seed=0),
    trial("RS", 2, 1.0, 1.0, config_hash="c", seed=0),
    trial("RS", 4, 0.4, 0.4, config_hash="d", seed=0),
    trial("none", 2, 0.1, 0.1, config_hash="e", seed=0),
    trial("none", 2, 0.1, 0.1, config_hash="e", seed=1),
)


@pytest.mark.parametrize(
    ("phase", "minimum", "numbers"),
    [(FINETUNE, 2, [2, 3, 7, 8]), (REGULARIZE, 2, [0, 1, 7, 8]), (FINETUNE, 1, [4, 6, 7, 8]), (FINETUNE, 3, [])],
)
def test_best_replicates_are_those_of_the_best_mean(phase: str, minimum: int, numbers: list[int]) -> None:
    assert best_replicates(REPLICATES, phase=phase, minimum=minimum)["number"].tolist() == numbers


def test_best_replicates_refuse_what_does_not_exist() -> None:
    with pytest.raises(ValueError, match=r"^unknown phase 'train'; choose from \['regularize', 'finetune'\]$"):
        best_replicates(REPLICATES, phase="train")
    with pytest.raises(ValueError, match=r"^minimum must be at least 1, got 0;"):
        best_replicates(REPLICATES, minimum=0)
