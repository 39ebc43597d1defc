"""Intervals of means, for few seeds and for many."""

import math

import numpy as np
from scipy.special import stdtrit

from analysis.statistics.intervals.bootstrap import FEW, RESAMPLES, percentile_bootstrap
from analysis.statistics.intervals.interval import (
    Interval,
    Rng,
    Values,
    check_confidence,
    finite_sample,
    without_bounds,
)


def mean_interval(values: Values, *, confidence: float = 0.95, resamples: int = RESAMPLES, rng: Rng = 0) -> Interval:
    """Return the interval of the mean: Student's t below `FEW` values, the percentile bootstrap from there on.

    Args:
        values: (n,), finite.
        confidence: nominal coverage, in (0, 1).
        resamples: number of resamples of the bootstrap.
        rng: generator of the bootstrap, or its seed.

    Returns:
        The interval; without bounds (NaN) for a single value, and of width 0 for equal values.

    Raises:
        ValueError: an argument is not as above.
    """
    sample = finite_sample("values", values)
    if len(sample) >= FEW:
        return percentile_bootstrap((sample,), np.mean, confidence=confidence, resamples=resamples, rng=rng)
    check_confidence(confidence)
    mean = float(sample.mean())
    if len(sample) < 2:
        return without_bounds(mean)
    half = students_t(len(sample) - 1, confidence) * math.sqrt(variance_of_mean(sample))
    return Interval(estimate=mean, low=mean - half, high=mean + half)


def accuracy_interval(accuracies: Values, *, confidence: float = 0.95) -> Interval:
    """Return the `mean_interval` of accuracies, clipped to [0, 1].

    Args:
        accuracies: (n,), each in [0, 1].
        confidence: nominal coverage, in (0, 1).
    """
    interval = mean_interval(accuracies, confidence=confidence)
    low, high = np.clip([interval.low, interval.high], 0.0, 1.0).tolist()
    return Interval(estimate=interval.estimate, low=low, high=high)


def students_t(degrees: float, confidence: float) -> float:
    """Return the t for which Student's distribution with these degrees of freedom has P(|T| ≤ t) = confidence."""
    return float(stdtrit(degrees, (1 + confidence) / 2))


def variance_of_mean(sample: np.ndarray) -> float:
    """Return the estimated variance of a sample's mean; sample: (n,), n ≥ 2."""
    return float(sample.var(ddof=1)) / len(sample)


def satterthwaite(variances: tuple[float, float], sizes: tuple[int, int]) -> float:
    """Return the degrees of freedom of a sum of two variances; those of the smaller sample if both variances are 0.

    Args:
        variances: of the two samples, in proportion to those of their means.
        sizes: of the two samples, each at least 2.

    Source: Welch, "The significance of the difference between two means when the population variances are unequal"
    (Biometrika 29, 1938); Satterthwaite (Biometrics Bulletin 2, 1946).
    """
    below = sum(variance**2 / (size - 1) for variance, size in zip(variances, sizes, strict=True))
    return sum(variances) ** 2 / below if below > 0 else min(sizes) - 1
