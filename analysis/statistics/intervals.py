"""Intervals for seeds, many or few: the mean, a ratio of means, and the probability of improvement.

From `FEW` values on they are bootstrap intervals (`analysis.statistics.bootstrap`). Below, those are too narrow:
nominal 95% ones of a mean cover 75% at three seeds. So few values get closed forms that cover what they promise:
Student's t for a mean, Fieller's theorem for a ratio, and for a probability of improvement Newcombe's score interval,
or, where ranks are too few for it, Reiser and Guttman's. Bounds are NaN where there is nothing to tell the spread by.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy.special import nctdtrinc, ndtr, ndtri, stdtrit

from analysis.statistics.bootstrap import (
    RESAMPLES,
    Interval,
    Rng,
    Values,
    bootstrap_improvement_interval,
    bootstrap_interval,
    bootstrap_ratio_interval,
    check_confidence,
    finite_sample,
    percentile_interval,
    probability_of_improvement,
    without_bounds,
)

FARTHEST = 1e3
"""Standard errors between two means beyond which they count as so far apart: more take SciPy seconds and longer."""

FEW = 20
"""Values below which closed forms take the place of the bootstrap, which covers 94% there where it promises 95%."""


def mean_interval(values: Values, *, confidence: float = 0.95, resamples: int = RESAMPLES, rng: Rng = 0) -> Interval:
    """Interval of the mean: Student's t below `FEW` values, the percentile bootstrap from there on.

    Args:
        values: (n,), finite.
        confidence: nominal coverage, in (0, 1).
        resamples: of the bootstrap.
        rng: of the bootstrap: a generator, or the seed of one.

    Returns:
        The interval; without bounds (NaN) for a single value, and without width for equal ones.

    Raises:
        ValueError: an argument is not as above.
    """
    sample = finite_sample("values", values)
    if len(sample) >= FEW:
        return bootstrap_interval(sample, confidence=confidence, resamples=resamples, rng=rng)
    check_confidence(confidence)
    mean = float(sample.mean())
    if len(sample) < 2:
        return without_bounds(mean)
    half = _students_t(len(sample) - 1, confidence) * math.sqrt(_variance_of_mean(sample))
    return Interval(estimate=mean, low=mean - half, high=mean + half)


def accuracy_interval(accuracies: Values, *, confidence: float = 0.95) -> Interval:
    """`mean_interval` of accuracies, cut off where no mean of accuracies can be: below 0 and above 1."""
    interval = mean_interval(accuracies, confidence=confidence)
    low, high = np.clip([interval.low, interval.high], 0.0, 1.0).tolist()
    return Interval(estimate=interval.estimate, low=low, high=high)


def ratio_interval(
    numerator: Values, denominator: Values, *, confidence: float = 0.95, resamples: int = RESAMPLES, rng: Rng = 0
) -> Interval:
    """Interval of a ratio of two means of independent samples: Fieller's if either has less than `FEW` values.

    Args:
        numerator: (n,), finite, at least 0.
        denominator: (m,), finite, at least 0.
        confidence: nominal coverage, in (0, 1).
        resamples: of the bootstrap.
        rng: of the bootstrap: a generator, or the seed of one.

    Returns:
        The interval; without bounds (NaN) if one of the samples is a single value. `high` is infinite where the mean of
        the denominator can't be told from 0.

    Raises:
        ValueError: an argument is not as above.

    Source: Fieller, "Some problems in interval estimation" (JRSS B 16, 1954), with the degrees of freedom of Welch and
    Satterthwaite for samples that spread differently.
    """
    above, below = finite_sample("numerator", numerator), finite_sample("denominator", denominator)
    if min(len(above), len(below)) >= FEW:
        return bootstrap_ratio_interval(above, below, confidence=confidence, resamples=resamples, rng=rng)
    check_confidence(confidence)
    for name, sample in (("numerator", above), ("denominator", below)):
        if (sample < 0).any():
            raise ValueError(f"{name} must be at least 0, got {sample.min():g}; swap or shift the values")
    a, b = above.mean(), below.mean()
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = float(np.divide(a, b))
    if min(len(above), len(below)) < 2 or math.isnan(ratio):
        return without_bounds(ratio)
    if math.isinf(ratio):
        return Interval(estimate=ratio, low=ratio, high=ratio)
    variances = (_variance_of_mean(above), ratio**2 * _variance_of_mean(below))
    degrees = _satterthwaite(variances, (len(above), len(below)))
    covariances = np.diag([_variance_of_mean(above), _variance_of_mean(below)])
    return _fieller(a, b, covariances, _students_t(degrees, confidence))


def paired_ratio_interval(
    numerator: Values, denominator: Values, *, confidence: float = 0.95, resamples: int = RESAMPLES, rng: Rng = 0
) -> Interval:
    """Interval of a ratio of two means whose values belong together, as those of one seed do.

    Args:
        numerator: (n,), finite, at least 0.
        denominator: (n,), finite, at least 0, in the same order.
        confidence: nominal coverage, in (0, 1).
        resamples: of the bootstrap from `FEW` pairs on, which are then drawn together.
        rng: of the bootstrap: a generator, or the seed of one.

    Returns:
        As of `ratio_interval`.

    Raises:
        ValueError: an argument is not as above.

    Source: as of `ratio_interval`; a covariance is in Fieller's theorem, and degrees of freedom are n − 1.
    """
    check_confidence(confidence)
    above, below = finite_sample("numerator", numerator), finite_sample("denominator", denominator)
    if len(above) != len(below):
        raise ValueError(f"pairs must have a numerator and a denominator each, got {len(above)} and {len(below)}")
    for name, sample in (("numerator", above), ("denominator", below)):
        if (sample < 0).any():
            raise ValueError(f"{name} must be at least 0, got {sample.min():g}; swap or shift the values")
    a, b = above.mean(), below.mean()
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = float(np.divide(a, b))
        if len(above) < 2 or math.isnan(ratio):
            return without_bounds(ratio)
        if len(above) >= FEW:
            drawn = np.random.default_rng(rng).integers(len(above), size=(resamples, len(above)))
            return percentile_interval(ratio, np.divide(above[drawn].mean(1), below[drawn].mean(1)), confidence)
    if math.isinf(ratio):
        return Interval(estimate=ratio, low=ratio, high=ratio)
    covariances = np.cov(above, below) / len(above)
    return _fieller(a, b, covariances, _students_t(len(above) - 1, confidence))


def _fieller(a: float, b: float, covariances: np.ndarray, t: float) -> Interval:
    """All θ with (a − θb)² ≤ t²(var a − 2θ cov + θ² var b), a quadratic in θ; covariances (2, 2) are of the means."""
    (va, cov), (_, vb) = t**2 * covariances
    ab, aa, bb = a * b - cov, a * a - va, b * b - vb
    root = math.sqrt(max(ab * ab - aa * bb, 0.0))
    if bb > 0:
        return Interval(estimate=float(a / b), low=max((ab - root) / bb, 0.0), high=float((ab + root) / bb))
    # The denominator may be 0, and θ as large as it likes; it is bounded below if the numerator can't be 0.
    low = (ab - root) / bb if aa > 0 and bb < 0 else 0.0
    return Interval(estimate=float(a / b), low=max(float(low), 0.0), high=math.inf)


def improvement_interval(
    first: Values, second: Values, *, confidence: float = 0.95, resamples: int = RESAMPLES, rng: Rng = 0
) -> Interval:
    """Interval of `probability_of_improvement`: Newcombe's below `FEW` values, and without overlap.

    The bootstrap has no width where every value of one sample is above every value of the other; Newcombe's has.
    Two samples that equal families would so part more often than `1 - confidence`, as they do three against three in
    one case of ten, are too small for anything that looks at ranks alone. They are taken for normal, as Student's t
    takes a few values to be. Of samples of one size, that interval holds 1/2 just where Welch's test sees no
    difference at that level. Both samples count as independent, also where they share seeds.

    Args:
        first: (n,), finite.
        second: (m,), finite.
        confidence: nominal coverage, in (0, 1).
        resamples: of the bootstrap.
        rng: of the bootstrap: a generator, or the seed of one.

    Returns:
        The interval; without bounds (NaN) if one of the samples is a single value.

    Raises:
        ValueError: an argument is not as above.

    Source: method 5 of Newcombe, "Confidence intervals for an effect size measure based on the Mann–Whitney statistic,
    part 2" (Statistics in Medicine 25, 2006); Reiser and Guttman, "Statistical inference for Pr(Y < X): the normal
    case" (Technometrics 28, 1986).
    """
    x, y = finite_sample("first", first), finite_sample("second", second)
    probability = probability_of_improvement(x, y)
    if min(len(x), len(y)) >= FEW and 0 < probability < 1:
        return bootstrap_improvement_interval(x, y, confidence=confidence, resamples=resamples, rng=rng)
    check_confidence(confidence)
    if min(len(x), len(y)) < 2:
        return without_bounds(probability)
    ranks_tell = 2 / math.comb(len(x) + len(y), len(x)) <= 1 - confidence
    # Of equal values, rounding may leave a variance; of values next to 0, none.
    varies = max(np.ptp(x), np.ptp(y)) > 0 and _variance_of_mean(x) + _variance_of_mean(y) > 0
    bounds = _score_bounds if ranks_tell or not varies else _normal_bounds
    low, high = bounds(x, y, probability, confidence)
    return Interval(estimate=probability, low=low, high=high)


def _score_bounds(x: np.ndarray, y: np.ndarray, probability: float, confidence: float) -> tuple[float, float]:
    """Newcombe's bounds of a probability of improvement."""
    z = float(ndtri((1 + confidence) / 2))

    def deviation(theta: float) -> float:
        """Not negative where the probability found is at most z standard errors, as they are under θ, from θ."""
        pairs, mean_size = len(x) * len(y), (len(x) + len(y)) / 2
        spread = theta * (1 - theta) / pairs * (1 + (mean_size - 1) * ((1 - theta) / (2 - theta) + theta / (1 + theta)))
        return z * math.sqrt(max(spread, 0.0)) - abs(probability - theta)

    low = _edge(deviation, inside=probability, outside=0.0)
    high = _edge(deviation, inside=probability, outside=1.0)
    return low, high


def _normal_bounds(x: np.ndarray, y: np.ndarray, probability: float, confidence: float) -> tuple[float, float]:
    """Reiser and Guttman's bounds of a probability of improvement, which is Φ(δ) of two normals.

    δ is the difference of their means in standard deviations of a difference x − y. That difference in its standard
    errors, Welch's t, is noncentral t about √m · δ. What was found is always within the bounds.
    """
    variances, errors = (x.var(ddof=1), y.var(ddof=1)), (_variance_of_mean(x), _variance_of_mean(y))
    t = float(np.clip((x.mean() - y.mean()) / math.sqrt(sum(errors)), -FARTHEST, FARTHEST))
    degrees = _satterthwaite(variances, (len(x), len(y)))
    m = sum(variances) / sum(errors)
    low, high = (
        float(ndtr(nctdtrinc(degrees, share, t) / math.sqrt(m)))
        for share in ((1 + confidence) / 2, (1 - confidence) / 2)
    )
    return min(low, probability), max(high, probability)


def _students_t(degrees: float, confidence: float) -> float:
    """The t that so many degrees of freedom keep within ± with that probability."""
    return float(stdtrit(degrees, (1 + confidence) / 2))


def _variance_of_mean(sample: np.ndarray) -> float:
    return float(sample.var(ddof=1)) / len(sample)


def _satterthwaite(variances: tuple[float, float], sizes: tuple[int, int]) -> float:
    """Degrees of freedom of a sum of two variances of means; those of the smaller sample if nothing varies."""
    below = sum(variance**2 / (size - 1) for variance, size in zip(variances, sizes, strict=True))
    return sum(variances) ** 2 / below if below > 0 else min(sizes) - 1


def _edge(deviation: Callable[[float], float], *, inside: float, outside: float) -> float:
    """Where `deviation`, not negative at `inside`, turns negative on the way to `outside`; by bisection."""
    for _ in range(50):
        middle = (inside + outside) / 2
        if deviation(middle) >= 0:
            inside = middle
        else:
            outside = middle
    return inside
