"""Triton kernels over the quantized weights of all layers at once.

A program of `pull_weights`, `sum_by_level` and `write_levels` handles one chunk of one layer; a table gives layer and
start of each chunk. Constants of the layers and the current λ, τ and learning rates are read from device memory, so
that a launch depends on nothing that changes from step to step. No sum is made by atomic operations: all results are
the same in every run.

Sums over the weights of a level are in float64. `trainables.fused.slopes` holds the formulas.
"""

import triton
import triton.language as tl

from trainables.fused.layout import (
    AMOUNT,
    CONSTANTS,
    FACTOR,
    LAM,
    LEARNING_RATE,
    REPRESENTATIVE_SHARE,
    TEMPERATURE,
    UNIT,
)
from trainables.fused.slopes import mean_spacing, nearest_level, periodic_slope, reach_of_lam, soft_slope

_CONSTANTS = tl.constexpr(CONSTANTS)
_FACTOR = tl.constexpr(FACTOR)
_UNIT, _LEARNING_RATE, _LAM = tl.constexpr(UNIT), tl.constexpr(LEARNING_RATE), tl.constexpr(LAM)
_AMOUNT, _TEMPERATURE = tl.constexpr(AMOUNT), tl.constexpr(TEMPERATURE)
_REPRESENTATIVE_SHARE = tl.constexpr(REPRESENTATIVE_SHARE)
_BETA_1, _BETA_2, _EPSILON = tl.constexpr(0.9), tl.constexpr(0.999), tl.constexpr(1e-20)


@triton.jit
def pull_weights(
    addresses,
    slopes,
    partial,
    chunks,
    sizes,
    constants,
    values,
    controls,
    WIDTH,
    FAMILY: tl.constexpr,
    SQUARED: tl.constexpr,
    SCALE: tl.constexpr,
    TRAINED: tl.constexpr,
    APPLY: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Apply the penalty's gradient to one chunk of weights, and sum it by level.

    Args:
        addresses: (layers,), int64: where each layer's float32 weights lie.
        slopes: (n,), float32: written by APPLY "gradient", for all layers one after the other.
        partial: (chunks, WIDTH), float64: the negated gradients of the representatives from each chunk.
        chunks: (chunks, 3), int64: layer, first weight in the layer, first weight in `slopes`.
        sizes: (layers, 3), int64: weights, first level, levels.
        constants: (layers, CONSTANTS), float64.
        values: (levels,), float32: representatives of all layers.
        controls: (CONTROLS,), float32: what changes from step to step.
        WIDTH: row length of `partial`.
        FAMILY: "periodic", "nearest", "soft" or "bounded".
        SQUARED: the squared form of the penalty.
        SCALE: whether a bounded well has the curvature of the squared distance.
        TRAINED: whether the representatives are trained.
        APPLY: "gradient" writes λ · slope to `slopes`; "draw" moves the weights along it; "shrink" takes the proximal
            step of the squared distance.
        CHUNK: weights in a chunk.
    """
    chunk = tl.program_id(0).to(tl.int64)
    layer = tl.load(chunks + 3 * chunk)
    start = tl.load(chunks + 3 * chunk + 1)
    size = tl.load(sizes + 3 * layer)
    first = tl.load(sizes + 3 * layer + 1)
    count = tl.load(sizes + 3 * layer + 2).to(tl.int32)
    constants += layer * _CONSTANTS
    at = start + tl.arange(0, CHUNK)
    inside = at < size
    address = tl.load(addresses + layer).to(tl.pointer_type(tl.float32)) + at
    weight = tl.load(address, mask=inside, other=0.0)
    spacing = mean_spacing(values, first, count)
    unit = tl.load(constants + _UNIT)
    tau = (tl.load(controls + _TEMPERATURE) * tl.where(unit == 0, spacing * spacing, unit)).to(tl.float32)
    amount = tl.load(controls + _AMOUNT).to(tl.float64) * tl.load(constants + _LAM)
    factor = tl.load(constants + _FACTOR)

    level, nearest, midway = nearest_level(weight, values, first, count)
    offset = weight - nearest
    closest = offset
    total = offset
    if FAMILY == "periodic":
        slope = periodic_slope(weight, constants, SQUARED)
    elif FAMILY == "soft":
        slope, closest, total = soft_slope(weight, nearest, values, first, count, tau)
    elif FAMILY == "bounded":
        slope = 2 * offset * tl.exp(-offset * offset / tau)
        if not SCALE:
            factor = factor / tau
    elif SQUARED:
        slope = 2 * offset
    else:
        slope = tl.where(offset > 0, 1.0, tl.where(offset < 0, -1.0, 0.0))
    if FAMILY == "nearest" or FAMILY == "bounded":
        slope = tl.where(midway, 0.0, slope)

    # Drawn weights take the gradient of the representatives without λ, as Adam's step does not depend on it.
    strength = factor.to(tl.float32)
    if APPLY == "gradient":
        strength = (factor * amount).to(tl.float32)
    slope = slope * strength
    if TRAINED:
        for k in range(count):
            if FAMILY == "soft":
                away = weight - tl.load(values + first + k)
                part = 2 * strength * away * tl.exp((closest - away * away) / tau) / total
            else:
                part = tl.where(level == k, slope, 0.0)
            part = tl.where(inside, part, 0.0)
            tl.store(partial + chunk * WIDTH + k, tl.sum(part.to(tl.float64), 0))

    if APPLY == "gradient":
        tl.store(slopes + tl.load(chunks + 3 * chunk + 2) + tl.arange(0, CHUNK), slope, mask=inside)
    else:
        distance = amount * reach_of_lam(constants, spacing, tau, FAMILY, SCALE)
        if APPLY == "draw":
            move = slope * distance.to(tl.float32)
            reached = (move * offset > 0) & (tl.abs(move) >= tl.abs(offset))
            moved = tl.where(reached, nearest, weight - move)
        else:
            moved = nearest + offset * (1 / (1 + 2 * distance)).to(tl.float32)
        tl.store(address, moved, mask=inside)


@triton.jit
def sum_by_level(gradient, levels, partial, chunks, sizes, WIDTH, CHUNK: tl.constexpr):
    """Sum the gradients of one chunk of weights by level.

    Args:
        gradient: (n,), float32, of all layers one after the other.
        levels: (n,), int32: the level of each weight.
        partial: (chunks, WIDTH), float64.
        chunks: as for `pull_weights`.
        sizes: as for `pull_weights`.
        WIDTH: row length of `partial`.
        CHUNK: weights in a chunk.
    """
    chunk = tl.program_id(0).to(tl.int64)
    layer = tl.load(chunks + 3 * chunk)
    inside = tl.load(chunks + 3 * chunk + 1) + tl.arange(0, CHUNK) < tl.load(sizes + 3 * layer)
    at = tl.load(chunks + 3 * chunk + 2) + tl.arange(0, CHUNK)
    grad = tl.load(gradient + at, mask=inside, other=0.0)
    level = tl.load(levels + at, mask=inside, other=-1)
    for k in range(tl.load(sizes + 3 * layer + 2).to(tl.int32)):
        part = tl.where(level == k, grad, 0.0)
        tl.store(partial + chunk * WIDTH + k, tl.sum(part.to(tl.float64), 0))


@triton.jit
def train_representatives(
    partial,
    firsts,
    sizes,
    constants,
    controls,
    steps,
    state,
    moved,
    gradient,
    LEVELS,
    WIDTH,
    SIGN: tl.constexpr,
    SORT: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Add up the partial sums of one layer's levels, take Adam's step with them, and put the representatives in order.

    Args:
        partial: (chunks, WIDTH), float64.
        firsts: (layers + 1,), int64: first chunk of each layer.
        sizes: as for `pull_weights`.
        constants: as for `pull_weights`.
        controls: as for `pull_weights`.
        steps: (layers,), float32: number of steps so far; one is added.
        state: (3, LEVELS), float32: representatives, Adam's first and second moments; changed in place.
        moved: (3, LEVELS), float32: overwritten.
        gradient: (LEVELS,), float32; written.
        LEVELS: levels of all layers together.
        WIDTH: row length of `partial`.
        SIGN: factor of the sums.
        SORT: whether the representatives, and their moments, are sorted.
        ROWS: chunks added at once.
        BLOCK: levels handled at once.

    Source: Kingma and Ba, "Adam", arXiv 1412.6980, Algorithm 1.
    """
    layer = tl.program_id(0)
    first = tl.load(sizes + 3 * layer + 1)
    count = tl.load(sizes + 3 * layer + 2).to(tl.int32)
    begin, end = tl.load(firsts + layer), tl.load(firsts + layer + 1)
    step = tl.load(steps + layer).to(tl.float64) + 1
    correction_1 = 1 - tl.exp(step * tl.log(step * 0 + _BETA_1))
    correction_2 = 1 - tl.exp(step * tl.log(step * 0 + _BETA_2))
    rate = tl.load(constants + layer * _CONSTANTS + _LEARNING_RATE) * tl.load(controls + _REPRESENTATIVE_SHARE)
    for start in range(0, count, BLOCK):
        k = start + tl.arange(0, BLOCK)
        inside = k < count
        total = tl.zeros([BLOCK], tl.float64)
        for row in range(begin, end, ROWS):
            rows = row + tl.arange(0, ROWS)
            mask = (rows < end)[:, None] & inside[None, :]
            total += tl.sum(tl.load(partial + rows[:, None] * WIDTH + k[None, :], mask=mask, other=0.0), 0)
        grad = (SIGN * total).to(tl.float32)
        at = first + k
        value = tl.load(state + at, mask=inside, other=0.0)
        mean = tl.load(state + LEVELS + at, mask=inside, other=0.0)
        square = tl.load(state + 2 * LEVELS + at, mask=inside, other=0.0)
        mean = mean + (grad - mean) * (1 - _BETA_1)
        square = square * _BETA_2 + grad * grad * (1 - _BETA_2)
        deviation = tl.sqrt(square) / tl.sqrt(correction_2).to(tl.float32) + _EPSILON
        value = value - (rate / correction_1).to(tl.float32) * (mean / deviation)
        tl.store(gradient + at, grad, mask=inside)
        tl.store(moved + at, value, mask=inside)
        tl.store(moved + LEVELS + at, mean, mask=inside)
        tl.store(moved + 2 * LEVELS + at, square, mask=inside)
    # All threads of the program have read the old numbers and see the new ones.
    tl.debug_barrier()
    tl.store(steps + layer, step.to(tl.float32))
    for start in range(0, count, BLOCK):
        k = start + tl.arange(0, BLOCK)
        inside = k < count
        at = first + k
        value = tl.load(moved + at, mask=inside, other=0.0)
        to = at
        if SORT:
            rank = tl.zeros([BLOCK], tl.int32)
            for j in range(count):
                other = tl.load(moved + first + j)
                rank += ((other < value) | ((other == value) & (j < k))).to(tl.int32)
            to = first + rank
        tl.store(state + to, value, mask=inside)
        tl.store(state + LEVELS + to, tl.load(moved + LEVELS + at, mask=inside, other=0.0), mask=inside)
        tl.store(state + 2 * LEVELS + to, tl.load(moved + 2 * LEVELS + at, mask=inside, other=0.0), mask=inside)


@triton.jit
def write_levels(addresses, levels, values, chunks, sizes, CHUNK: tl.constexpr):
    """Write the representative of each weight of one chunk into the network.

    Args:
        addresses: as for `pull_weights`.
        levels: (n,), int32: the level of each weight, of all layers one after the other.
        values: (levels,), float32: representatives of all layers.
        chunks: as for `pull_weights`.
        sizes: as for `pull_weights`.
        CHUNK: weights in a chunk.
    """
    chunk = tl.program_id(0).to(tl.int64)
    layer = tl.load(chunks + 3 * chunk)
    at = tl.load(chunks + 3 * chunk + 1) + tl.arange(0, CHUNK)
    inside = at < tl.load(sizes + 3 * layer)
    level = tl.load(levels + tl.load(chunks + 3 * chunk + 2) + tl.arange(0, CHUNK), mask=inside, other=0)
    value = tl.load(values + tl.load(sizes + 3 * layer + 1) + level, mask=inside, other=0.0)
    tl.store(tl.load(addresses + layer).to(tl.pointer_type(tl.float32)) + at, value, mask=inside)
