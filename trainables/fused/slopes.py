"""Formulas of the penalties for weights in a chunk of one layer, and of Adam, which the kernels share.

The closed forms are those of `trainables.regularizers`, which the same oracle tests; at a kink of a penalty its slope
is 0.
"""

import triton
import triton.language as tl

from trainables.fused.layout import HIGH, LOW, ORIGIN, REACH, SPACED, SPACING
from trainables.regularizers.lookup.slope_table import NEGLIGIBLE

_REACH, _SPACED = tl.constexpr(REACH), tl.constexpr(SPACED)
_LOW, _HIGH = tl.constexpr(LOW), tl.constexpr(HIGH)
_ORIGIN, _SPACING = tl.constexpr(ORIGIN), tl.constexpr(SPACING)
LOG2_E = tl.constexpr(1.4426950408889634)
"""Binary logarithm of e: powers of two of a product are cheaper than exponentials of a quotient."""

_NEGLIGIBLE_HALVINGS = tl.constexpr(NEGLIGIBLE * LOG2_E.value)
_ROUNDING = tl.constexpr(4e-7)
_PI = tl.constexpr(3.141592653589793)
_BETA_1, _BETA_2, _EPSILON = tl.constexpr(0.9), tl.constexpr(0.999), tl.constexpr(1e-20)


@triton.jit
def sign_of(number):
    """Return 1, 0 or −1 for the sign of each number; 0 for NaN."""
    return tl.where(number > 0, 1.0, tl.where(number < 0, -1.0, 0.0))


@triton.jit
def nearest_level(weight, values, first, count, DIGITS: tl.constexpr):
    """Return each weight's level, its representative and whether it lies midway to the next one; ties go down.

    Args:
        weight: (n,), float32.
        values: (levels,), float32: representatives of all layers, in increasing order in each.
        first: first level of the layer.
        count: its number of levels, at most 2^DIGITS.
        DIGITS: binary digits of a level.
    """
    # Each digit, from the highest: a boundary between levels that is below the weight is below its level too.
    level = tl.zeros(weight.shape, tl.int32)
    for digit in tl.static_range(DIGITS):
        higher = level + (1 << (DIGITS - 1 - digit))
        place = values + first + tl.minimum(higher, count - 1)
        before = tl.load(place - (count > 1).to(tl.int32))
        level = tl.where(weight > (tl.load(place) + before) * 0.5, higher, level)
    level = tl.minimum(level, count - 1)
    nearest = tl.load(values + first + level)
    following = tl.load(values + first + tl.minimum(level + 1, count - 1))
    return level, nearest, (weight == (following + nearest) * 0.5) & (level < count - 1)


@triton.jit
def level_cost(weights, size, count, cost_of_bit):
    """Return RH's cost of a level, float64.

    Source: Krichevsky and Trofimov, "The performance of universal encoding", 1981 (smoothed shares).

    Args:
        weights: number of weights of the level.
        size: number of weights of the layer.
        count: number of levels of the layer.
        cost_of_bit: float64.
    """
    return cost_of_bit * tl.log2((size.to(tl.float64) + count * 0.5) / (weights.to(tl.float64) + 0.5))


@triton.jit
def meeting_place(lower, upper, rise, SQUARED: tl.constexpr):
    """Return where the cells of two representatives meet, float64; ∞ or −∞ if the lower or the upper one has all.

    See `trainables.regularizers.entropy_constrained.lower_envelope`.

    Args:
        lower: the lower representative, float64.
        upper: the upper one.
        rise: by how much more the level of the upper one costs.
        SQUARED: the squared form of the penalty.
    """
    gap = upper - lower
    if SQUARED:
        meet = gap > 0
        shift = rise / tl.where(meet, 2 * gap, 1.0)
    else:
        meet = tl.abs(rise) < gap
        shift = rise * 0.5
    return tl.where(meet, (lower + upper) * 0.5 + shift, tl.where(rise >= gap, float("inf"), float("-inf")))


@triton.jit
def store_cells(starts, costs, values, counts, size, count, cost_of_bit, SQUARED: tl.constexpr, LEVELS: tl.constexpr):
    """Store where the cell of each level of a layer begins under RH; ∞ for a level without a cell.

    The cell of a level begins where it is cheaper than all lower ones, and ends where an upper one is cheaper.

    Args:
        starts: where they are stored, (count,), float32.
        costs: memory for the costs of the levels, (count,), float64.
        values: where the representatives are, (count,), float32.
        counts: where the number of weights of each level is, (count,), int32.
        size: weights of the layer.
        count: its levels.
        cost_of_bit: float64.
        SQUARED: the squared form of the penalty.
        LEVELS: a power of 2, at least `count`.
    """
    k = tl.arange(0, LEVELS)
    inside = k < count
    value = tl.load(values + k, mask=inside, other=0.0).to(tl.float64)
    cost = level_cost(tl.load(counts + k, mask=inside, other=0), size, count, cost_of_bit)
    tl.store(costs + k, cost, mask=inside)
    start = tl.full([LEVELS], float("-inf"), tl.float64)
    end = tl.full([LEVELS], float("inf"), tl.float64)
    # All threads of the program see the costs.
    tl.debug_barrier()
    for j in range(count):
        other, rise = tl.load(values + j).to(tl.float64), tl.load(costs + j) - cost
        rise = tl.where(j < k, -rise, rise)
        meeting = meeting_place(tl.where(j < k, other, value), tl.where(j < k, value, other), rise, SQUARED)
        start = tl.where(j < k, tl.maximum(start, meeting), start)
        end = tl.where(j > k, tl.minimum(end, meeting), end)
    tl.store(starts + k, tl.where(start < end, start, float("inf")).to(tl.float32), mask=inside)


@triton.jit
def cheapest_level(weight, values, starts, first, count):
    """Return each weight's cheapest level under RH, its representative and whether the next one costs the same."""
    level = tl.zeros(weight.shape, tl.int32)
    at_end = weight != weight
    for k in range(1, count):
        start = tl.load(starts + first + k)
        above = weight > start
        at_end = (at_end & (above == 0)) | (weight == start)
        level = tl.where(above, k, level)
    return level, tl.load(values + first + level), at_end


@triton.jit
def grid_of_layer(constants, values, first):
    """Return what RS and RC need of a layer's grid, float64: its interval, its origin, its spacing, and more.

    The last three are the inverse of the spacing, radians in a unit of length, and the number of the first level.
    """
    spacing, origin = tl.load(constants + _SPACING), tl.load(constants + _ORIGIN)
    inverse = 1 / spacing
    lowest = tl.floor((tl.load(values + first).to(tl.float64) - origin) * inverse + 0.5)
    return tl.load(constants + _LOW), tl.load(constants + _HIGH), origin, spacing, inverse, _PI / spacing, lowest


@triton.jit
def cosine(angle):
    """Return the cosine of angles from −π/2 to π/2, within 1e-7: seven terms of its series."""
    square = angle * angle
    series = 2.08767570e-9 * square - 2.75573192e-7
    series = series * square + 2.48015873e-5
    series = series * square - 1.38888889e-3
    series = series * square + 4.16666667e-2
    series = series * square - 0.5
    return series * square + 1


@triton.jit
def periodic_slope(weight, grid, count, SQUARED: tl.constexpr):
    """Return the slope of RS or RC at factor 1, and the level of each weight.

    Midway between two levels, where the slope is 0, the level may be either.
    """
    low, high, origin, spacing, inverse, radians, lowest = grid
    inside = tl.minimum(tl.maximum(weight, low.to(tl.float32)), high.to(tl.float32))
    outside = weight - inside
    # In float64, the distance from a representative keeps all digits of the weight.
    from_origin = inside.to(tl.float64) - origin
    number = tl.floor(from_origin * inverse + 0.5)
    angle = ((from_origin - number * spacing) * radians).to(tl.float32)
    angle = tl.where(tl.abs(angle) <= _ROUNDING, 0.0, angle)
    level = tl.minimum(tl.maximum((number - lowest).to(tl.int32), 0), count - 1)
    if SQUARED:
        return tl.sin(2 * angle) * (spacing / _PI).to(tl.float32) + 2 * outside, level
    return sign_of(angle) * cosine(angle) + sign_of(outside), level


@triton.jit
def felt_on_each_side(values, first, count, falloff, BLOCK: tl.constexpr):
    """Return how many levels on each side of the nearest one the soft minimum sums over.

    The shares of all other levels are negligible. A weight w that is nearest to r_i is not above the middle of r_i and
    r_{i+1}. The share of r_j above them is exp(−((w − r_j)² − (w − r_i)²)/τ) = exp(−(r_j − r_i)(r_j + r_i − 2w)/τ) ≤
    exp(−(r_j − r_i)(r_j − r_{i+1})/τ) of that of r_i. Below them likewise.
    """
    least, most = 1, tl.maximum(count - 1, 1)
    while least < most:
        reach = (least + most) // 2
        felt = tl.zeros([BLOCK], tl.int32)
        for start in range(0, count, BLOCK):
            k = start + tl.arange(0, BLOCK)
            inside = k + reach + 1 < count
            below = tl.load(values + first + k, mask=inside, other=0.0)
            above = tl.load(values + first + k + reach + 1, mask=inside, other=0.0)
            from_next = above - tl.load(values + first + k + 1, mask=inside, other=0.0)
            to_last = tl.load(values + first + k + reach, mask=inside, other=0.0) - below
            halvings = (above - below) * tl.minimum(from_next, to_last) * falloff
            felt += (inside & (halvings < _NEGLIGIBLE_HALVINGS)).to(tl.int32)
        beyond = tl.sum(felt, 0) > 0
        least = tl.where(beyond, reach + 1, least)
        most = tl.where(beyond, most, reach)
    return most


@triton.jit
def share_of_level(weight, level, closest, values, first, count, falloff):
    """Return the share of a level in the soft minimum beside 1 for the nearest one, and the weight's offset from it.

    A share is 2^(−falloff·(d² − d²_nearest)) at a distance d, for τ is log2(e)/falloff; 0 if there is no such level.
    """
    exists = (level >= 0) & (level < count)
    offset = weight - tl.load(values + first + tl.minimum(tl.maximum(level, 0), count - 1))
    return tl.where(exists, tl.exp2((closest - offset * offset) * falloff), 0.0), offset


@triton.jit
def soft_slope(weight, level, offset, reach, values, first, count, falloff):
    """Return the slope of the soft minimum at factor 1, and 2 over the sum of the shares.

    Args:
        weight: (n,), float32.
        level: (n,), int32: the nearest level.
        offset: (n,), float32: from the representative of that level.
        reach: levels that count on each side of it, at least 1.
        values: as for `nearest_level`.
        first: as for `nearest_level`.
        count: as for `nearest_level`.
        falloff: log2(e)/τ.
    """
    closest = offset * offset
    # The first neighbours by themselves: at low temperatures no other level counts.
    above, from_above = share_of_level(weight, level + 1, closest, values, first, count, falloff)
    below, from_below = share_of_level(weight, level - 1, closest, values, first, count, falloff)
    total = 1 + above + below
    pulled = offset + above * from_above + below * from_below
    for j in range(2, reach + 1):
        above, from_above = share_of_level(weight, level + j, closest, values, first, count, falloff)
        below, from_below = share_of_level(weight, level - j, closest, values, first, count, falloff)
        total += above + below
        pulled += above * from_above + below * from_below
    share_of_all = 2 / total
    return pulled * share_of_all, share_of_all


@triton.jit
def mean_spacing(values, first, count):
    """Return the mean distance of a layer's representatives, float64; 1 if all are equal."""
    ends = tl.load(values + first + count - 1) - tl.load(values + first)
    spacing = ends.to(tl.float64) / tl.maximum(count - 1, 1)
    return tl.where(spacing == 0, 1.0, spacing)


@triton.jit
def reach_of_lam(constants, spacing, tau, FAMILY: tl.constexpr, SCALE: tl.constexpr):
    """Return how far a unit of λ draws a weight at slope 1: constant, or in proportion to the spacing."""
    reach = tl.load(constants + _REACH)
    if tl.load(constants + _SPACED) != 0:
        reach = reach * spacing
        if FAMILY == "bounded":
            # The slope of a well is the greatest at (w − r)² = τ/2.
            depth = tau.to(tl.float64) if SCALE else 1.0
            reach = reach / (depth * tl.sqrt(2 / tau.to(tl.float64)) * 0.6065306597126334)
    return reach


@triton.jit
def adam_step(value, mean, square, grad, rate, steps):
    """Return a value and its moments after Adam's step number `steps`, float64, with its learning rate, float64.

    Source: Kingma and Ba, "Adam", arXiv 1412.6980, Algorithm 1.
    """
    correction_1 = 1 - tl.exp(steps * tl.log(steps * 0 + _BETA_1))
    correction_2 = 1 - tl.exp(steps * tl.log(steps * 0 + _BETA_2))
    mean = mean + (grad - mean) * (1 - _BETA_1)
    square = square * _BETA_2 + grad * grad * (1 - _BETA_2)
    # In float64: the square root of float32 on a GPU takes squares below 1e-38 for 0, which tiny gradients have.
    deviation = tl.sqrt(square.to(tl.float64)) / tl.sqrt(correction_2) + _EPSILON
    return (value - rate / correction_1 * (mean / deviation)).to(tl.float32), mean, square
