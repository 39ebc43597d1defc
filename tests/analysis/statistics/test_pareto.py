"""Fronts and hypervolumes against naive algorithms."""

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from optuna._hypervolume import compute_hypervolume
from optuna.study._multi_objective import _is_pareto_front

from analysis.statistics.pareto import REFERENCE, candidates, float_baseline, front, hypervolume, knee
from tests.support.example_studies import trials_frame
from trainables.result import TrialState

COARSE_ACCURACIES = st.integers(0, 5).map(lambda fifth: fifth / 5)
COARSE_BITS = st.integers(1, 8).map(float)
"""So few values that ties and duplicates are common."""

POINTS = st.one_of(
    st.lists(st.tuples(COARSE_ACCURACIES, COARSE_BITS), max_size=15),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 40)), max_size=15),
)


def complete(points: list[tuple[float, float]]) -> pd.DataFrame:
    return trials_frame(*({"val_accuracy": accuracy, "bits_per_weight": bits} for accuracy, bits in points))


def beaten(point: tuple[float, float], others: list[tuple[float, float]]) -> bool:
    """Whether one of the others is at least as good in both, and better in one: the definition, O(n²) in all."""
    accuracy, bits = point
    return any(a >= accuracy and b <= bits and (a > accuracy or b < bits) for a, b in others)


def points_of(trials: pd.DataFrame) -> list[tuple[float, float]]:
    return list(zip(trials["val_accuracy"], trials["bits_per_weight"], strict=True))


@given(POINTS)
def test_front_matches_brute_force(points: list[tuple[float, float]]) -> None:
    found = front(complete(points))
    expected = [number for number, point in enumerate(points) if not beaten(point, points)]
    assert sorted(found["number"]) == expected


def crowd(shape: str, count: int = 20_000) -> pd.DataFrame:
    """Trials of which few, many or nearly all are on the front, or which come in ties."""
    rng = np.random.default_rng(0)
    bits = rng.uniform(2, 31, count)
    accuracy = {
        "scattered": rng.random(count),
        "close to the front": 1 - 1 / bits - 0.01 * rng.random(count) ** 3,
        "all on the front": 1 - 1 / bits,
        "ties": rng.integers(0, 20, count) / 20,
    }[shape]
    table = {"state": TrialState.COMPLETE, "number": range(count), "num_levels": 4, "val_accuracy": accuracy}
    return pd.DataFrame(table | {"bits_per_weight": bits.round() if shape == "ties" else bits})


@pytest.mark.parametrize("shape", ["scattered", "close to the front", "all on the front", "ties"])
def test_front_and_hypervolume_of_many_match_optunas(shape: str) -> None:
    trials = crowd(shape)
    losses = np.column_stack([-trials["val_accuracy"], trials["bits_per_weight"]])
    expected = _is_pareto_front(losses, assume_unique_lexsorted=False)
    assert sorted(front(trials)["number"]) == np.flatnonzero(expected).tolist()
    reference = np.array([-REFERENCE[0], REFERENCE[1]])
    assert hypervolume(trials) == pytest.approx(compute_hypervolume(losses, reference) / REFERENCE[1])


@given(POINTS)
def test_front_is_ordered_and_climbs(points: list[tuple[float, float]]) -> None:
    found = points_of(front(complete(points)))
    for (accuracy, bits), (next_accuracy, next_bits) in itertools.pairwise(found):
        assert (next_bits, next_accuracy) == (bits, accuracy) or (next_bits > bits and next_accuracy > accuracy)


@settings(max_examples=30)
@given(POINTS, st.randoms(use_true_random=False))
def test_front_does_not_depend_on_the_order_of_rows(points: list[tuple[float, float]], random: Any) -> None:
    trials = complete(points)
    order = list(range(len(points)))
    random.shuffle(order)
    pd.testing.assert_frame_equal(front(trials.iloc[order]), front(trials))


@given(st.lists(st.tuples(COARSE_ACCURACIES, COARSE_BITS, st.sampled_from(TrialState), st.sampled_from([None, 4]))))
def test_only_complete_and_quantized_trials_are_on_a_front(rows: list[tuple[float, float, str, int | None]]) -> None:
    trials = trials_frame(
        *(
            {"val_accuracy": accuracy, "bits_per_weight": bits, "state": state, "num_levels": num_levels}
            for accuracy, bits, state, num_levels in rows
        )
    )
    allowed = [row[:2] for row in rows if row[2] == TrialState.COMPLETE and row[3] is not None]
    assert len(candidates(trials)) == len(allowed)
    assert sorted(points_of(front(trials))) == sorted(point for point in allowed if not beaten(point, allowed))


@pytest.mark.parametrize(
    "better",
    [{"state": TrialState.PRUNED}, {"state": TrialState.FAIL}, {"state": TrialState.RUNNING}, {"num_levels": None}],
    ids=["PRUNED", "FAIL", "RUNNING", "unquantized"],
)
def test_what_is_no_candidate_beats_nothing(better: dict[str, Any]) -> None:
    trials = trials_frame({"val_accuracy": 0.5}, {"val_accuracy": 0.9, "bits_per_weight": 1.0} | better)
    assert list(front(trials)["number"]) == [0]
    assert hypervolume(trials) == hypervolume(trials[:1])


def test_front_keeps_all_columns_and_duplicates() -> None:
    trials = trials_frame({"family": "RS"}, {"family": "RE"}, {"val_accuracy": 0.1})
    found = front(trials)
    assert list(found["family"]) == ["RS", "RE"]
    assert list(found.columns) == list(trials.columns)


@pytest.mark.parametrize(
    "unmeasured",
    [{"val_accuracy": None, "bits_per_weight": 1.0}, {"val_accuracy": 0.9, "bits_per_weight": None}],
    ids=["accuracy", "bits"],
)
def test_trial_without_a_metric_beats_nothing(unmeasured: dict[str, Any]) -> None:
    trials = trials_frame(unmeasured, {"val_accuracy": 0.5}, unmeasured)
    assert list(front(trials)["number"]) == [1]
    assert hypervolume(trials) == hypervolume(trials[1:2]) > 0
    assert front(trials[:1]).empty


@pytest.mark.parametrize("rows", [(), ({"state": TrialState.FAIL, "val_accuracy": None, "bits_per_weight": None},)])
def test_front_of_no_candidates_is_empty_with_all_columns(rows: tuple[dict[str, Any], ...]) -> None:
    trials = trials_frame(*rows)
    found = front(trials)
    assert found.empty
    assert list(found.columns) == list(trials.columns)
    assert hypervolume(trials) == 0.0
    assert knee(trials) is None


def test_hypervolume_matches_a_computation_by_hand() -> None:
    # From 2 bits on accuracy 0.5, from 4 bits on 0.75, up to 32 bits: 2·0.5 + 28·0.75 = 22 of 32.
    trials = complete([(0.5, 2.0), (0.75, 4.0), (0.7, 5.0)])
    assert hypervolume(trials) == pytest.approx(22 / 32)


def test_hypervolume_of_a_perfect_network_without_bits_is_1() -> None:
    assert hypervolume(complete([(1.0, 0.0)])) == pytest.approx(1.0)


def staircase_area(points: list[tuple[float, float]]) -> float:
    """Area dominated up to the reference: one rectangle between any two neighbouring bits."""
    lowest, most = REFERENCE
    edges = sorted({min(bits, most) for _, bits in points} | {most})
    area = 0.0
    for left, right in itertools.pairwise(edges):
        area += (right - left) * (max((a for a, b in points if b <= left), default=lowest) - lowest)
    return area / ((1 - lowest) * most)


@given(POINTS)
def test_hypervolume_matches_the_sum_of_rectangles(points: list[tuple[float, float]]) -> None:
    assert hypervolume(complete(points)) == pytest.approx(staircase_area(points), abs=1e-12)


@given(st.lists(st.tuples(COARSE_ACCURACIES, COARSE_BITS), min_size=1, max_size=10))
def test_hypervolume_matches_a_count_of_cells(points: list[tuple[float, float]]) -> None:
    """On coarse points the dominated area is a whole number of cells of a fifth by one bit."""
    accuracies, bits = np.meshgrid((np.arange(5) + 0.5) / 5, np.arange(32) + 0.5)
    dominated = np.zeros(accuracies.shape, bool)
    for accuracy, size in points:
        dominated |= (accuracies < accuracy) & (bits > size)
    assert hypervolume(complete(points)) == pytest.approx(dominated.mean(), abs=1e-12)


@given(POINTS, st.tuples(st.floats(0, 1), st.floats(0.01, 40)))
def test_hypervolume_never_shrinks_by_another_trial(points: list[tuple[float, float]], other: Any) -> None:
    assert hypervolume(complete([*points, other])) >= hypervolume(complete(points)) - 1e-12


@given(POINTS)
def test_hypervolume_is_that_of_the_front(points: list[tuple[float, float]]) -> None:
    trials = complete(points)
    assert hypervolume(front(trials)) == pytest.approx(hypervolume(trials), abs=1e-12)
    assert 0 <= hypervolume(trials) <= 1


def test_hypervolume_does_not_count_what_is_beyond_the_reference() -> None:
    assert hypervolume(complete([(0.9, 32.0), (0.9, 33.5)])) == 0.0


def knee_number(points: list[tuple[float, float]]) -> int:
    found = knee(complete(points))
    assert found is not None
    return int(found["number"])


def test_knee_matches_a_computation_by_hand() -> None:
    # Accuracies scaled: 0, 0.6, 0.8, 1; log2 of bits: 0, 1/4, 1/2, 1. The second is 0.35 above the line, the third 0.3.
    # With bits and no logarithms, the third would be farther: 0.8 − 3/15 against 0.6 − 1/15.
    assert knee_number([(0.90, 1.0), (0.96, 2.0), (0.98, 4.0), (1.0, 16.0)]) == 1


@settings(max_examples=200)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.5, 32)), min_size=1, max_size=12))
def test_knee_is_farthest_from_the_line_between_the_ends(points: list[tuple[float, float]]) -> None:
    """The distance of a point to a line is the cross product of two vectors over a length."""
    of = [(math.log2(bits), accuracy) for accuracy, bits in points_of(front(complete(points)))]
    (left, low), (right, high) = of[0], of[-1]
    assume(len(set(of)) == 1 or (right - left > 1e-6 and high - low > 1e-6))

    def distance(x: float, y: float) -> float:
        if len(set(of)) == 1:
            return 0.0
        u, v = (x - left) / (right - left), (y - low) / (high - low)
        # From (0, 0) to (1, 1); positive on the left of it, where accuracy is more and bits are fewer.
        return (v - u) / math.hypot(1, 1)

    accuracy, bits = points[knee_number(points)]
    assert distance(math.log2(bits), accuracy) == pytest.approx(max(distance(x, y) for x, y in of), abs=1e-9)


@pytest.mark.parametrize(
    ("points", "number"),
    [
        ([(0.5, 2.0)], 0),
        ([(0.5, 2.0), (0.5, 2.0)], 0),
        ([(0.9, 4.0), (0.5, 2.0)], 1),
        ([(0.0, 1.0), (0.5, 2.0), (1.0, 4.0)], 0),
        ([(0.0, 1.0), (0.25, 2.0), (1.0, 4.0)], 0),
        ([(0.0, 1.0), (0.75, 2.0), (0.75, 2.0), (1.0, 4.0)], 1),
    ],
    ids=["one trial", "one point twice", "two ends", "a line", "a hollow", "a tie"],
)
def test_knee_without_a_single_bulge_is_the_first_by_bits(points: list[tuple[float, float]], number: int) -> None:
    assert knee_number(points) == number


def test_knee_refuses_bits_without_a_logarithm() -> None:
    with pytest.raises(ValueError, match=r"bits_per_weight must be above 0 for a knee, got 0 for trial 1"):
        knee(complete([(0.5, 1.0), (0.4, 0.0)]))


def test_float_baseline_is_the_best_complete_trial_without_quantization() -> None:
    trials = trials_frame(
        {"num_levels": None, "val_accuracy": 0.90},
        {"num_levels": None, "val_accuracy": 0.95},
        {"num_levels": None, "val_accuracy": 0.99, "state": TrialState.PRUNED},
        {"num_levels": 64, "val_accuracy": 0.98},
    )
    assert float_baseline(trials) == 0.95
    assert float_baseline(trials.assign(val_accuracy=float("nan"))) is None


@pytest.mark.parametrize("rows", [(), ({"num_levels": 4},), ({"num_levels": None, "state": TrialState.FAIL},)])
def test_float_baseline_is_none_without_one(rows: tuple[dict[str, Any], ...]) -> None:
    assert float_baseline(trials_frame(*rows)) is None
