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
def nearest_level(weight, values, first, count):
    """Return each weight's level, its representative and whether it lies midway to the next one; ties go down."""
    # Of the boundaries between levels, those below `level` are below the weight, and that of `highest` is not.
    level = tl.zeros(weight.shape, tl.int32)
    highest = level + (count - 1)
    span = count
    while span > 1:
        middle = (level + highest) // 2
        boundary = (
            tl.load(values + first + tl.minimum(middle + 1, count - 1)) + tl.load(values + first + middle)
        ) * 0.5
        above = (weight > boundary) & (level < highest)
        level = tl.where(above, middle + 1, level)
        highest = tl.where(above, highest, middle)
        span = (span + 1) // 2
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
def periodic_slope(weight, constants, SQUARED: tl.constexpr):
    """Return the slope of RS or RC at factor 1."""
    spacing = tl.load(constants + _SPACING)
    inside = tl.minimum(
        tl.maximum(weight, tl.load(constants + _LOW).to(tl.float32)), tl.load(constants + _HIGH).to(tl.float32)
    )
    outside = weight - inside
    # In float64, the distance from a representative keeps all digits of the weight.
    from_origin = inside.to(tl.float64) - tl.load(constants + _ORIGIN)
    distance = from_origin - tl.floor(from_origin * (1 / spacing) + 0.5) * spacing
    angle = (distance * (_PI / spacing)).to(tl.float32)
    angle = tl.where(tl.abs(angle) <= _ROUNDING, 0.0, angle)
    if SQUARED:
        return tl.sin(2 * angle) * (spacing / _PI).to(tl.float32) + 2 * outside
    return sign_of(angle) * tl.cos(angle) + sign_of(outside)


@triton.jit
def count_felt(values, first, count, falloff, BLOCK: tl.constexpr):
    """Return how many levels the soft minimum sums over: the nearest one and equally many on each side, or all.

    The shares of all other levels are negligible. A weight w that is nearest to r_i is not above the middle of r_i and
    r_{i+1}. The share of r_j above them is exp(−((w − r_j)² − (w − r_i)²)/τ) = exp(−(r_j − r_i)(r_j + r_i − 2w)/τ) ≤
    exp(−(r_j − r_i)(r_j − r_{i+1})/τ) of that of r_i. Below them likewise.
    """
    least, most = tl.minimum(count // 2, 1), count // 2
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
    return tl.minimum(2 * most + 1, count)


@triton.jit
def soft_slope(weight, level, nearest, values, first, count, falloff, BLOCK: tl.constexpr):
    """Return the slope of the soft minimum at factor 1, the nearest squared distance and the sum of the shares.

    A share is 2^(−falloff·(d² − d²_nearest)) at a distance d: τ is log2(e)/falloff.
    """
    felt = count_felt(values, first, count, falloff, BLOCK)
    lowest = tl.minimum(tl.maximum(level - felt // 2, 0), count - felt)
    closest = (weight - nearest) * (weight - nearest)
    total = tl.zeros(weight.shape, tl.float32)
    pulled = tl.zeros(weight.shape, tl.float32)
    for k in range(felt):
        offset = weight - tl.load(values + first + lowest + k)
        share = tl.exp2((closest - offset * offset) * falloff)
        total += share
        pulled += share * offset
    return 2 * pulled / total, closest, total


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
