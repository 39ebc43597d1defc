"""Bootstrap intervals against all possible resamples, and against the coverage that 95% promises."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from analysis.statistics.intervals.bootstrap import percentile_bootstrap
from analysis.statistics.intervals.improvement import improvement_interval, probability_of_improvement
from analysis.statistics.intervals.interval import Interval
from analysis.statistics.intervals.means import mean_interval
from analysis.statistics.intervals.ratios import paired_ratio_interval, ratio_interval

VALUES = st.lists(st.integers(0, 20).map(lambda twentieth: twentieth / 20), min_size=1, max_size=20)
"""So few distinct values that ties are common."""

OTHER = np.linspace(0.25, 0.75, 30)

INTERVALS: dict[str, Callable[..., Interval]] = {
    "mean": mean_interval,
    "ratio": lambda x, **rest: ratio_interval(x, OTHER, **rest),
    "pairs": lambda x, **rest: paired_ratio_interval(x, np.resize(OTHER, len(x)), **rest),
    "improvement": lambda x, **rest: improvement_interval(x, OTHER, **rest),
}
"""All resampled intervals, as functions of one sample of 20 or more values."""

every_interval = pytest.mark.parametrize("interval", INTERVALS.values(), ids=INTERVALS)


def mean_bootstrap(values: object, **options: object) -> Interval:
    return percentile_bootstrap((np.asarray(values, dtype=float),), np.mean, **options)  # type: ignore[arg-type]


def assert_exact(found: Interval, every: np.ndarray, confidence: float) -> None:
    """Bounds are the exact quantiles of equally likely statistics, give or take what 200,000 resamples leave open."""
    ordered, tail = np.sort(every), (1 - confidence) / 2
    for bound, share in ((found.low, tail), (found.high, 1 - tail)):
        least, most = (ordered[min(int((share + slack) * len(ordered)), len(ordered) - 1)] for slack in (-0.005, 0.005))
        assert least - 1e-9 <= bound <= most + 1e-9


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95])
def test_interval_of_a_mean_has_the_quantiles_of_all_equally_likely_resamples(confidence: float) -> None:
    values = np.array([0.1, 0.2, 0.5, 0.9])
    every = np.array([np.mean(drawn) for drawn in itertools.product(values, repeat=4)])
    assert_exact(mean_bootstrap(values, confidence=confidence, resamples=200_000), every, confidence)


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95])
def test_interval_of_two_samples_has_the_quantiles_of_all_equally_likely_resamples(confidence: float) -> None:
    def difference(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        return x.mean(axis) - y.mean(axis)

    first, second = np.array([0.2, 0.4, 0.9]), np.array([0.1, 0.4, 0.55])
    draws = list(itertools.product(range(3), repeat=3))
    independent = np.array([first[list(i)].mean() - second[list(j)].mean() for i in draws for j in draws])
    paired = np.array([first[list(i)].mean() - second[list(i)].mean() for i in draws])
    for together, every in ((False, independent), (True, paired)):
        found = percentile_bootstrap(
            (first, second), difference, paired=together, confidence=confidence, resamples=200_000
        )
        assert_exact(found, every, confidence)


def test_interval_in_batches_is_that_of_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random(10)
    whole = mean_bootstrap(values, resamples=20_001)
    monkeypatch.setattr("analysis.statistics.intervals.bootstrap._NUMBERS_AT_ONCE", 70)
    batches = mean_bootstrap(values, resamples=20_001)
    assert (batches.low, batches.high) == pytest.approx((whole.low, whole.high), abs=0.02)


@every_interval
def test_interval_repeats_with_its_seed_alone(interval: Callable[..., Interval]) -> None:
    values = np.random.default_rng(0).random(30)
    assert interval(values, rng=1) == interval(values, rng=1) == interval(values, rng=np.random.default_rng(1))
    assert len({interval(values, resamples=50, rng=seed) for seed in range(10)}) > 1
    state = np.random.get_state(legacy=False)["state"]["key"].copy()
    interval(values)
    assert (np.random.get_state(legacy=False)["state"]["key"] == state).all()


@every_interval
def test_interval_widens_with_confidence_and_narrows_with_values(interval: Callable[..., Interval]) -> None:
    values = np.random.default_rng(0).random(200)
    low, usual, wide = (interval(values, confidence=confidence) for confidence in (0.5, 0.95, 0.99))
    assert wide.low < usual.low < low.low < usual.estimate < low.high < usual.high < wide.high
    few = interval(values[:20])
    assert few.high - few.low > usual.high - usual.low


@settings(max_examples=40)
@given(VALUES)
def test_interval_lies_within_the_values(values: list[float]) -> None:
    found = mean_bootstrap(values, resamples=200)
    assert min(values) - 1e-12 <= found.estimate <= max(values) + 1e-12
    if len(values) > 1:
        assert min(values) - 1e-12 <= found.low <= found.high <= max(values) + 1e-12


def test_interval_moves_with_the_values() -> None:
    values = np.random.default_rng(0).random(25)
    usual, moved = mean_interval(values), mean_interval(3 * values - 1)
    for name in ("estimate", "low", "high"):
        assert getattr(moved, name) == pytest.approx(3 * getattr(usual, name) - 1)


def test_interval_of_the_mean_tends_to_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(size=2_000)
    found = mean_interval(values)
    half = 1.959964 * values.std() / math.sqrt(len(values))
    assert found.low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.05 * half)


def covered(interval: Callable[[np.random.Generator], Interval], truth: float, runs: int = 1_000) -> float:
    """Share of intervals that hold the truth, each of a new sample."""
    rng = np.random.default_rng(0)
    found = [interval(rng) for _ in range(runs)]
    return float(np.mean([one.low <= truth <= one.high for one in found]))


N = 40


@pytest.mark.parametrize(
    ("interval", "truth"),
    [
        (lambda rng: mean_interval(rng.normal(size=N), resamples=400, rng=rng), 0.0),
        (lambda rng: ratio_interval(rng.normal(6, 1, N), rng.uniform(1, 3, N), resamples=400, rng=rng), 3.0),
        # Normals one apart: P(x > y) = Φ(1/√2).
        (
            lambda rng: improvement_interval(rng.normal(1, 1, N), rng.normal(0, 1, N), resamples=400, rng=rng),
            (1 + math.erf(0.5)) / 2,
        ),
        # Dice against dice of one eye more: 21 + 5·½ of 36 pairs.
        (
            lambda rng: improvement_interval(rng.integers(2, 8, N), rng.integers(1, 7, N), resamples=400, rng=rng),
            (21 + 5 / 2) / 36,
        ),
    ],
    ids=["mean", "ratio", "improvement", "improvement with ties"],
)
def test_nominal_95_percent_intervals_cover_95_percent(
    interval: Callable[[np.random.Generator], Interval], truth: float
) -> None:
    assert covered(interval, truth) == pytest.approx(0.95, abs=0.03)


def test_intervals_of_three_values_are_too_narrow_as_the_docstring_says() -> None:
    found = covered(lambda rng: mean_bootstrap(rng.normal(size=3), resamples=400, rng=rng), 0.0)
    assert found == pytest.approx(0.75, abs=0.04)


@given(VALUES, VALUES)
def test_probability_of_improvement_matches_a_count_of_pairs_and_scipy(first: list[float], second: list[float]) -> None:
    pairs = [(x > y) + (x == y) / 2 for x in first for y in second]
    found = probability_of_improvement(first, second)
    assert found == pytest.approx(sum(pairs) / len(pairs))
    assert found == pytest.approx(mannwhitneyu(first, second).statistic / (len(first) * len(second)))
    assert found + probability_of_improvement(second, first) == pytest.approx(1)


def test_single_value_has_an_estimate_and_no_bounds() -> None:
    found = mean_bootstrap([0.5])
    assert found.estimate == 0.5
    assert np.isnan([found.low, found.high]).all()


def test_ratio_over_a_denominator_that_may_be_0_is_infinite() -> None:
    ones, mostly_zero = np.full(20, 0.5), np.array([*np.zeros(19), 0.5])
    for interval in (ratio_interval, paired_ratio_interval):
        found = interval(ones, mostly_zero)
        assert found.estimate == pytest.approx(20.0)
        assert 1 < found.low < found.high == math.inf
        none = interval(ones, np.zeros(20))
        assert none == Interval(estimate=math.inf, low=math.inf, high=math.inf)
        both = interval(mostly_zero, mostly_zero[::-1])
        assert both.estimate == pytest.approx(1.0)
        assert np.isnan([both.low, both.high]).all()


@every_interval
@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ([], "must be one-dimensional and not empty, got shape"),
        ([[0.5] * 20], "must be one-dimensional and not empty, got shape"),
        ([0.5] * 20 + [math.nan], "must be finite, got 1 of 21"),
        ([math.inf, math.nan] + [0.5] * 20, "must be finite, got 2 of 22"),
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
        interval(np.linspace(0.1, 0.9, 30), confidence=confidence)


@every_interval
def test_no_resamples_are_refused(interval: Callable[..., Interval]) -> None:
    with pytest.raises(ValueError, match=r"^resamples must be at least 1, got 0;"):
        interval(np.linspace(0.1, 0.9, 30), resamples=0)
