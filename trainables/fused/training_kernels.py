"""Triton kernels that train the representatives of all layers; a program handles those of one layer."""

import triton
import triton.language as tl

from trainables.fused.layout import CONSTANTS, LEARNING_RATE, REPRESENTATIVE_SHARE
from trainables.fused.places import place_of_layer
from trainables.fused.slopes import adam_step

_CONSTANTS, _LEARNING_RATE = tl.constexpr(CONSTANTS), tl.constexpr(LEARNING_RATE)
_REPRESENTATIVE_SHARE = tl.constexpr(REPRESENTATIVE_SHARE)


@triton.jit
def sums_of_levels(partial, begin, end, k, inside, WIDTH, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Return the sums over chunks `begin` to `end` of the levels k, (BLOCK,), float64."""
    total = tl.zeros([BLOCK], tl.float64)
    for row in range(begin, end, ROWS):
        rows = row + tl.arange(0, ROWS)
        mask = (rows < end)[:, None] & inside[None, :]
        total += tl.sum(tl.load(partial + rows[:, None] * WIDTH + k[None, :], mask=mask, other=0.0), 0)
    return total


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
    counts,
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
        counts: (LEVELS,), int32: of the weights by level; set to 0 for the next step.
        LEVELS: levels of all layers together.
        WIDTH: row length of `partial`.
        SIGN: factor of the sums.
        SORT: whether the representatives, and their moments, are sorted.
        ROWS: chunks added at once.
        BLOCK: levels handled at once.
    """
    layer, first, count, begin, end = place_of_layer(firsts, sizes)
    step = tl.load(steps + layer).to(tl.float64) + 1
    rate = tl.load(constants + layer * _CONSTANTS + _LEARNING_RATE) * tl.load(controls + _REPRESENTATIVE_SHARE)
    for start in range(0, count, BLOCK):
        k = start + tl.arange(0, BLOCK)
        inside = k < count
        grad = (SIGN * sums_of_levels(partial, begin, end, k, inside, WIDTH, ROWS, BLOCK)).to(tl.float32)
        at = first + k
        value = tl.load(state + at, mask=inside, other=0.0)
        mean = tl.load(state + LEVELS + at, mask=inside, other=0.0)
        square = tl.load(state + 2 * LEVELS + at, mask=inside, other=0.0)
        value, mean, square = adam_step(value, mean, square, grad, rate, step)
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
        tl.store(counts + at, tl.zeros([BLOCK], tl.int32), mask=inside)
        tl.store(state + to, value, mask=inside)
        tl.store(state + LEVELS + to, tl.load(moved + LEVELS + at, mask=inside, other=0.0), mask=inside)
        tl.store(state + 2 * LEVELS + to, tl.load(moved + 2 * LEVELS + at, mask=inside, other=0.0), mask=inside)


@triton.jit
def train_grids(
    partial,
    firsts,
    sizes,
    constants,
    controls,
    steps,
    state,
    gradient,
    counts,
    multiples,
    values,
    LAYERS,
    WIDTH,
    SIGN: tl.constexpr,
    BY_STEP: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Take Adam's step with the step s of one layer's grid, whose representatives are |s| times their multiples.

    Args:
        partial: as for `train_representatives`.
        firsts: as for `train_representatives`.
        sizes: as for `train_representatives`.
        constants: as for `train_representatives`.
        controls: as for `train_representatives`.
        steps: as for `train_representatives`.
        state: (3, LAYERS), float32: s of each layer, Adam's first and second moments; changed in place.
        gradient: (LAYERS,), float32; written.
        counts: as for `train_representatives`.
        multiples: (levels,), float32.
        values: (levels,), float32: representatives of all layers; written.
        LAYERS: number of layers.
        WIDTH: row length of `partial`.
        SIGN: factor of the sums.
        BY_STEP: whether the first column of `partial` holds the gradient of s; otherwise there is one for each level.
        ROWS: chunks added at once.
        BLOCK: levels handled at once.
    """
    layer, first, count, begin, end = place_of_layer(firsts, sizes)
    if BY_STEP:
        k = tl.arange(0, BLOCK)
        by_step = sums_of_levels(partial, begin, end, k, k < 1, WIDTH, ROWS, BLOCK)
    else:
        by_step = tl.zeros([BLOCK], tl.float64)
        for start in range(0, count, BLOCK):
            k = start + tl.arange(0, BLOCK)
            inside = k < count
            multiple = tl.load(multiples + first + k, mask=inside, other=0.0).to(tl.float64)
            by_step += multiple * sums_of_levels(partial, begin, end, k, inside, WIDTH, ROWS, BLOCK)
    value = tl.load(state + layer)
    mean = tl.load(state + LAYERS + layer)
    square = tl.load(state + 2 * LAYERS + layer)
    # The representatives do not depend on the sign of s.
    grad = (SIGN * tl.sum(by_step, 0)).to(tl.float32) * tl.where(value > 0, 1.0, tl.where(value < 0, -1.0, 0.0))
    rate = tl.load(constants + layer * _CONSTANTS + _LEARNING_RATE) * tl.load(controls + _REPRESENTATIVE_SHARE)
    step = tl.load(steps + layer).to(tl.float64) + 1
    value, mean, square = adam_step(value, mean, square, grad, rate, step)
    # All threads of the program have read the old numbers.
    tl.debug_barrier()
    tl.store(steps + layer, step.to(tl.float32))
    tl.store(gradient + layer, grad)
    tl.store(state + layer, value)
    tl.store(state + LAYERS + layer, mean)
    tl.store(state + 2 * LAYERS + layer, square)
    for start in range(0, count, BLOCK):
        at = first + start + tl.arange(0, BLOCK)
        inside = start + tl.arange(0, BLOCK) < count
        tl.store(values + at, tl.abs(value) * tl.load(multiples + at, mask=inside, other=0.0), mask=inside)
        tl.store(counts + at, tl.zeros([BLOCK], tl.int32), mask=inside)
