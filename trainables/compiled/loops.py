"""Loops over the weights of a layer, compiled by Numba.

Each goes over the weights once, in blocks that stay in the cache, where operators of torch take some twenty passes. No
operations are fused or reordered: results depend on the processor through the exponential function of the system alone,
which few weights need.

Weights, representatives and slopes are float32, sums over weights float64. Representatives are in increasing order, at
least two. Interval j is that between representatives j and j + 1; the first and the last one reach to infinity.
"""

import math

import numpy as np

from trainables.compiled.compiler import compiled

BLOCK = 1024
"""Weights handled at once."""

BINS_A_LEVEL = 16
"""Bins per level. Neighbouring representatives nearly always lie in different ones."""

LANES = 4
"""Sums of each level, side by side, so that an addition need not wait for the one before it."""

NEGLIGIBLE_SUM = 14.0
"""Representatives are left out if their shares add up to less than exp(−14) = 8e-7 of the nearest one's."""

ONE = np.uint32(1)
"""Intervals are unsigned, so that the compiled code need not ask whether an index counts from the end."""

MOST_FELT = 8.0
"""Mean number of such representatives an interval (see `count_felt`), above which operators are faster."""

LEAST_EXPONENT = -87.0
"""The exponential of a lower one would not be a normal number in float32."""

LN_2 = np.float32(0.693359375), np.float32(math.log(2) - 0.693359375)
"""The logarithm of 2 in two parts, of which small multiples of the first are exact in float32."""

LEAST_TEMPERATURE = 1e-37
"""A lower τ is taken for this one, as its inverse is not finite in float32. Only spacings below 1e-17 lead to it."""


@compiled
def bins_of(weights, low, scale, num_bins, bins):
    """Write the bin of each weight, which never falls as the weight grows; for one that is NaN, the first.

    Args:
        weights: (n,).
        low: where the first bin begins, in units of the weights.
        scale: bins per unit of the weights.
        num_bins: number of bins. Weights beyond them count to the first or the last one.
        bins: (n,), uint32: written.
    """
    top = np.float32(num_bins - 1)
    for i in range(len(weights)):
        position = (weights[i] - low) * scale
        position = position if position > 0 else np.float32(0)
        position = position if position < top else top
        bins[i] = np.uint32(position)


@compiled
def lay_bins(values):
    """Lay bins of equal width between the outer representatives.

    Args:
        values: (K,), the representatives.

    Returns:
        The lowest interval of the weights in each bin, (bins,), uint32; `low` and `scale` of `bins_of`; and where each
        interval ends, (K − 1,), which is infinity for the last one.
    """
    num_levels = len(values)
    num_bins = BINS_A_LEVEL * num_levels
    low, width = values[0], values[-1] - values[0]
    scale = np.float32(num_bins) / width if width > 0 else np.float32(0)
    bins = np.empty(num_levels, np.uint32)
    bins_of(values, low, scale, num_bins, bins)
    lowest = np.zeros(num_bins, np.uint32)
    level = 1
    for bin_ in range(num_bins):
        # Weights of a bin are above all representatives in the bins before it.
        while level < num_levels - 1 and bins[level] < bin_:
            level += 1
        lowest[bin_] = level - 1
    ends = values[1:].copy()
    ends[-1] = np.inf
    return lowest, low, scale, ends


@compiled
def find_intervals(weights, values, lowest, low, scale, ends, intervals, lower, upper):
    """Write the interval of each weight, and its two ends; a weight on a representative may count to either side.

    Args:
        weights: (n,).
        values: (K,), the representatives.
        lowest: from `lay_bins`, as are `low`, `scale` and `ends`.
        low: see `lowest`.
        scale: see `lowest`.
        ends: see `lowest`.
        intervals: (n,), uint32: written.
        lower: (n,), the lower end of each weight's interval; written.
        upper: (n,), its upper end; written.
    """
    bins_of(weights, low, scale, len(lowest), intervals)
    for i in range(len(weights)):
        interval = lowest[intervals[i]]
        while weights[i] > ends[interval]:
            interval += ONE
        intervals[i] = interval
        lower[i] = values[interval]
        upper[i] = values[interval + ONE]


@compiled
def move(weights, slopes, nearest, distance):
    """Move each weight by `distance` times its slope, never past its nearest representative.

    Args:
        weights: (n,), changed in place.
        slopes: (n,).
        nearest: (n,), the representative nearest to each weight.
        distance: how far a weight at slope 1 moves, in units of the weights.
    """
    for i in range(len(weights)):
        offset = weights[i] - nearest[i]
        step = slopes[i] * distance
        reached = (step * offset > 0) & (abs(step) >= abs(offset))
        weights[i] = nearest[i] if reached else weights[i] - step


@compiled
def nearest_slopes(weights, intervals, lower, upper, squared, slopes, nearest, sums):
    """Write the slopes of |w − r|, or of (w − r)², with r the nearest representative, and add them up by level.

    Midway between two representatives the penalty has a kink; the slope there is 0.

    Args:
        weights: (n,).
        intervals: (n,), uint32: the interval of each weight; its level takes their place.
        lower: (n,), the lower end of each weight's interval.
        upper: (n,), its upper end.
        squared: whether the distance is squared.
        slopes: (n,), written.
        nearest: (n,), written.
        sums: (LANES, K), float64: added to.
    """
    for i in range(len(weights)):
        side = (weights[i] - lower[i]) + (weights[i] - upper[i])
        nearest[i] = upper[i] if side > 0 else lower[i]
        offset = weights[i] - nearest[i]
        slope = np.float32(2) * offset if squared else np.sign(offset)
        slopes[i] = np.float32(0) if side == 0 else slope
        intervals[i] += ONE if side > 0 else np.uint32(0)
    for i in range(len(weights)):
        sums[i % LANES, intervals[i]] += slopes[i]


@compiled
def exponentials(exponents, powers, results):
    """Write exp(x), to a relative 2e-7, for x in [`LEAST_EXPONENT`, 0].

    With n the integer nearest to x / ln 2, it is 2ⁿ times the exponential of the rest, by its Taylor series.

    Args:
        exponents: (n,).
        powers: (n,), int32: overwritten by the bits of 2ⁿ as a float32.
        results: (n,), written.
    """
    for i in range(len(exponents)):
        turns = np.int32(exponents[i] * np.float32(1 / math.log(2)) - np.float32(0.5))
        rest = exponents[i] - np.float32(turns) * LN_2[0] - np.float32(turns) * LN_2[1]
        powers[i] = (turns + 127) << 23
        series = np.float32(1 / 5040)
        series = series * rest + np.float32(1 / 720)
        series = series * rest + np.float32(1 / 120)
        series = series * rest + np.float32(1 / 24)
        series = series * rest + np.float32(1 / 6)
        series = series * rest + np.float32(1 / 2)
        series = series * rest + np.float32(1)
        results[i] = series * rest + np.float32(1)
    factors = powers.view(np.float32)
    for i in range(len(exponents)):
        results[i] *= factors[i]


@compiled
def soft_slopes(weights, intervals, lower, upper, values, tau, felt, powers, slopes, nearest, sums):
    """Write the slopes of RE's soft minimum and the nearest representatives; add the slopes up by representative.

    A weight w between two neighbours a and b, of which b is the farther one, has the slope 2(1 − p)(w − a) + 2p(w − b).
    Here p = e/(1 + e) with e = exp(−|2w − a − b| |b − a|/τ) is the share of b, if all others are negligible.

    Args:
        weights: (n,).
        intervals: (n,), uint32: the interval of each weight.
        lower: (n,), the lower end of each weight's interval; overwritten by the part of the slope that it causes.
        upper: (n,), its upper end, likewise.
        values: (K,), the representatives.
        tau: the temperature, in squared units of the weights.
        felt: (K − 1,), from `count_felt`.
        powers: (n,), int32: overwritten.
        slopes: (n,), written.
        nearest: (n,), written.
        sums: (LANES, K), float64: added to.
    """
    factor = np.float32(1 / max(tau, LEAST_TEMPERATURE))
    for i in range(len(weights)):
        above, below = weights[i] - lower[i], weights[i] - upper[i]
        nearest[i] = max(-abs((above + below) * (upper[i] - lower[i]) * factor), np.float32(LEAST_EXPONENT))
    exponentials(nearest[: len(weights)], powers, slopes)
    for i in range(len(weights)):
        above, below = weights[i] - lower[i], weights[i] - upper[i]
        is_upper = above + below > 0
        nearest[i] = upper[i] if is_upper else lower[i]
        of_nearest = np.float32(2) / (np.float32(1) + slopes[i])
        of_other = slopes[i] * of_nearest
        lower[i] = above * (of_other if is_upper else of_nearest)
        upper[i] = below * (of_nearest if is_upper else of_other)
        slopes[i] = lower[i] + upper[i]
    if felt.max() > 2:
        shares = np.empty(len(values))
        for i in range(len(weights)):
            if felt[intervals[i]] > 2:
                slopes[i] = soft_slope(weights[i], np.int64(intervals[i]), values, tau, shares, sums[i % LANES])
                lower[i], upper[i] = 0, 0
    for i in range(len(weights)):
        sums[i % LANES, intervals[i]] += lower[i]
        sums[i % LANES, intervals[i] + ONE] += upper[i]


@compiled
def count_felt(values, tau):
    """Return how many representatives have shares that are not negligible in each interval, (K − 1,), int64.

    With r ≤ w the lower end of an interval, a representative r_i below r has a share of at most exp(−(r − r_i)²/τ) of
    that of r, since (w − r_i)² − (w − r)² = (r − r_i)(2w − r_i − r) ≥ (r − r_i)². All K of them together are negligible
    where (r − r_i)² ≥ (`NEGLIGIBLE_SUM` + log K) τ. Above the interval likewise.
    """
    farthest = math.sqrt((NEGLIGIBLE_SUM + math.log(len(values))) * tau)
    felt = np.empty(len(values) - 1, np.int64)
    begin, end = 0, 2
    for interval in range(len(felt)):
        lower, upper = np.float64(values[interval]), np.float64(values[interval + 1])
        while begin < interval and lower - values[begin] >= farthest:
            begin += 1
        end = max(end, interval + 2)
        while end < len(values) and values[end] - upper < farthest:
            end += 1
        felt[interval] = end - begin
    return felt


@compiled
def soft_slope(weight, interval, values, tau, shares, sums):
    """Return the slope of RE's soft minimum at a weight, and add the parts that representatives cause to their sums.

    Args:
        weight: the weight.
        interval: the one it lies in.
        values: (K,), the representatives.
        tau: the temperature, in squared units of the weights.
        shares: (K,), float64: overwritten.
        sums: (K,), float64: added to.
    """
    w = np.float64(weight)
    least = min((w - values[interval]) ** 2, (w - values[interval + 1]) ** 2)
    farthest = least + (NEGLIGIBLE_SUM + math.log(len(values))) * tau
    begin, end = interval, interval + 2
    while begin > 0 and (w - values[begin - 1]) ** 2 < farthest:
        begin -= 1
    while end < len(values) and (w - values[end]) ** 2 < farthest:
        end += 1
    total = 0.0
    for level in range(begin, end):
        shares[level] = math.exp((least - (w - values[level]) ** 2) / tau)
        total += shares[level]
    slope = 0.0
    for level in range(begin, end):
        part = 2 * (w - values[level]) * shares[level] / total
        sums[level] += part
        slope += part
    return np.float32(slope)


@compiled
def draw(weights, values, tau, squared, factor, distance, pull):
    """Draw the weights of a layer by RM or RE, and return True; or do nothing, and return False.

    Nothing is done for RE where weights feel so many representatives that operators are faster.

    Args:
        weights: (n,), each moved by `distance` times the penalty's slope, never past its nearest representative.
        values: (K,), the representatives.
        tau: the temperature of RE, in squared units of the weights; 0 for RM.
        squared: whether the distance of RM is squared.
        factor: of the layer's penalty.
        distance: how far a weight at slope 1 moves.
        pull: (K,), float64: the gradient of the representatives; written.
    """
    felt = count_felt(values, tau)
    if tau > 0 and felt.mean() > MOST_FELT:
        return False
    lowest, low, scale, ends = lay_bins(values)
    size = min(BLOCK, len(weights))
    intervals, lowers, uppers = np.empty(size, np.uint32), np.empty(size, np.float32), np.empty(size, np.float32)
    slopes, nearest, powers = np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size, np.int32)
    sums = np.zeros((LANES, len(values)))
    for begin in range(0, len(weights), BLOCK):
        block = weights[begin : begin + BLOCK]
        inside, lower, upper = intervals[: len(block)], lowers[: len(block)], uppers[: len(block)]
        find_intervals(block, values, lowest, low, scale, ends, inside, lower, upper)
        if tau > 0:
            soft_slopes(block, inside, lower, upper, values, tau, felt, powers, slopes, nearest, sums)
        else:
            nearest_slopes(block, inside, lower, upper, squared, slopes, nearest, sums)
        move(block, slopes, nearest, np.float32(factor * distance))
    pull[:] = -factor * sums.sum(axis=0)
    return True


@compiled
def adam_step(values, mean, square, pull, rate, betas, epsilon, steps):
    """Take Adam's step with representatives, and put them back in increasing order, their moments with them.

    Source: Kingma and Ba, "Adam", arXiv 1412.6980, Algorithm 1.

    Args:
        values: (K,), the representatives; changed in place, as are the moments.
        mean: (K,), Adam's first moment.
        square: (K,), Adam's second moment.
        pull: (K,), float64: the gradient; what is not finite in it counts as 0.
        rate: the learning rate.
        betas: (β₁, β₂).
        epsilon: ε.
        steps: steps so far, with this one.
    """
    size = np.float32(rate / (1 - betas[0] ** steps))
    correction = np.float32(math.sqrt(1 - betas[1] ** steps))
    for level in range(len(values)):
        gradient = np.float32(pull[level])
        gradient = gradient if math.isfinite(gradient) else np.float32(0)
        mean[level] += (gradient - mean[level]) * np.float32(1 - betas[0])
        square[level] = square[level] * np.float32(betas[1]) + gradient * gradient * np.float32(1 - betas[1])
        values[level] -= size * mean[level] / (np.sqrt(square[level]) / correction + np.float32(epsilon))
    # Insertion sort, which keeps the order of equal ones: they are nearly always in order.
    for level in range(1, len(values)):
        value, first, second = values[level], mean[level], square[level]
        place = level
        while place > 0 and values[place - 1] > value:
            values[place], mean[place], square[place] = values[place - 1], mean[place - 1], square[place - 1]
            place -= 1
        values[place], mean[place], square[place] = value, first, second


def try_out() -> None:
    """Call all loops once, which compiles them, or loads them, or shows that neither is possible."""
    values, sums = np.linspace(-1, 1, 3, dtype=np.float32), np.zeros(3)
    weights, moments = np.zeros(4, np.float32), np.zeros((2, 3), np.float32)
    for tau in (0.0, 0.01):
        draw(weights, values, tau, False, 1.0, 0.0, sums)
    adam_step(values, *moments, sums, 0.0, (0.9, 0.999), 1e-8, 1.0)
