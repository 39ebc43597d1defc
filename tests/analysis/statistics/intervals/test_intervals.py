"""Intervals for few seeds and many: that they cover what they promise, against SciPy and hand-made cases."""

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.statistics.intervals.bootstrap import FEW, percentile_bootstrap
from analysis.statistics.intervals.improvement import improvement_interval
from analysis.statistics.intervals.interval import Interval
from analysis.statistics.intervals.means import accuracy_interval, mean_interval
from analysis.statistics.intervals.ratios import paired_ratio_interval, ratio_interval

TWO_SAMPLES = {"ratio": ratio_interval, "paired": paired_ratio_interval, "improvement": improvement_interval}
every_interval_of_two = pytest.mark.parametrize("interval", TWO_SAMPLES.values(), ids=TWO_SAMPLES)


def normal(rng: np.random.Generator, mean: float, spread: float, count: int) -> np.ndarray:
    return rng.normal(mean, spread, count)


def covered(interval: Callable[[np.random.Generator], Interval], truth: float, runs: int = 2_000) -> float:
    """Share of intervals that hold the truth, each of a new sample."""
    rng = np.random.default_rng(0)
    found = [interval(rng) for _ in range(runs)]
    return float(np.mean([one.low <= truth <= one.high for one in found]))


@pytest.mark.parametrize("count", [3, 5, 10, FEW - 1])
@pytest.mark.parametrize(
    ("interval", "truth"),
    [
        (lambda rng, n: mean_interval(normal(rng, 0.9, 0.02, n)), 0.9),
        (lambda rng, n: ratio_interval(normal(rng, 0.9, 0.01, n), normal(rng, 0.3, 0.05, n)), 3.0),
        (lambda rng, n: ratio_interval(normal(rng, 0.9, 0.05, n), normal(rng, 0.9, 0.01, n)), 1.0),
        # Normals two apart: P(x > y) = Φ(2/√2).
        (lambda rng, n: improvement_interval(normal(rng, 2, 1, n), normal(rng, 0, 1, n)), stats.norm.cdf(2**0.5)),
    ],
    ids=["mean", "ratio over a spread", "ratio of a spread", "improvement"],
)
def test_nominal_95_percent_intervals_of_few_seeds_cover_95_percent(
    interval: Callable[[np.random.Generator, int], Interval], truth: float, count: int
) -> None:
    assert covered(lambda rng: interval(rng, count), truth) == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize("count", [3, 5, 10, FEW + 10])
@pytest.mark.parametrize("correlation", [-0.5, 0.0, 0.5, 0.9])
def test_interval_of_a_ratio_of_pairs_covers_95_percent_however_they_are_correlated(
    count: int, correlation: float
) -> None:
    def interval(rng: np.random.Generator) -> Interval:
        covariance = 0.05**2 * np.array([[1, correlation], [correlation, 1]])
        above, below = rng.multivariate_normal([0.8, 0.5], covariance, count).T
        return paired_ratio_interval(above, below, resamples=400, rng=rng)

    assert covered(interval, 1.6) == pytest.approx(0.95, abs=0.03)


def test_interval_of_a_ratio_of_pairs_needs_pairs() -> None:
    with pytest.raises(ValueError, match="got 2 and 3"):
        paired_ratio_interval([0.1, 0.2], [0.1, 0.2, 0.3])
    exact = paired_ratio_interval([0.5, 0.52, 0.51], [0.25, 0.26, 0.255])
    assert (exact.low, exact.high) == (pytest.approx(2.0), pytest.approx(2.0))
    assert np.isnan(paired_ratio_interval([0.5], [0.25]).low)


@pytest.mark.parametrize("count", [2, 3, 5, 10])
@pytest.mark.parametrize("spread", [1, 3])
@pytest.mark.parametrize("difference", [0, 1, 2])
def test_improvement_interval_covers_95_percent_however_large_the_difference(
    count: int, spread: float, difference: float
) -> None:
    truth = stats.norm.cdf(difference / math.hypot(1, spread))
    found = covered(
        lambda rng: improvement_interval(normal(rng, difference, 1, count), normal(rng, 0, spread, count)), truth
    )
    assert found == pytest.approx(0.95, abs=0.03)


SO_FEW = st.lists(st.floats(0, 1), min_size=2, max_size=3, unique=True)


@given(SO_FEW, SO_FEW)
def test_improvement_interval_of_samples_too_small_for_ranks_holds_a_half_where_welchs_test_sees_nothing(
    first: list[float], second: list[float]
) -> None:
    with warnings.catch_warnings():  # of the loss of digits between values that hardly differ
        warnings.simplefilter("ignore")
        p = stats.ttest_ind(first, second, equal_var=False).pvalue
    assume(len(first) == len(second) and abs(p - 0.05) > 1e-6)
    found = improvement_interval(first, second)
    assert (found.low <= 0.5 <= found.high) == (p > 0.05)
    assert 0 <= found.low <= found.estimate <= found.high <= 1


def test_improvement_interval_of_few_normal_values_turns_where_the_noncentral_t_does() -> None:
    """At an end, Welch's t is the 2.5% or 97.5% quantile of the noncentral t that belongs to it."""
    first, second = [0.9, 0.8, 0.7], [0.72, 0.78, 0.6]
    found = improvement_interval(first, second)
    assert found.low < found.estimate < found.high
    welch = stats.ttest_ind(first, second, equal_var=False)
    for end, share in ((found.low, 0.975), (found.high, 0.025)):
        expected = stats.nct.ppf(share, welch.df, math.sqrt(3) * stats.norm.ppf(end))
        assert welch.statistic == pytest.approx(expected, rel=1e-6)


def test_improvement_interval_of_values_that_hardly_vary_is_found_at_once() -> None:
    found = improvement_interval([0.9, 0.9, 0.9 + 1e-12], [0.1, 0.1, 0.1])
    assert (found.low, found.high) == (pytest.approx(1.0), 1.0)
    equal = improvement_interval([0.9, 0.9, 0.9], [0.1, 0.1, 0.1])
    assert 0.4 < equal.low < equal.high == 1.0, "equal values tell no spread"


def test_nominal_95_percent_intervals_cover_95_percent_from_where_the_bootstrap_takes_over() -> None:
    found = covered(lambda rng: mean_interval(normal(rng, 0, 1, FEW), resamples=400, rng=rng), 0.0)
    assert found == pytest.approx(0.95, abs=0.03)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=FEW - 1), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_mean_interval_of_few_values_is_students(values: list[float], confidence: float) -> None:
    found = mean_interval(values, confidence=confidence)
    error = float(stats.sem(values))
    low, high = (
        stats.t.interval(confidence, len(values) - 1, np.mean(values), error) if error else [np.mean(values)] * 2
    )
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))


@settings(max_examples=50)
@given(
    st.lists(st.floats(0.1, 1), min_size=2, max_size=6, unique=True),
    st.lists(st.floats(0.1, 1), min_size=2, max_size=6, unique=True),
)
def test_ends_of_a_ratio_interval_are_where_the_test_turns(above: list[float], below: list[float]) -> None:
    """At an end θ, mean(above) − θ·mean(below) is t standard errors from 0."""
    found = ratio_interval(above, below)
    variances = [np.var(above, ddof=1) / len(above), np.var(below, ddof=1) / len(below)]
    scaled = [variances[0], found.estimate**2 * variances[1]]
    degrees = sum(scaled) ** 2 / (scaled[0] ** 2 / (len(above) - 1) + scaled[1] ** 2 / (len(below) - 1))
    for end in (found.low, found.high):
        if 0 < end < math.inf:
            error = math.sqrt(variances[0] + end**2 * variances[1])
            assert abs(np.mean(above) - end * np.mean(below)) == pytest.approx(
                stats.t.ppf(0.975, degrees) * error, rel=1e-5, abs=1e-9
            )
    assert found.low <= found.estimate <= found.high


def test_improvement_interval_of_separated_samples_has_a_width() -> None:
    found = improvement_interval([0.9, 0.8, 0.85, 0.82], [0.1, 0.2, 0.15, 0.12])
    assert found.estimate == found.high == 1.0
    assert 0.5 < found.low < 0.7
    many = improvement_interval(np.linspace(0.8, 0.9, 50), np.linspace(0.1, 0.2, 50))
    assert 0.9 < many.low < many.high == 1.0


def test_improvement_interval_is_the_mirror_image_of_the_other_way_round() -> None:
    first, second = [0.2, 0.4, 0.9, 0.3], [0.1, 0.4, 0.5]
    there, back = improvement_interval(first, second), improvement_interval(second, first)
    assert (there.low, there.high) == (pytest.approx(1 - back.high), pytest.approx(1 - back.low))


def test_many_values_are_resampled() -> None:
    """At `FEW` values the closed forms end: the intervals depend on the generator's seed."""
    rng = np.random.default_rng(0)
    first, second = rng.random(FEW), rng.random(FEW)
    assert mean_interval(first) == percentile_bootstrap((first,), np.mean)
    for interval in TWO_SAMPLES.values():
        many = {interval(first, second, resamples=50, rng=seed) for seed in range(10)}
        few = {interval(first[1:], second[1:], resamples=50, rng=seed) for seed in range(10)}
        assert len(few) == 1 < len(many)


def test_equal_values_have_an_interval_without_width() -> None:
    assert mean_interval([0.5, 0.5, 0.5]) == Interval(estimate=0.5, low=0.5, high=0.5)
    assert ratio_interval([0.75, 0.75], [0.25, 0.25, 0.25]) == Interval(estimate=3.0, low=3.0, high=3.0)


@pytest.mark.parametrize(
    "found",
    [
        mean_interval([0.5]),
        ratio_interval([0.25], [0.5, 0.5]),
        ratio_interval([0.5, 0.75], [1.25]),
        improvement_interval([0.5], [0.25, 0.75]),
    ],
)
def test_single_value_has_an_estimate_and_no_bounds(found: Interval) -> None:
    assert found.estimate == 0.5
    assert np.isnan([found.low, found.high]).all()


def test_ratio_over_what_may_be_0_has_no_upper_bound() -> None:
    found = ratio_interval([0.5, 0.6, 0.55], [0.0, 0.0, 0.3])
    assert found.low > 0
    assert found.high == math.inf
    assert ratio_interval([0.0, 0.5, 0.1], [0.0, 0.0, 0.3]).low == 0.0
    assert ratio_interval([0.5, 0.5], [0.0, 0.0]) == Interval(estimate=math.inf, low=math.inf, high=math.inf)
    assert np.isnan(ratio_interval([0.0, 0.0], [0.0, 0.0]).low)


@every_interval_of_two
@pytest.mark.parametrize("values", [[], [[0.5]], [0.5, math.nan]], ids=["none", "table", "NaN"])
def test_values_that_have_no_interval_are_refused(interval: Callable[..., Interval], values: list[float]) -> None:
    for pair in ((values, [0.5]), ([0.5], values)):
        with pytest.raises(ValueError, match=r"^\w+ must be [^\n]*$"):
            interval(*pair)
    with pytest.raises(ValueError, match=r"^values must be [^\n]*$"):
        mean_interval(values)


@every_interval_of_two
def test_confidence_out_of_range_is_refused(interval: Callable[..., Interval]) -> None:
    for call in (lambda: interval([0.1, 0.2], [0.1, 0.2], confidence=95), lambda: mean_interval([0.1], confidence=95)):
        with pytest.raises(ValueError, match=r"^confidence must be above 0 and below 1, got 95;"):
            call()


def test_negative_accuracies_have_no_ratio() -> None:
    for pair in (([0.1, -0.2], [0.5, 0.5]), ([0.5, 0.5], [0.1, -0.2])):
        with pytest.raises(ValueError, match=r"must be at least 0, got -0\.2;"):
            ratio_interval(*pair)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=FEW + 2))
def test_accuracy_interval_is_that_of_the_mean_where_accuracies_can_be(accuracies: list[float]) -> None:
    found, whole = accuracy_interval(accuracies), mean_interval(accuracies)
    assert found.estimate == whole.estimate
    assert (found.low, found.high) == (max(whole.low, 0.0), min(whole.high, 1.0))


def test_accuracy_interval_of_a_single_value_has_no_bounds() -> None:
    assert np.isnan([accuracy_interval([0.5]).low, accuracy_interval([0.5]).high]).all()
