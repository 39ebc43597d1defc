"""Triton kernels of LSQ and PARQ, whose forward pass uses other values than the weights.

Programs, tables and sums are as in `trainables.fused.kernels`. The first kernel that reads the weights keeps them aside
for the time of the pass.
"""

import triton
import triton.language as tl

from trainables.fused.layout import FACTOR, TEMPERATURE
from trainables.fused.places import (
    chunks_of_layer,
    constants_of_layer,
    is_last_of_layer,
    place_in,
    place_of_chunk,
    weights_of_layer,
)
from trainables.fused.slopes import nearest_level
from trainables.fused.training_kernels import sums_of_levels, train_if_last

_FACTOR, _TEMPERATURE = tl.constexpr(FACTOR), tl.constexpr(TEMPERATURE)
_TINY = tl.constexpr(1.1754943508222875e-38)


@triton.jit
def quantize_weights(addresses, kept, tables, values, DIGITS: tl.constexpr, CHUNK: tl.constexpr):
    """Keep the weights of one chunk, and write the representative nearest to each of them into the network.

    Args:
        addresses: (layers,), int64: where each layer's float32 weights lie in the network.
        kept: (n,), float32: the weights of all layers one after the other; written.
        tables: those of `Layout`.
        values: (levels,), float32: representatives of all layers.
        DIGITS: as for `nearest_level`.
        CHUNK: weights in a chunk.
    """
    _, layer, at, among_all, inside, first, count = place_of_chunk(tables, CHUNK)
    own = weights_of_layer(addresses, layer) + at
    weight = tl.load(own, mask=inside, other=0.0)
    tl.store(kept + among_all, weight, mask=inside)
    _, nearest, _ = nearest_level(weight, values, first, count, DIGITS)
    tl.store(own, nearest, mask=inside)


@triton.jit
def pass_quantized(
    addresses,
    gradients,
    kept,
    partial,
    tables,
    controls,
    training,
    columns,
    width,
    DIGITS: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Put the weights of one chunk back, stop the gradient of those beyond their grid, and train the grid's step.

    Args:
        addresses: as for `quantize_weights`.
        gradients: a tensor for each layer, float32: of the quantized weights; changed in place to that of the weights.
        kept: as for `quantize_weights`; read.
        partial: (chunks, width), float64: its first column receives the gradient of the step.
        tables: those of `Layout`; the factor of the constants scales the gradient of the step.
        controls: (CONTROLS,), float32.
        training: as for `train_if_last`.
        columns: as for `train_if_last`.
        width: row length of `partial`.
        DIGITS: as for `nearest_level`.
        ROWS: as for `train_if_last`.
        BLOCK: as for `train_if_last`.
        CHUNK: weights in a chunk.
    """
    _, _, state, _, _, _, multiples, values = training
    chunk, layer, at, among_all, inside, first, count = place_of_chunk(tables, CHUNK)
    weight = tl.load(kept + among_all, mask=inside, other=0.0)
    tl.store(weights_of_layer(addresses, layer) + at, weight, mask=inside)
    gradient = place_in(gradients, layer) + at
    grad = tl.load(gradient, mask=inside, other=0.0)
    level, _, _ = nearest_level(weight, values, first, count, DIGITS)
    within = (weight >= tl.load(values + first)) & (weight <= tl.load(values + first + count - 1))
    step = tl.maximum(tl.abs(tl.load(state + layer)), _TINY)
    derivative = tl.load(multiples + first + level) - tl.where(within, weight / step, 0.0)
    by_step = tl.sum(tl.where(inside, grad * derivative, 0.0), 0).to(tl.float64)
    tl.store(partial + chunk * width, by_step * tl.load(constants_of_layer(tables, layer) + _FACTOR))
    tl.store(gradient, tl.where(within, grad, 0.0), mask=inside)
    train_if_last(training, partial, tables, controls, layer, columns, width, "step", ROWS, BLOCK)


@triton.jit
def take_means(
    addresses,
    kept,
    sums,
    totals,
    tables,
    values,
    arrived,
    width,
    DIGITS: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Keep the weights, and move each representative to the mean of those that are nearest to it, if there are any.

    Args:
        addresses: as for `quantize_weights`.
        kept: as for `quantize_weights`.
        sums: (chunks, width), float64: of the weights by level; overwritten.
        totals: (chunks, width), float64: how many they are; overwritten.
        tables: those of `Layout`.
        values: as for `quantize_weights`; changed in place.
        arrived: as for `is_last_of_layer`.
        width: row length of `sums` and `totals`.
        DIGITS: as for `nearest_level`.
        ROWS: chunks added at once.
        BLOCK: levels handled at once.
        CHUNK: weights in a chunk.
    """
    chunk, layer, at, among_all, inside, first, count = place_of_chunk(tables, CHUNK)
    weight = tl.load(weights_of_layer(addresses, layer) + at, mask=inside, other=0.0)
    tl.store(kept + among_all, weight, mask=inside)
    level, _, _ = nearest_level(weight, values, first, count, DIGITS)
    for k in range(count):
        own = inside & (level == k)
        tl.store(sums + chunk * width + k, tl.sum(tl.where(own, weight, 0.0), 0).to(tl.float64))
        tl.store(totals + chunk * width + k, tl.sum(own.to(tl.int32), 0).to(tl.float64))
    if is_last_of_layer(arrived, tables, layer):
        begin, end = chunks_of_layer(tables, layer)
        for start in range(0, count, BLOCK):
            block = start + tl.arange(0, BLOCK)
            real = block < count
            total = sums_of_levels(totals, begin, end, block, real, width, ROWS, BLOCK)
            mean = sums_of_levels(sums, begin, end, block, real, width, ROWS, BLOCK) / tl.maximum(total, 1.0)
            tl.store(values + first + block, mean.to(tl.float32), mask=real & (total > 0))


@triton.jit
def map_weights(addresses, kept, tables, values, controls, DIGITS: tl.constexpr, CHUNK: tl.constexpr):
    """Write PARQ's proximal map of one chunk of weights into the network.

    Args:
        addresses: as for `quantize_weights`.
        kept: as for `quantize_weights`.
        tables: those of `Layout`.
        values: as for `quantize_weights`.
        controls: (CONTROLS,), float32; the inverse slope of the map is in the place of the temperature.
        DIGITS: as for `nearest_level`.
        CHUNK: weights in a chunk.
    """
    _, layer, at, among_all, inside, first, count = place_of_chunk(tables, CHUNK)
    weight = tl.load(kept + among_all, mask=inside, other=0.0)
    level, nearest, _ = nearest_level(weight, values, first, count, DIGITS)
    # Of the two representatives around the weight, the nearest is the upper one where the weight is not above it.
    lower_level = tl.where(weight <= nearest, level - 1, level)
    lower = tl.load(values + first + tl.maximum(lower_level, 0))
    upper = tl.load(values + first + tl.minimum(lower_level + 1, count - 1))
    middle = (lower + upper) / 2
    inverse_slope = tl.maximum(tl.load(controls + _TEMPERATURE), _TINY)
    mapped = tl.minimum(tl.maximum((weight - middle) / inverse_slope + middle, lower), upper)
    # A weight that is not finite must reach the loss.
    mapped = tl.where(weight - weight == 0, mapped, weight)
    tl.store(weights_of_layer(addresses, layer) + at, mapped, mask=inside)
