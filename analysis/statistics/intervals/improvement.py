"""The probability of improvement and its interval, for few seeds and for many."""

import math

import numpy as np
import scipy
from scipy.special import nctdtrinc, ndtr, ndtri

from analysis.statistics.intervals.bootstrap import FEW, RESAMPLES, percentile_bootstrap
from analysis.statistics.intervals.interval import (
    Interval,
    Rng,
    Values,
    check_confidence,
    finite_sample,
    without_bounds,
)
from analysis.statistics.intervals.means import satterthwaite, variance_of_mean

FARTHEST = 1e3
"""Greatest distance of two means in standard errors; SciPy's noncentral t takes seconds and more beyond it."""

_NEXT_TO_CERTAIN = 1e-12


def probability_of_improvement(first: Values, second: Values) -> float:
    """Return P(x > y) + P(x = y)/2 for x drawn from `first` and y from `second`.

    It is 1 if every x is above every y, and 0.5 if the samples do not differ.

    Args:
        first: (n,), finite.
        second: (m,), finite.

    Raises:
        ValueError: an argument is not as above.

    Source: the U of Mann and Whitney (1947) over n·m; as a measure of algorithms, Agarwal et al. (2021), Sec. 4.3.
    """
    return float(_share_of_pairs(finite_sample("first", first), finite_sample("second", second)))


def _share_of_pairs(first: np.ndarray, second: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the share of pairs that `first` wins, a tie counting half, along the last axis."""
    count = first.shape[axis]
    ranks = scipy.stats.rankdata(np.concatenate([first, second], axis=axis), axis=axis)
    u = ranks[..., :count].sum(axis) - count * (count + 1) / 2
    return u / count / second.shape[axis]


def improvement_interval(
    first: Values, second: Values, *, confidence: float = 0.95, resamples: int = RESAMPLES, rng: Rng = 0
) -> Interval:
    """Return the interval of `probability_of_improvement`.

    It is Newcombe's below `FEW` values, and for samples that do not overlap: the bootstrap has no width if every value
    of one sample is above every value of the other.

    Ranks alone can't decide for the smallest samples: if equal families separate completely with a probability above
    1 − confidence, as three values against three do in one of ten cases. Such samples are taken as normal, as
    Student's t does. For samples of equal size, the interval then contains 1/2 exactly if Welch's test sees no
    difference at that level. The samples count as independent, even if they share seeds.

    Args:
        first: (n,), finite.
        second: (m,), finite.
        confidence: nominal coverage, in (0, 1).
        resamples: number of resamples of the bootstrap.
        rng: generator of the bootstrap, or its seed.

    Returns:
        The interval; without bounds (NaN) if a sample has a single value.

    Raises:
        ValueError: an argument is not as above.

    Source: method 5 of Newcombe, "Confidence intervals for an effect size measure based on the Mann–Whitney statistic,
    part 2" (Statistics in Medicine 25, 2006); Reiser and Guttman, "Statistical inference for Pr(Y < X): the normal
    case" (Technometrics 28, 1986).
    """
    x, y = finite_sample("first", first), finite_sample("second", second)
    probability = probability_of_improvement(x, y)
    if min(len(x), len(y)) >= FEW and 0 < probability < 1:
        return percentile_bootstrap((x, y), _share_of_pairs, confidence=confidence, resamples=resamples, rng=rng)
    check_confidence(confidence)
    if min(len(x), len(y)) < 2:
        return without_bounds(probability)
    ranks_decide = 2 / math.comb(len(x) + len(y), len(x)) <= 1 - confidence
    # Rounding may give equal values a variance, and underflow may take that of values next to 0.
    varies = max(np.ptp(x), np.ptp(y)) > 0 and variance_of_mean(x) + variance_of_mean(y) > 0
    if ranks_decide or not varies:
        low, high = _newcombe(len(x), len(y), probability, confidence)
    else:
        low, high = _reiser_guttman(x, y, probability, confidence)
    return Interval(estimate=probability, low=low, high=high)


def _newcombe(n: int, m: int, probability: float, confidence: float) -> tuple[float, float]:
    """Return Newcombe's bounds of a probability of improvement.

    Args:
        n: size of the first sample.
        m: size of the second sample.
        probability: the estimate.
        confidence: nominal coverage, in (0, 1).
    """
    z = float(ndtri((1 + confidence) / 2))
    mean_size = (n + m) / 2

    def margin(theta: float) -> float:
        """Return z standard errors under θ less the distance from θ to the estimate."""
        spread = theta * (1 - theta) / (n * m)
        spread *= 1 + (mean_size - 1) * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return z * math.sqrt(max(spread, 0.0)) - abs(probability - theta)

    # At 0 and 1 the margin is 0 too, which would hide the bound on the other side.
    inside = min(max(probability, _NEXT_TO_CERTAIN), 1 - _NEXT_TO_CERTAIN)
    low, high = (float(scipy.optimize.brentq(margin, outside, inside, xtol=1e-15)) for outside in (0.0, 1.0))
    return low, high


def _reiser_guttman(x: np.ndarray, y: np.ndarray, probability: float, confidence: float) -> tuple[float, float]:
    """Return Reiser and Guttman's bounds of a probability of improvement, which is Φ(δ) for two normals.

    δ is the difference of the means in standard deviations of a difference x − y. The difference in its standard
    errors, Welch's t, is noncentral t about √m · δ. The estimate is always within the bounds.
    """
    variances, errors = (x.var(ddof=1), y.var(ddof=1)), (variance_of_mean(x), variance_of_mean(y))
    t = float(np.clip((x.mean() - y.mean()) / math.sqrt(sum(errors)), -FARTHEST, FARTHEST))
    degrees = satterthwaite(variances, (len(x), len(y)))
    m = sum(variances) / sum(errors)
    low, high = (
        float(ndtr(nctdtrinc(degrees, share, t) / math.sqrt(m)))
        for share in ((1 + confidence) / 2, (1 - confidence) / 2)
    )
    return min(low, probability), max(high, probability)
