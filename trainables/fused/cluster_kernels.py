"""Triton kernels of DKM: soft k-means of the weights of all layers, and its gradient.

Programs, tables and sums are as in `trainables.fused.kernels`. A layer whose centroids rest takes no part in the
iterations that are left, and the host need not know which layers these are.
"""

import triton
import triton.language as tl

from trainables.fused.layout import CONSTANTS, TEMPERATURE, UNIT
from trainables.fused.places import place_of_chunk, place_of_layer
from trainables.fused.training_kernels import sums_of_levels

_CONSTANTS, _UNIT, _TEMPERATURE = tl.constexpr(CONSTANTS), tl.constexpr(UNIT), tl.constexpr(TEMPERATURE)


@triton.jit
def temperature_of(constants, controls, layer):
    """Return a layer's temperature, float32."""
    unit = tl.load(constants + layer * _CONSTANTS + _UNIT)
    return (tl.load(controls + _TEMPERATURE) * unit).to(tl.float32)


@triton.jit
def closest_distance(weight, centroids, count):
    """Return the distance of each weight from its nearest centroid."""
    closest = tl.abs(weight - tl.load(centroids))
    for k in range(1, count):
        closest = tl.minimum(closest, tl.abs(weight - tl.load(centroids + k)))
    return closest


@triton.jit
def share_of(weight, centroid, closest, tau):
    """Return the attention of weights to a centroid, as a multiple of that to the nearest one."""
    return tl.exp((closest - tl.abs(weight - centroid)) / tau)


@triton.jit
def sum_attention(
    kept,
    sums,
    totals,
    chunks,
    sizes,
    constants,
    controls,
    centroids,
    resting,
    ITERATION,
    LEVELS,
    WIDTH,
    CHUNK: tl.constexpr,
):
    """Sum the attention of one chunk of weights to each centroid, and the weights by their attention.

    Args:
        kept: (n,), float32: the weights of all layers one after the other.
        sums: (chunks, WIDTH), float64: of the weights.
        totals: (chunks, WIDTH), float64: of the attention.
        chunks: (chunks, 3), int64: layer, first weight in the layer, first weight in `kept`.
        sizes: (layers, 3), int64: weights, first level, levels.
        constants: (layers, CONSTANTS), float64; the unit is that of the temperature.
        controls: (CONTROLS,), float32.
        centroids: (iterations + 1, LEVELS), float32: of all layers, before each iteration.
        resting: (layers,), int32: whether the iterations of a layer are over; read from the second iteration on.
        ITERATION: number of the iteration, from 0.
        LEVELS: levels of all layers together.
        WIDTH: row length of `sums` and `totals`.
        CHUNK: weights in a chunk.
    """
    chunk, layer, _, among_all, inside, first, count = place_of_chunk(chunks, sizes, CHUNK)
    if (ITERATION == 0) | (tl.load(resting + layer) == 0):
        weight = tl.load(kept + among_all, mask=inside, other=0.0)
        tau = temperature_of(constants, controls, layer)
        centroids += ITERATION * LEVELS + first
        closest = closest_distance(weight, centroids, count)
        total = tl.zeros([CHUNK], tl.float32)
        for k in range(count):
            total += share_of(weight, tl.load(centroids + k), closest, tau)
        for k in range(count):
            attention = tl.where(inside, share_of(weight, tl.load(centroids + k), closest, tau) / total, 0.0)
            tl.store(sums + chunk * WIDTH + k, tl.sum((weight * attention).to(tl.float64), 0))
            tl.store(totals + chunk * WIDTH + k, tl.sum(attention.to(tl.float64), 0))


@triton.jit
def move_centroids(
    sums,
    totals,
    firsts,
    sizes,
    constants,
    centroids,
    attention,
    state,
    performed,
    resting,
    ITERATION,
    TOLERANCE,
    LEVELS,
    WIDTH,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Move the centroids of one layer to the means of its weights; without attention, a centroid stays.

    Args:
        sums: as for `sum_attention`.
        totals: as for `sum_attention`.
        firsts: (layers + 1,), int64: first chunk of each layer.
        sizes: as for `sum_attention`.
        constants: as for `sum_attention`.
        centroids: as for `sum_attention`; the row after the iteration's is written.
        attention: (iterations, LEVELS), float32: total attention to each centroid; the iteration's row is written.
        state: (LEVELS,), float32: the new centroids in order; written.
        performed: (layers,), int32: number of iterations; written.
        resting: (layers,), int32: whether no centroid has moved far; written.
        ITERATION: as for `sum_attention`.
        TOLERANCE: greatest move of a centroid that rests, as a multiple of the constants' unit.
        LEVELS: as for `sum_attention`.
        WIDTH: as for `sum_attention`.
        ROWS: chunks added at once.
        BLOCK: levels handled at once.
    """
    layer, first, count, begin, end = place_of_layer(firsts, sizes)
    if (ITERATION == 0) | (tl.load(resting + layer) == 0):
        before = centroids + ITERATION * LEVELS + first
        after = before + LEVELS
        farthest = tl.zeros([BLOCK], tl.float32)
        for start in range(0, count, BLOCK):
            k = start + tl.arange(0, BLOCK)
            inside = k < count
            total = sums_of_levels(totals, begin, end, k, inside, WIDTH, ROWS, BLOCK)
            centroid = tl.load(before + k, mask=inside, other=0.0)
            mean = sums_of_levels(sums, begin, end, k, inside, WIDTH, ROWS, BLOCK) / tl.where(total > 0, total, 1.0)
            mean = tl.where(total > 0, mean, centroid.to(tl.float64)).to(tl.float32)
            farthest = tl.maximum(farthest, tl.where(inside, tl.abs(mean - centroid), 0.0))
            tl.store(after + k, mean, mask=inside)
            tl.store(attention + ITERATION * LEVELS + first + k, total.to(tl.float32), mask=inside)
        # All threads of the program see the new centroids.
        tl.debug_barrier()
        for start in range(0, count, BLOCK):
            k = start + tl.arange(0, BLOCK)
            inside = k < count
            mean = tl.load(after + k, mask=inside, other=0.0)
            rank = tl.zeros([BLOCK], tl.int32)
            for j in range(count):
                other = tl.load(after + j)
                rank += ((other < mean) | ((other == mean) & (j < k))).to(tl.int32)
            tl.store(state + first + rank, mean, mask=inside)
        tolerance = TOLERANCE * tl.load(constants + layer * _CONSTANTS + _UNIT)
        tl.store(resting + layer, (tl.max(farthest, 0).to(tl.float64) <= tolerance).to(tl.int32))
        tl.store(performed + layer, ITERATION + 1)


@triton.jit
def cluster_weights(
    addresses,
    kept,
    chunks,
    sizes,
    constants,
    controls,
    centroids,
    performed,
    LEVELS,
    CHUNK: tl.constexpr,
):
    """Write the soft-clustered weights of one chunk into the network.

    Args:
        addresses: (layers,), int64: where each layer's float32 weights lie in the network.
        kept: as for `sum_attention`.
        chunks: as for `sum_attention`.
        sizes: as for `sum_attention`.
        constants: as for `sum_attention`.
        controls: as for `sum_attention`.
        centroids: as for `sum_attention`.
        performed: as for `move_centroids`.
        LEVELS: as for `sum_attention`.
        CHUNK: weights in a chunk.
    """
    _, layer, at, among_all, inside, first, count = place_of_chunk(chunks, sizes, CHUNK)
    weight = tl.load(kept + among_all, mask=inside, other=0.0)
    tau = temperature_of(constants, controls, layer)
    centroids += (tl.load(performed + layer) - 1) * LEVELS + first
    means = centroids + LEVELS
    closest = closest_distance(weight, centroids, count)
    total = tl.zeros([CHUNK], tl.float32)
    clustered = tl.zeros([CHUNK], tl.float32)
    for k in range(count):
        share = share_of(weight, tl.load(centroids + k), closest, tau)
        total += share
        clustered += share * tl.load(means + k)
    tl.store(tl.load(addresses + layer).to(tl.pointer_type(tl.float32)) + at, clustered / total, mask=inside)


@triton.jit
def pass_attention(
    kept,
    gradient,
    sums,
    totals,
    chunks,
    sizes,
    constants,
    controls,
    centroids,
    attention,
    by_means,
    performed,
    ITERATION,
    LEVELS,
    WIDTH,
    OUTPUT: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Pass the gradient of one chunk through the attention of its weights to the centroids of an iteration.

    The formulas are those of `SoftClusters.chain`.

    Args:
        kept: as for `sum_attention`.
        gradient: (n,), float32; changed in place.
        sums: (chunks, WIDTH), float64: gradients of the means, written with OUTPUT.
        totals: (chunks, WIDTH), float64: gradients of the centroids; written.
        chunks: as for `sum_attention`.
        sizes: as for `sum_attention`.
        constants: as for `sum_attention`.
        controls: as for `sum_attention`.
        centroids: as for `sum_attention`.
        attention: as for `move_centroids`.
        by_means: (LEVELS,), float32: gradients of the means of this iteration; unused with OUTPUT.
        performed: as for `move_centroids`.
        ITERATION: as for `sum_attention`; unused with OUTPUT, which stands for the last one.
        LEVELS: as for `sum_attention`.
        WIDTH: as for `sum_attention`.
        OUTPUT: whether the gradient is that of the clustered weights, from which it begins; otherwise that of an
            iteration's means is added to it.
        CHUNK: weights in a chunk.
    """
    chunk, layer, _, among_all, inside, first, count = place_of_chunk(chunks, sizes, CHUNK)
    last = tl.load(performed + layer) - 1
    iteration = last if OUTPUT else tl.zeros_like(last) + ITERATION
    if iteration <= last:
        weight = tl.load(kept + among_all, mask=inside, other=0.0)
        grad = tl.load(gradient + among_all, mask=inside, other=0.0)
        tau = temperature_of(constants, controls, layer)
        row = iteration * LEVELS + first
        centroids += row
        means = centroids + LEVELS
        closest = closest_distance(weight, centroids, count)
        total = tl.zeros([CHUNK], tl.float32)
        pulled = tl.zeros([CHUNK], tl.float32)
        direct = tl.zeros([CHUNK], tl.float32)
        for k in range(count):
            share = share_of(weight, tl.load(centroids + k), closest, tau)
            total += share
            mean = tl.load(means + k)
            if OUTPUT:
                pulled += share * (grad * mean)
            else:
                amount = tl.load(attention + row + k)
                by_sum = tl.where(amount > 0, tl.load(by_means + first + k) / tl.where(amount > 0, amount, 1.0), 0.0)
                pulled += share * ((weight - mean) * by_sum)
                direct += share * by_sum
        pulled = pulled / total
        result = direct if OUTPUT else grad + direct / total
        for k in range(count):
            centroid = tl.load(centroids + k)
            own = share_of(weight, centroid, closest, tau) / total
            mean = tl.load(means + k)
            if OUTPUT:
                by_attention = grad * mean
                tl.store(sums + chunk * WIDTH + k, tl.sum(tl.where(inside, grad * own, 0.0).to(tl.float64), 0))
            else:
                amount = tl.load(attention + row + k)
                by_sum = tl.where(amount > 0, tl.load(by_means + first + k) / tl.where(amount > 0, amount, 1.0), 0.0)
                by_attention = (weight - mean) * by_sum
            side = tl.where(weight > centroid, 1.0, tl.where(weight < centroid, -1.0, 0.0))
            by_offset = (by_attention - pulled) * own / -tau * side
            result += by_offset
            tl.store(totals + chunk * WIDTH + k, -tl.sum(tl.where(inside, by_offset, 0.0).to(tl.float64), 0))
        tl.store(gradient + among_all, result, mask=inside)


@triton.jit
def sum_passed(
    sums,
    totals,
    firsts,
    sizes,
    by_means,
    carried,
    performed,
    ITERATION,
    WIDTH,
    OUTPUT: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Add up the gradients of one layer's centroids, which were the means of the iteration before.

    Args:
        sums: as for `pass_attention`.
        totals: as for `pass_attention`.
        firsts: as for `move_centroids`.
        sizes: as for `sum_attention`.
        by_means: (LEVELS,), float32; written.
        carried: (LEVELS,), float32: what the clustered weights contribute to the last iteration's centroids; written
            with OUTPUT, and added to that iteration's own.
        performed: as for `move_centroids`.
        ITERATION: as for `pass_attention`.
        WIDTH: as for `sum_attention`.
        OUTPUT: as for `pass_attention`.
        ROWS: chunks added at once.
        BLOCK: levels handled at once.
    """
    layer, first, count, begin, end = place_of_layer(firsts, sizes)
    last = tl.load(performed + layer) - 1
    if OUTPUT | (last >= ITERATION):
        for start in range(0, count, BLOCK):
            k = start + tl.arange(0, BLOCK)
            inside = k < count
            by_centroids = sums_of_levels(totals, begin, end, k, inside, WIDTH, ROWS, BLOCK).to(tl.float32)
            if OUTPUT:
                means = sums_of_levels(sums, begin, end, k, inside, WIDTH, ROWS, BLOCK)
                tl.store(by_means + first + k, means.to(tl.float32), mask=inside)
                tl.store(carried + first + k, by_centroids, mask=inside)
            else:
                before = tl.where(last == ITERATION, tl.load(carried + first + k, mask=inside, other=0.0), 0.0)
                tl.store(by_means + first + k, by_centroids + before, mask=inside)
