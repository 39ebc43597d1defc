"""Intervals of a ratio of two means, of independent samples and of pairs, for few seeds and for many."""

import math

import numpy as np

from analysis.statistics.intervals.bootstrap import FEW, RESAMPLES, percentile_bootstrap
from analysis.statistics.intervals.interval import (
    Interval,
    Rng,
    Values,
    check_confidence,
    finite_sample,
    nonnegative_sample,
    without_bounds,
)
from analysis.statistics.intervals.means import satterthwaite, students_t, variance_of_mean


def ratio_interval(
    numerator: Values, denominator: Values, *, confidence: float = 0.95, resamples: int = RESAMPLES, rng: Rng = 0
) -> Interval:
    """Return the interval of the ratio of the means of two independent samples.

    It is Fieller's if either sample has less than `FEW` values, else the percentile bootstrap.

    Args:
        numerator: (n,), finite, at least 0.
        denominator: (m,), finite, at least 0.
        confidence: nominal coverage, in (0, 1).
        resamples: number of resamples of the bootstrap.
        rng: generator of the bootstrap, or its seed.

    Returns:
        The interval; without bounds (NaN) if a sample has a single value. `high` is infinite if the mean of the
        denominator is not significantly above 0.

    Raises:
        ValueError: an argument is not as above.

    Source: Fieller, "Some problems in interval estimation" (JRSS B 16, 1954), with the degrees of freedom of Welch and
    Satterthwaite for samples of different variance.
    """
    above, below = nonnegative_sample("numerator", numerator), nonnegative_sample("denominator", denominator)
    if min(len(above), len(below)) >= FEW:
        return _bootstrap((above, below), paired=False, confidence=confidence, resamples=resamples, rng=rng)
    check_confidence(confidence)
    ratio = _ratio_of_means(above, below)
    if min(len(above), len(below)) < 2 or math.isnan(ratio):
        return without_bounds(ratio)
    if math.isinf(ratio):
        return Interval(estimate=ratio, low=ratio, high=ratio)
    variances = (variance_of_mean(above), variance_of_mean(below))
    degrees = satterthwaite((variances[0], ratio**2 * variances[1]), (len(above), len(below)))
    return _fieller(above.mean(), below.mean(), np.diag(variances), students_t(degrees, confidence))


def paired_ratio_interval(
    numerator: Values, denominator: Values, *, confidence: float = 0.95, resamples: int = RESAMPLES, rng: Rng = 0
) -> Interval:
    """Return the interval of the ratio of the means of two samples that are paired, for example by seed.

    It is Fieller's below `FEW` pairs, else the percentile bootstrap of the pairs.

    Args:
        numerator: (n,), finite, at least 0.
        denominator: (n,), finite, at least 0, in the same order.
        confidence: nominal coverage, in (0, 1).
        resamples: number of resamples of the bootstrap.
        rng: generator of the bootstrap, or its seed.

    Returns:
        The interval, as in `ratio_interval`.

    Raises:
        ValueError: an argument is not as above.

    Source: as in `ratio_interval`; Fieller's theorem includes the covariance, with n − 1 degrees of freedom.
    """
    check_confidence(confidence)
    above, below = finite_sample("numerator", numerator), finite_sample("denominator", denominator)
    if len(above) != len(below):
        raise ValueError(f"pairs must have a numerator and a denominator each, got {len(above)} and {len(below)}")
    above, below = nonnegative_sample("numerator", above), nonnegative_sample("denominator", below)
    if len(above) >= FEW:
        return _bootstrap((above, below), paired=True, confidence=confidence, resamples=resamples, rng=rng)
    ratio = _ratio_of_means(above, below)
    if len(above) < 2 or math.isnan(ratio):
        return without_bounds(ratio)
    if math.isinf(ratio):
        return Interval(estimate=ratio, low=ratio, high=ratio)
    covariances = np.cov(above, below) / len(above)
    return _fieller(above.mean(), below.mean(), covariances, students_t(len(above) - 1, confidence))


def _bootstrap(
    samples: tuple[np.ndarray, np.ndarray], *, paired: bool, confidence: float, resamples: int, rng: Rng
) -> Interval:
    """Return the percentile interval of the ratio of two means."""

    def ratio(above: np.ndarray, below: np.ndarray, axis: int) -> np.ndarray:
        return np.divide(above.mean(axis), below.mean(axis))

    return percentile_bootstrap(samples, ratio, paired=paired, confidence=confidence, resamples=resamples, rng=rng)


def _ratio_of_means(above: np.ndarray, below: np.ndarray) -> float:
    """Return the ratio of two means: infinite over 0, NaN for 0 over 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.divide(above.mean(), below.mean()))


def _fieller(a: float, b: float, covariances: np.ndarray, t: float) -> Interval:
    """Return all θ ≥ 0 with (a − θb)² ≤ t²(var a − 2θ cov + θ² var b), which is a quadratic in θ.

    Args:
        a: mean of the numerator.
        b: mean of the denominator, above 0.
        covariances: (2, 2), of the two means.
        t: Student's t for the confidence.
    """
    (va, cov), (_, vb) = t**2 * covariances
    ab, aa, bb = a * b - cov, a * a - va, b * b - vb
    root = math.sqrt(max(ab * ab - aa * bb, 0.0))
    if bb > 0:
        return Interval(estimate=float(a / b), low=max((ab - root) / bb, 0.0), high=float((ab + root) / bb))
    # The denominator may be 0, so θ has no upper bound. It has a lower bound if the numerator can't be 0.
    low = (ab - root) / bb if aa > 0 and bb < 0 else 0.0
    return Interval(estimate=float(a / b), low=max(float(low), 0.0), high=math.inf)
