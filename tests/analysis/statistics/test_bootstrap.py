"""Bootstrap intervals against exact distributions, SciPy, and what 95% promises."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, trim_mean

from analysis.statistics.bootstrap import (
    STATISTICS,
    Interval,
    bootstrap,
    bootstrap_improvement_interval,
    bootstrap_interval,
    bootstrap_ratio_interval,
    interquartile_mean,
    probability_of_improvement,
)

VALUES = st.lists(st.integers(0, 20).map(lambda twentieth: twentieth / 20), min_size=1, max_size=20)
"""So few values that ties are common."""

INTERVALS: dict[str, Callable[..., Interval]] = {
    **{name: lambda x, name=name, **rest: bootstrap_interval(x, name, **rest) for name in STATISTICS},
    "stratified": lambda x, **rest: bootstrap_interval(x, groups=[i % 2 for i in range(len(x))], **rest),
    "ratio": lambda x, **rest: bootstrap_ratio_interval(x, [0.5, 0.25, 0.75], **rest),
    "improvement": lambda x, **rest: bootstrap_improvement_interval(x, [0.5, 0.25, 0.75], **rest),
}
"""All intervals, as functions of one sample."""

every_interval = pytest.mark.parametrize("interval", INTERVALS.values(), ids=INTERVALS)


@given(VALUES)
def test_statistics_match_scipy_and_numpy(values: list[float]) -> None:
    array = np.array(values)
    assert STATISTICS["iqm"](array) == pytest.approx(trim_mean(array, 0.25))
    assert STATISTICS["mean"](array) == pytest.approx(math.fsum(values) / len(values))
    assert STATISTICS["median"](array) == pytest.approx(np.quantile(array, 0.5))


def test_interquartile_mean_leaves_out_a_quarter_at_each_end_of_the_last_axis() -> None:
    values = np.array([[100.0, 2.0, 3.0, -100.0], [4.0, 4.0, 0.0, 9.0]])
    assert list(interquartile_mean(values)) == [2.5, 4.0]


@pytest.mark.parametrize("statistic", STATISTICS)
def test_bootstrap_has_the_distribution_of_all_equally_likely_resamples(statistic: str) -> None:
    """Four values have 4⁴ resamples: their statistics, all counted, against those drawn."""
    values = np.array([0.1, 0.2, 0.5, 0.9])
    every = np.array([STATISTICS[statistic](np.array(drawn)) for drawn in itertools.product(values, repeat=4)])
    drawn = bootstrap(values, statistic, resamples=100_000)
    points = np.unique(every.round(9)) + 1e-6
    exact = (every[:, None] <= points).mean(axis=0)
    # Five standard deviations of a share of 100,000.
    assert np.abs((drawn[:, None] <= points).mean(axis=0) - exact).max() < 5 * 0.5 / math.sqrt(100_000)


def test_bootstrap_resamples_each_group_by_itself() -> None:
    """Two groups of two, not side by side: every resample has two of each."""
    drawn = bootstrap([1.0, 100.0, 2.0, 200.0], groups=["a", "b", "a", "b"], resamples=50_000)
    exact = {(a + b) / 4: 0.0 for a in (2, 3, 4) for b in (200, 300, 400)}
    for a, a_share in ((2, 0.25), (3, 0.5), (4, 0.25)):
        for b, b_share in ((200, 0.25), (300, 0.5), (400, 0.25)):
            exact[(a + b) / 4] += a_share * b_share
    found, counts = np.unique(drawn, return_counts=True)
    assert list(found) == sorted(exact)
    for value, count in zip(found, counts, strict=True):
        assert count / 50_000 == pytest.approx(exact[value], abs=5 * math.sqrt(exact[value] / 50_000))


def test_bootstrap_in_pieces_is_as_long_as_asked_and_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.statistics.bootstrap._PIECE", 70)
    values = np.random.default_rng(0).random(10)
    drawn = bootstrap(values, resamples=20_001)
    assert drawn.shape == (20_001,)
    assert drawn.mean() == pytest.approx(values.mean(), abs=5 * values.std() / math.sqrt(10 * 20_001))
    assert drawn.std() == pytest.approx(values.std() / math.sqrt(10), rel=0.03)
    pieces = bootstrap_improvement_interval(values, values**2, resamples=20_001)
    monkeypatch.undo()
    whole = bootstrap_improvement_interval(values, values**2, resamples=20_001)
    assert (pieces.low, pieces.high) == pytest.approx((whole.low, whole.high), abs=0.02)


@every_interval
def test_interval_repeats_with_its_seed_alone(interval: Callable[..., Interval]) -> None:
    values = np.random.default_rng(0).random(9)
    assert interval(values, rng=1) == interval(values, rng=1) == interval(values, rng=np.random.default_rng(1))
    assert len({interval(values, resamples=50, rng=seed) for seed in range(10)}) > 1
    state = np.random.get_state()[1].copy()
    interval(values)
    assert (np.random.get_state()[1] == state).all()


@every_interval
def test_interval_widens_with_confidence_and_narrows_with_values(interval: Callable[..., Interval]) -> None:
    values = np.random.default_rng(0).random(40)
    low, usual, wide = (interval(values, confidence=confidence) for confidence in (0.5, 0.95, 0.99))
    assert wide.low < usual.low < low.low < usual.estimate < low.high < usual.high < wide.high
    few = interval(values[:6])
    assert few.high - few.low > usual.high - usual.low


@settings(max_examples=40)
@given(VALUES)
def test_interval_lies_within_the_values(values: list[float]) -> None:
    for statistic in STATISTICS:
        found = bootstrap_interval(values, statistic, resamples=200)
        assert min(values) - 1e-12 <= found.estimate <= max(values) + 1e-12
        if len(values) > 1:
            assert min(values) - 1e-12 <= found.low <= found.high <= max(values) + 1e-12


@pytest.mark.parametrize("statistic", STATISTICS)
def test_interval_moves_with_the_values(statistic: str) -> None:
    values = np.random.default_rng(0).random(15)
    usual, moved = bootstrap_interval(values, statistic), bootstrap_interval(3 * values - 1, statistic)
    for name in ("estimate", "low", "high"):
        assert getattr(moved, name) == pytest.approx(3 * getattr(usual, name) - 1)


def test_interval_of_the_mean_tends_to_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(size=2_000)
    found = bootstrap_interval(values)
    half = 1.959964 * values.std() / math.sqrt(len(values))
    assert found.low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.05 * half)


def test_groups_of_different_level_narrow_the_interval() -> None:
    rng = np.random.default_rng(0)
    groups = pd.Series(np.repeat(["a", "b", "c"], 10))
    values = rng.normal(0, 0.1, 30) + np.repeat([0.0, 1.0, 2.0], 10)
    alone, stratified = bootstrap_interval(values), bootstrap_interval(values, groups=groups)
    assert stratified.estimate == alone.estimate
    assert (stratified.high - stratified.low) < 0.2 * (alone.high - alone.low)


def covered(interval: Callable[[np.random.Generator], Interval], truth: float, runs: int = 1_000) -> float:
    """Share of intervals that hold the truth, each of a new sample."""
    rng = np.random.default_rng(0)
    found = [interval(rng) for _ in range(runs)]
    return float(np.mean([one.low <= truth <= one.high for one in found]))


N = 40


@pytest.mark.parametrize(
    ("interval", "truth"),
    [
        (lambda rng: bootstrap_interval(rng.normal(size=N), "mean", resamples=400, rng=rng), 0.0),
        (lambda rng: bootstrap_interval(rng.normal(size=N), "median", resamples=400, rng=rng), 0.0),
        (lambda rng: bootstrap_interval(rng.normal(size=N), "iqm", resamples=400, rng=rng), 0.0),
        (
            lambda rng: bootstrap_interval(
                rng.normal(np.repeat([0, 10], N)), groups=np.repeat(["a", "b"], N), resamples=400, rng=rng
            ),
            5.0,
        ),
        (lambda rng: bootstrap_ratio_interval(rng.normal(6, 1, N), rng.uniform(1, 3, N), resamples=400, rng=rng), 3.0),
        # Normals one apart: P(x > y) = Φ(1/√2).
        (
            lambda rng: bootstrap_improvement_interval(
                rng.normal(1, 1, N), rng.normal(0, 1, N), resamples=400, rng=rng
            ),
            (1 + math.erf(0.5)) / 2,
        ),
        # Dice against dice of one eye more: 21 + 5·½ of 36 pairs.
        (
            lambda rng: bootstrap_improvement_interval(
                rng.integers(2, 8, N), rng.integers(1, 7, N), resamples=400, rng=rng
            ),
            (21 + 5 / 2) / 36,
        ),
    ],
    ids=["mean", "median", "iqm", "stratified", "ratio", "improvement", "improvement with ties"],
)
def test_nominal_95_percent_intervals_cover_95_percent(
    interval: Callable[[np.random.Generator], Interval], truth: float
) -> None:
    assert covered(interval, truth) == pytest.approx(0.95, abs=0.03)


def test_intervals_of_three_values_are_too_narrow_as_the_docstring_says() -> None:
    found = covered(lambda rng: bootstrap_interval(rng.normal(size=3), resamples=400, rng=rng), 0.0)
    assert found == pytest.approx(0.75, abs=0.04)


@given(VALUES, VALUES)
def test_probability_of_improvement_matches_a_count_of_pairs_and_scipy(first: list[float], second: list[float]) -> None:
    pairs = [(x > y) + (x == y) / 2 for x in first for y in second]
    found = probability_of_improvement(first, second)
    assert found == pytest.approx(sum(pairs) / len(pairs))
    assert found == pytest.approx(mannwhitneyu(first, second).statistic / (len(first) * len(second)))
    assert found + probability_of_improvement(second, first) == pytest.approx(1)


def test_improvement_interval_has_the_distribution_of_all_equally_likely_resamples() -> None:
    first, second = [0.2, 0.4, 0.9], [0.1, 0.4, 0.5]
    every = np.sort(
        [
            probability_of_improvement(x, y)
            for x in itertools.product(first, repeat=3)
            for y in itertools.product(second, repeat=3)
        ]
    )
    for confidence in (0.5, 0.8, 0.95):
        found = bootstrap_improvement_interval(first, second, confidence=confidence, resamples=200_000)
        tail = (1 - confidence) / 2
        # The exact quantile, give or take what 200,000 resamples leave open.
        assert every[int((tail - 0.005) * len(every))] - 1e-9 <= found.low <= every[int((tail + 0.005) * len(every))]
        high = found.high - 1e-9
        assert every[int((1 - tail - 0.005) * len(every))] - 2e-9 <= high <= every[int((1 - tail + 0.005) * len(every))]


def test_separated_samples_have_an_interval_without_width() -> None:
    assert bootstrap_improvement_interval([0.9, 0.8], [0.1, 0.2]) == Interval(estimate=1.0, low=1.0, high=1.0)
    assert bootstrap_improvement_interval([0.5, 0.5], [0.5, 0.5]) == Interval(estimate=0.5, low=0.5, high=0.5)


@pytest.mark.parametrize(
    "found",
    [
        bootstrap_interval([0.5]),
        bootstrap_interval([0.25, 0.75], groups=["a", "b"]),
        bootstrap_ratio_interval([0.25], [0.5, 0.5]),
        bootstrap_ratio_interval([0.5, 0.75], [1.25]),
        bootstrap_improvement_interval([0.5], [0.25, 0.75]),
        bootstrap_improvement_interval([0.25, 0.75], [0.5]),
    ],
)
def test_single_value_has_an_estimate_and_no_bounds(found: Interval) -> None:
    assert found.estimate == 0.5
    assert np.isnan([found.low, found.high]).all()


def test_ratio_of_equal_values_is_exact() -> None:
    assert bootstrap_ratio_interval([0.75, 0.75], [0.25, 0.25, 0.25]) == Interval(estimate=3.0, low=3.0, high=3.0)


def test_ratio_over_a_denominator_that_may_be_0_is_infinite() -> None:
    found = bootstrap_ratio_interval([0.5, 0.5], [0.0, 0.5])
    assert found == Interval(estimate=2.0, low=1.0, high=math.inf)
    assert bootstrap_ratio_interval([0.5, 0.5], [0.0, 0.0]) == Interval(estimate=math.inf, low=math.inf, high=math.inf)
    both = bootstrap_ratio_interval([0.0, 0.5], [0.0, 0.5])
    assert both.estimate == 1.0
    assert np.isnan([both.low, both.high]).all()


@every_interval
@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ([], "must be one-dimensional and not empty, got shape"),
        ([[0.5, 0.5]], "must be one-dimensional and not empty, got shape"),
        ([0.5, math.nan], "must be finite, got 1 of 2"),
        ([math.inf, math.nan, 0.5], "must be finite, got 2 of 3"),
    ],
    ids=["none", "table", "NaN", "infinite"],
)
def test_values_that_have_no_interval_are_refused(
    interval: Callable[..., Interval], values: list[float], rule: str
) -> None:
    with pytest.raises(ValueError, match=rf"^\w+ {rule}[^\n]*$"):
        interval(values)


@every_interval
@pytest.mark.parametrize("confidence", [0, 1, 95, -0.5, math.nan])
def test_confidence_out_of_range_is_refused(interval: Callable[..., Interval], confidence: float) -> None:
    with pytest.raises(ValueError, match=rf"^confidence must be above 0 and below 1, got {confidence};"):
        interval([0.1, 0.2], confidence=confidence)


@every_interval
def test_no_resamples_are_refused(interval: Callable[..., Interval]) -> None:
    with pytest.raises(ValueError, match=r"^resamples must be at least 1, got 0;"):
        interval([0.1, 0.2], resamples=0)


def test_unknown_statistic_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match=r"^unknown statistic 'mode'; choose from \['mean', 'median', 'iqm'\]$"):
        bootstrap_interval([0.1, 0.2], "mode")


@pytest.mark.parametrize(
    ("groups", "rule"),
    [
        (["a"], "as many as the values, got 1 for 2"),
        (["a", None], "not be null, got 1"),
        ([math.nan, 1], "not be null"),
    ],
)
def test_groups_that_do_not_fit_are_refused(groups: list[object], rule: str) -> None:
    with pytest.raises(ValueError, match=f"^groups must .*{rule}"):
        bootstrap_interval([0.1, 0.2], groups=groups)


def test_negative_denominator_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^denominator must be at least 0, got -0\.5;"):
        bootstrap_ratio_interval([0.1, 0.2], [0.5, -0.5])
