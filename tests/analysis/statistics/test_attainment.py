"""Attainment surfaces against a surface by hand and the definition."""

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from analysis.statistics.attainment import attainment_difference, attainment_surfaces
from analysis.statistics.pareto import front
from tests.support.example_studies import trials_frame
from trainables.result import TrialState

POINTS = st.tuples(st.integers(0, 3), st.integers(0, 5).map(lambda fifth: fifth / 5), st.integers(1, 6).map(float))
"""Seed, accuracy, bits: so few values that ties are common."""


def runs(*points: tuple[int | None, float, float]) -> pd.DataFrame:
    return trials_frame(*({"seed": seed, "val_accuracy": a, "bits_per_weight": b} for seed, a, b in points))


def corners(surfaces: pd.DataFrame, quantile: float) -> list[tuple[float, float]]:
    rows = surfaces[surfaces["quantile"] == quantile]
    return list(zip(rows["bits_per_weight"], rows["val_accuracy"], strict=True))


def test_surfaces_match_a_drawing_by_hand() -> None:
    trials = runs((0, 0.5, 1.0), (0, 0.9, 4.0), (1, 0.6, 2.0), (1, 0.8, 3.0), (2, 0.7, 2.0), (2, 0.7, 5.0))
    found = attainment_surfaces(trials, [1 / 3, 0.5, 1.0])
    assert tuple(found.columns) == ("quantile", "bits_per_weight", "val_accuracy")
    # The best of the three, the second best, and the worst, from each number of bits on.
    assert corners(found, 1 / 3) == [(1.0, 0.5), (2.0, 0.7), (3.0, 0.8), (4.0, 0.9)]
    assert corners(found, 0.5) == [(2.0, 0.6), (3.0, 0.7), (4.0, 0.8)]
    assert corners(found, 1.0) == [(2.0, 0.5), (4.0, 0.7)]


@settings(max_examples=60)
@given(st.lists(POINTS, min_size=1, max_size=20), st.integers(1, 8))
def test_surface_is_what_enough_runs_attain(points: list[tuple[int, float, float]], eighths: int) -> None:
    surface = corners(attainment_surfaces(runs(*points), [eighths / 8]), eighths / 8)
    seeds = {seed for seed, _, _ in points}
    needed = math.ceil(Fraction(eighths, 8) * len(seeds))
    for bits in range(1, 7):
        reached = sorted(
            (max((a for s, a, b in points if s == seed and b <= bits), default=-1.0) for seed in seeds), reverse=True
        )
        assert max((a for b, a in surface if b <= bits), default=-1.0) == reached[needed - 1]
    assert surface == sorted(set(surface))
    assert [accuracy for _, accuracy in surface] == sorted({accuracy for _, accuracy in surface})


@settings(max_examples=30)
@given(st.lists(POINTS, min_size=1, max_size=12), st.sampled_from([0.01, 0.5, 1.0]))
def test_surface_of_one_run_is_its_front(points: list[tuple[int, float, float]], quantile: float) -> None:
    trials = runs(*((7, a, b) for _, a, b in points))
    best = front(trials).drop_duplicates(["bits_per_weight", "val_accuracy"])
    expected = list(zip(best["bits_per_weight"], best["val_accuracy"], strict=True))
    assert corners(attainment_surfaces(trials, [quantile]), quantile) == expected


@pytest.mark.parametrize("attaining", range(1, 101))
def test_quantile_of_a_hundred_runs_needs_as_many(attaining: int) -> None:
    """No eighth run is needed although 0.07 × 100 is above 7 in floating point."""
    trials = runs(*((seed, 0.9 if seed < attaining else 0.1, 2.0) for seed in range(100)))
    assert corners(attainment_surfaces(trials, [attaining / 100]), attaining / 100) == [(2.0, 0.9)]
    if attaining < 100:
        above = (attaining + 1) / 100
        assert corners(attainment_surfaces(trials, [above]), above) == [(2.0, 0.1)]


def test_run_without_a_complete_trial_attains_nothing() -> None:
    trials = trials_frame(
        {"seed": 0, "val_accuracy": 0.9},
        {"seed": 1, "state": TrialState.PRUNED},
        {"seed": 2, "state": TrialState.FAIL, "val_accuracy": None},
    )
    found = attainment_surfaces(trials, [0.3, 0.5, 1.0])
    assert list(found["quantile"]) == [0.3]
    assert list(found["val_accuracy"]) == [0.9]


def test_float_baseline_is_no_run() -> None:
    trials = trials_frame({"seed": 0}, {"seed": 1, "num_levels": None, "bits_per_weight": 32.0})
    assert corners(attainment_surfaces(trials, [1.0]), 1.0) == [(2.0, 0.5)]


def test_run_may_be_named_by_another_column() -> None:
    trials = runs((0, 0.9, 2.0), (0, 0.4, 2.0)).assign(study=["a", "b"])
    assert corners(attainment_surfaces(trials, [1.0], by="study"), 1.0) == [(2.0, 0.4)]
    assert corners(attainment_surfaces(trials, [1.0]), 1.0) == [(2.0, 0.9)]


@pytest.mark.parametrize(
    "rows", [(), ({"seed": 0, "state": TrialState.FAIL},), ({"seed": 0, "val_accuracy": float("nan")},)]
)
def test_surfaces_without_a_complete_trial_are_empty(rows: tuple[dict[str, object], ...]) -> None:
    found = attainment_surfaces(trials_frame(*rows))
    assert found.empty
    assert tuple(found.columns) == ("quantile", "bits_per_weight", "val_accuracy")


@pytest.mark.parametrize("quantile", [0, -0.1, 1.01, 50, math.nan])
def test_quantile_out_of_range_is_refused(quantile: float) -> None:
    with pytest.raises(ValueError, match=rf"^quantiles must be above 0 and at most 1, got {quantile};"):
        attainment_surfaces(runs((0, 0.5, 2.0)), [0.5, quantile])


def test_trials_without_a_run_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^every quantized trial needs a seed, got 1 nulls;"):
        attainment_surfaces(runs((0, 0.5, 2.0), (None, 0.5, 2.0)))
    with pytest.raises(ValueError, match=r"^by must be a column of the trials, got 'run';"):
        attainment_surfaces(runs((0, 0.5, 2.0)), by="run")


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(1, 6), st.integers(0, 5)), max_size=16))
@example([(0, 1, 1, 0), (1, 1, 1, 0)])
@example([(0, 1, 1, 0), (1, 1, 1, 0), (1, 1, 2, 0)])
def test_difference_of_attainment_is_that_of_counting(points: list[tuple[int, int, int, int]]) -> None:
    """At points between all coordinates, seeds are counted that have a trial no worse in both."""
    families = [
        trials_frame(
            *(
                {"seed": seed, "bits_per_weight": float(bits), "val_accuracy": accuracy / 5}
                for family, seed, bits, accuracy in points
                if family == wanted
            )
        )
        for wanted in (0, 1)
    ]
    regions = attainment_difference(*families)
    common = set(families[0]["seed"]) & set(families[1]["seed"])
    for bits in np.arange(0.5, 7, 1.0):
        for accuracy in np.arange(-0.1, 1.1, 0.2):
            shares = [
                sum(
                    ((rows["bits_per_weight"] <= bits) & (rows["val_accuracy"] >= accuracy)).any()
                    for seed, rows in family.groupby("seed")
                    if seed in common
                )
                / max(len(common), 1)
                for family in families
            ]
            inside = regions[
                regions["cost_low"].le(bits)
                & regions["cost_high"].gt(bits)
                & regions["accuracy_low"].lt(accuracy)
                & regions["accuracy_high"].ge(accuracy)
            ]
            assert inside["difference"].sum() == pytest.approx(shares[0] - shares[1])
            assert len(inside) <= 1
