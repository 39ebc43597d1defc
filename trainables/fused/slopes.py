"""Formulas of the penalties for weights in a chunk of one layer, which the kernels share.

The closed forms are those of `trainables.regularizers`, which the same oracle tests; at a kink of a penalty its slope
is 0.
"""

import triton
import triton.language as tl

from trainables.fused.layout import HIGH, LOW, ORIGIN, REACH, SPACED, SPACING

_REACH, _SPACED = tl.constexpr(REACH), tl.constexpr(SPACED)
_LOW, _HIGH = tl.constexpr(LOW), tl.constexpr(HIGH)
_ORIGIN, _SPACING = tl.constexpr(ORIGIN), tl.constexpr(SPACING)
_ROUNDING = tl.constexpr(4e-7)
_PI = tl.constexpr(3.141592653589793)


@triton.jit
def nearest_level(weight, values, first, count):
    """Return each weight's level, its representative and whether it lies midway to the next one; ties go down."""
    level = tl.zeros(weight.shape, tl.int32)
    value = tl.load(values + first)
    nearest = tl.zeros(weight.shape, tl.float32) + value
    midway = weight != weight
    for k in range(count - 1):
        following = tl.load(values + first + k + 1)
        boundary = (following + value) * 0.5
        above = weight > boundary
        level = tl.where(above, k + 1, level)
        nearest = tl.where(above, following, nearest)
        midway = midway | (weight == boundary)
        value = following
    return level, nearest, midway


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
    distance = from_origin - tl.floor(from_origin / spacing + 0.5) * spacing
    angle = (distance * (_PI / spacing)).to(tl.float32)
    angle = tl.where(tl.abs(angle) <= _ROUNDING, 0.0, angle)
    if SQUARED:
        return tl.sin(2 * angle) * (spacing / _PI).to(tl.float32) + 2 * outside
    sign = tl.where(angle > 0, 1.0, tl.where(angle < 0, -1.0, 0.0))
    beyond = tl.where(outside > 0, 1.0, tl.where(outside < 0, -1.0, 0.0))
    return sign * tl.cos(angle) + beyond


@triton.jit
def soft_slope(weight, nearest, values, first, count, tau):
    """Return the slope of the soft minimum at factor 1, the nearest squared distance and the sum of the shares."""
    closest = (weight - nearest) * (weight - nearest)
    total = tl.zeros(weight.shape, tl.float32)
    pulled = tl.zeros(weight.shape, tl.float32)
    for k in range(count):
        offset = weight - tl.load(values + first + k)
        share = tl.exp((closest - offset * offset) / tau)
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
