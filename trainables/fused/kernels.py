"""Triton kernels over the quantized weights of all layers at once.

A program handles one chunk of one layer, at once or piece by piece; a table gives layer and start of each chunk.
Constants of the layers and the current λ and τ are read from device memory, so that a launch depends on nothing that
changes from step to step. Atomic operations add integers alone: all results are the same in every run. The last program
of a layer trains its representatives.

Sums over the weights of a level are in float32 within a chunk, by thread and as a tree, or counts, and in float64 over
the chunks of a layer: most GPUs are many times slower in float64. `trainables.fused.slopes` holds the formulas.
"""

import triton
import triton.language as tl

from trainables.fused.layout import AMOUNT, ENTROPY_WEIGHT, FACTOR, LAM, TEMPERATURE, UNIT
from trainables.fused.places import (
    begin_of_chunk,
    constants_of_layer,
    is_last_of_layer,
    place_in,
    place_of_chunk,
    size_of_layer,
    weights_of_layer,
)
from trainables.fused.slopes import (
    LOG2_E,
    cheapest_level,
    felt_on_each_side,
    grid_of_layer,
    mean_spacing,
    nearest_level,
    periodic_slope,
    reach_of_lam,
    share_of_level,
    sign_of,
    soft_slope,
    store_cells,
)
from trainables.fused.training_kernels import train_if_last

_FACTOR, _LAM = tl.constexpr(FACTOR), tl.constexpr(LAM)
_UNIT, _ENTROPY_WEIGHT = tl.constexpr(UNIT), tl.constexpr(ENTROPY_WEIGHT)
_AMOUNT, _TEMPERATURE = tl.constexpr(AMOUNT), tl.constexpr(TEMPERATURE)


@triton.jit
def squared_unit(own, spacing):
    """Return a layer's unit of τ and of RH's costs, float64: a constant, or the square of the current spacing."""
    unit = tl.load(own + _UNIT)
    return tl.where(unit == 0, spacing * spacing, unit)


@triton.jit
def find_cells_if_last(
    starts, costs, arrived, counts, tables, values, layer, SQUARED: tl.constexpr, LEVELS: tl.constexpr
):
    """Find the cells of a layer under RH, if this program is the last of the layer to have counted its levels.

    The arguments are those of `count_levels`, and the program's layer.
    """
    if is_last_of_layer(arrived, tables, layer):
        own = constants_of_layer(tables, layer)
        size, first, count = size_of_layer(tables, layer)
        half = tl.sqrt(squared_unit(own, mean_spacing(values, first, count))) * 0.5
        cost_of_bit = tl.load(own + _ENTROPY_WEIGHT) * (half * half if SQUARED else half)
        store_cells(
            starts + first, costs + first, values + first, counts + first, size, count, cost_of_bit, SQUARED, LEVELS
        )


@triton.jit
def count_levels(
    addresses,
    counts,
    starts,
    costs,
    arrived,
    tables,
    values,
    FAMILY: tl.constexpr,
    SQUARED: tl.constexpr,
    DIGITS: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Count the weights of one chunk that are nearest to each level; for "cheapest", find the cells from the counts.

    Args:
        addresses: as for `pull_weights`.
        counts: (levels,), int32: of all layers; added to.
        starts: (levels,), float32: where the cell of each level begins, from `store_cells`; written for "cheapest".
        costs: (levels,), float64: memory for the costs of the levels.
        arrived: as for `is_last_of_layer`.
        tables: those of `Layout`.
        values: as for `pull_weights`.
        FAMILY: "cheapest" or "bins".
        SQUARED: as for `pull_weights`.
        DIGITS: as for `nearest_level`.
        CHUNK: weights in a chunk.
    """
    _, layer, at, _, inside, first, count = place_of_chunk(tables, CHUNK)
    weight = tl.load(weights_of_layer(addresses, layer) + at, mask=inside, other=0.0)
    level, _, _ = nearest_level(weight, values, first, count, DIGITS)
    k = tl.arange(0, 1 << DIGITS)
    # The last program or the next launch reads the counts: no program waits for those of another.
    tl.atomic_add(counts + first + k, tl.histogram(level, 1 << DIGITS, mask=inside), mask=k < count, sem="relaxed")
    if FAMILY == "cheapest":
        find_cells_if_last(starts, costs, arrived, counts, tables, values, layer, SQUARED, 1 << DIGITS)


@triton.jit
def store_signs(sums, sign, level, inside, count, strength, LEVELS: tl.constexpr):
    """Store the gradients of the representatives from a chunk of weights whose slopes are 1, 0 or −1, times `strength`.

    Weights are counted: that needs no pass over the levels.

    Args:
        sums: where they are stored, (count,), float64.
        sign: (CHUNK,), the slope of each weight at strength 1.
        level: (CHUNK,), int32: the level of each weight.
        inside: (CHUNK,), mask of the weights that exist.
        count: levels of the layer.
        strength: of the slopes.
        LEVELS: as for `count_levels`.
    """
    sides = tl.histogram(2 * level + (sign > 0).to(tl.int32), 2 * LEVELS, mask=inside & (sign != 0))
    below, above = tl.split(tl.reshape(sides, [LEVELS, 2]))
    k = tl.arange(0, LEVELS)
    tl.store(sums + k, strength.to(tl.float64) * (below - above), mask=k < count)


@triton.jit
def add_by_level(sums, number, level, beyond, LEVELS: tl.constexpr):
    """Add a number of each weight to a sum; each thread has sums of its own until the end.

    Args:
        sums: (LEVELS, PIECE), float32.
        number: (PIECE,), float32.
        level: (PIECE,), int32; a weight whose level is far below 0 is left out.
        beyond: how many levels above that of the weight the sum is.
        LEVELS: a power of 2, at least the levels of any layer.
    """
    k = tl.arange(0, LEVELS) - beyond
    return tl.where(level[None, :] == k[:, None], sums + number[None, :], sums)


@triton.jit
def add_soft_by_level(
    sums, weight, level, offset, inside, share_of_all, reach, values, first, count, falloff, LEVELS: tl.constexpr
):
    """Add the soft minimum's slope of each weight towards each level to the sum of that level.

    The arguments are those of `add_by_level` and `soft_slope`, and the latter's second result.
    """
    closest = offset * offset
    own = tl.where(inside, level, -2 * LEVELS)
    sums = add_by_level(sums, offset * share_of_all, own, 0, LEVELS)
    above, from_above = share_of_level(weight, level + 1, closest, values, first, count, falloff)
    below, from_below = share_of_level(weight, level - 1, closest, values, first, count, falloff)
    sums = add_by_level(sums, above * from_above * share_of_all, own, 1, LEVELS)
    sums = add_by_level(sums, below * from_below * share_of_all, own, -1, LEVELS)
    for j in range(2, reach + 1):
        above, from_above = share_of_level(weight, level + j, closest, values, first, count, falloff)
        below, from_below = share_of_level(weight, level - j, closest, values, first, count, falloff)
        sums = add_by_level(sums, above * from_above * share_of_all, own, j, LEVELS)
        sums = add_by_level(sums, below * from_below * share_of_all, own, -j, LEVELS)
    return sums


@triton.jit
def pull_weights(
    addresses,
    slopes,
    partial,
    counts,
    starts,
    tables,
    values,
    controls,
    training,
    columns,
    width,
    FAMILY: tl.constexpr,
    SQUARED: tl.constexpr,
    SCALE: tl.constexpr,
    APPLY: tl.constexpr,
    TRAIN: tl.constexpr,
    SIGNS: tl.constexpr,
    DIGITS: tl.constexpr,
    PIECE: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Apply the penalty's gradient to one chunk of weights, and train the representatives with its sums by level.

    Args:
        addresses: (layers,), int64: where each layer's float32 weights lie.
        slopes: (n,), float32: written by APPLY "gradient", for all layers one after the other.
        partial: (chunks, width), float64: the gradients of the representatives from each chunk.
        counts: (levels,), int32: weights nearest to each level, for FAMILY "bins".
        starts: (levels,), float32: where the cell of each level begins, for FAMILY "cheapest".
        tables: those of `Layout`.
        values: (levels,), float32: representatives of all layers.
        controls: (CONTROLS,), float32: what changes from step to step.
        training: as for `train_if_last`.
        columns: as for `train_if_last`.
        width: row length of `partial`.
        FAMILY: "periodic", "nearest", "soft", "bounded", "cheapest" or "bins".
        SQUARED: the squared form of the penalty.
        SCALE: whether a bounded well has the curvature of the squared distance.
        APPLY: "gradient" writes λ · slope to `slopes`; "draw" moves the weights along it; "shrink" takes the proximal
            step of the squared distance.
        TRAIN: as for `train_if_last`.
        SIGNS: whether all slopes at strength 1 are 1, 0 or −1.
        DIGITS: as for `nearest_level`.
        PIECE: weights of the chunk that are handled at once. If they are fewer than CHUNK, each thread keeps a sum for
            each level.
        ROWS: as for `train_if_last`.
        BLOCK: as for `train_if_last`.
        CHUNK: weights in a chunk.
    """
    chunk, layer, begin, begin_among_all = begin_of_chunk(tables)
    size, first, count = size_of_layer(tables, layer)
    own = constants_of_layer(tables, layer)
    address = weights_of_layer(addresses, layer)
    spacing = mean_spacing(values, first, count)
    tau = (tl.load(controls + _TEMPERATURE) * squared_unit(own, spacing)).to(tl.float32)
    amount = tl.load(controls + _AMOUNT).to(tl.float64) * tl.load(own + _LAM)
    factor = tl.load(own + _FACTOR)
    # For "draw" and "shrink", the representatives' gradient omits λ: Adam's step does not depend on its scale.
    if APPLY == "gradient":
        factor = factor * amount
    if FAMILY == "bounded" and not SCALE:
        factor = factor / tau
    strength = factor.to(tl.float32)
    distance = (amount * reach_of_lam(own, spacing, tau, FAMILY, SCALE)).to(tl.float32)
    falloff = LOG2_E / tau
    if FAMILY == "soft":
        reach = felt_on_each_side(values, first, count, falloff, BLOCK)
    elif FAMILY == "periodic":
        grid = grid_of_layer(own, values, first)
    sums = partial + chunk * width
    by_level = tl.zeros([1 << DIGITS if PIECE < CHUNK else 1, PIECE], tl.float32)

    for piece in range(0, CHUNK, PIECE):
        at = begin + piece + tl.arange(0, PIECE)
        inside = at < size
        weight = tl.load(address + at, mask=inside, other=0.0)
        if FAMILY == "periodic":
            slope, level = periodic_slope(weight, grid, count, SQUARED)
            nearest = tl.load(values + first + level)
            offset = weight - nearest
        else:
            level, nearest, at_kink = nearest_level(weight, values, first, count, DIGITS)
            target = nearest
            if FAMILY == "cheapest":
                level, target, at_kink = cheapest_level(weight, values, starts, first, count)
            offset = weight - target
            if FAMILY == "soft":
                slope, share_of_all = soft_slope(weight, level, offset, reach, values, first, count, falloff)
            elif FAMILY == "bounded":
                slope = tl.where(at_kink, 0.0, 2 * offset * tl.exp(-offset * offset / tau))
            elif FAMILY == "bins":
                share = 1 / tl.maximum(tl.load(counts + first + level), 1).to(tl.float32)
                slope = tl.where(at_kink, 0.0, 2 * offset * share)
            elif SQUARED:
                slope = tl.where(at_kink, 0.0, 2 * offset)
            else:
                slope = tl.where(at_kink, 0.0, sign_of(offset))

        if TRAIN == "nothing":
            pass
        elif PIECE < CHUNK and FAMILY == "soft":
            by_level = add_soft_by_level(
                by_level, weight, level, offset, inside, share_of_all, reach, values, first, count, falloff, 1 << DIGITS
            )
        elif PIECE < CHUNK:
            by_level = add_by_level(by_level, slope, tl.where(inside, level, -1), 0, 1 << DIGITS)
        elif SIGNS:
            store_signs(sums, slope, level, inside, count, strength, 1 << DIGITS)
        elif FAMILY == "soft":
            closest = offset * offset
            for k in range(count):
                share, away = share_of_level(weight, k, closest, values, first, count, falloff)
                part = tl.where(inside, share * away * share_of_all, 0.0)
                tl.store(sums + k, -tl.sum(part, 0).to(tl.float64) * strength)
        else:
            for k in range(count):
                part = tl.where(inside & (level == k), slope, 0.0)
                tl.store(sums + k, -tl.sum(part, 0).to(tl.float64) * strength)

        slope = slope * strength
        if APPLY == "gradient":
            tl.store(slopes + begin_among_all + piece + tl.arange(0, PIECE), slope, mask=inside)
        else:
            if APPLY == "draw":
                move = slope * distance
                away = weight - nearest
                reached = (move * away > 0) & (tl.abs(move) >= tl.abs(away))
                moved = tl.where(reached, nearest, weight - move)
            elif FAMILY == "bins":
                moved = nearest + offset / (1 + 2 * strength * share * distance)
            else:
                moved = nearest + offset / (1 + 2 * strength * distance)
            tl.store(address + at, moved, mask=inside)

    if TRAIN != "nothing" and PIECE < CHUNK:
        k = tl.arange(0, 1 << DIGITS)
        tl.store(sums + k, -tl.sum(by_level, 1).to(tl.float64) * strength, mask=k < count)
    train_if_last(training, partial, tables, controls, layer, columns, width, TRAIN, ROWS, BLOCK)


@triton.jit
def train_codebooks(
    gradients,
    levels,
    partial,
    tables,
    controls,
    training,
    columns,
    width,
    DIGITS: tl.constexpr,
    PIECE: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Sum the gradients of one chunk of weights by level, and train the representatives with the sums.

    Args:
        gradients: a tensor for each layer, float32.
        levels: (n,), int32: the level of each weight, of all layers one after the other.
        partial: as for `pull_weights`.
        tables: those of `Layout`.
        controls: as for `pull_weights`.
        training: as for `train_if_last`.
        columns: as for `train_if_last`.
        width: row length of `partial`.
        DIGITS: as for `nearest_level`.
        PIECE: as for `pull_weights`.
        ROWS: as for `train_if_last`.
        BLOCK: as for `train_if_last`.
        CHUNK: weights in a chunk.
    """
    chunk, layer, begin, begin_among_all = begin_of_chunk(tables)
    size, _, count = size_of_layer(tables, layer)
    place = place_in(gradients, layer) + begin
    sums = partial + chunk * width
    by_level = tl.zeros([1 << DIGITS if PIECE < CHUNK else 1, PIECE], tl.float32)
    for piece in range(0, CHUNK, PIECE):
        at = piece + tl.arange(0, PIECE)
        inside = begin + at < size
        grad = tl.load(place + at, mask=inside, other=0.0)
        level = tl.load(levels + begin_among_all + at, mask=inside, other=-1)
        if PIECE < CHUNK:
            by_level = add_by_level(by_level, grad, level, 0, 1 << DIGITS)
        else:
            for k in range(count):
                tl.store(sums + k, tl.sum(tl.where(level == k, grad, 0.0), 0).to(tl.float64))
    if PIECE < CHUNK:
        k = tl.arange(0, 1 << DIGITS)
        tl.store(sums + k, tl.sum(by_level, 1).to(tl.float64), mask=k < count)
    train_if_last(training, partial, tables, controls, layer, columns, width, "levels", ROWS, BLOCK)


@triton.jit
def write_levels(addresses, levels, values, tables, CHUNK: tl.constexpr):
    """Write the representative of each weight of one chunk into the network.

    Args:
        addresses: as for `pull_weights`.
        levels: (n,), int32: the level of each weight, of all layers one after the other.
        values: (levels,), float32: representatives of all layers.
        tables: those of `Layout`.
        CHUNK: weights in a chunk.
    """
    _, layer, at, among_all, inside, first, _ = place_of_chunk(tables, CHUNK)
    level = tl.load(levels + among_all, mask=inside, other=0)
    value = tl.load(values + first + level, mask=inside, other=0.0)
    tl.store(weights_of_layer(addresses, layer) + at, value, mask=inside)


@triton.jit
def store_one(place):
    """Store 1 at a place, int32: the least that a machine must be able to launch."""
    tl.store(place, 1)
