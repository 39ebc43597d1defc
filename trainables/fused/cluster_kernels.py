"""Triton kernels of DKM: soft k-means of the weights of all layers, and its gradient.

Programs, tables and sums are as in `trainables.fused.kernels`. The last program of a layer adds up what all of them
have summed. A layer whose centroids have converged takes no part in the iterations that are left, and the host need not
know which layers these are.
"""

import triton
import triton.language as tl

from trainables.fused.layout import TEMPERATURE, UNIT
from trainables.fused.places import (
    chunks_of_layer,
    constants_of_layer,
    is_last_of_layer,
    place_in,
    place_of_chunk,
    weights_of_layer,
)
from trainables.fused.slopes import LOG2_E, sign_of
from trainables.fused.training_kernels import ranks_of, sums_of_levels

_UNIT, _TEMPERATURE = tl.constexpr(UNIT), tl.constexpr(TEMPERATURE)


@triton.jit
def temperature_of(tables, controls, layer):
    """Return a layer's temperature, float32."""
    unit = tl.load(constants_of_layer(tables, layer) + _UNIT)
    return (tl.load(controls + _TEMPERATURE) * unit).to(tl.float32)


@triton.jit
def closest_distance(weight, centroids, count):
    """Return the distance of each weight from its nearest centroid."""
    closest = tl.abs(weight - tl.load(centroids))
    for k in range(1, count):
        closest = tl.minimum(closest, tl.abs(weight - tl.load(centroids + k)))
    return closest


@triton.jit
def share_of(weight, centroid, closest, falloff):
    """Return the attention of weights to a centroid, as a multiple of that to the nearest one.

    It is 2^(−falloff·(d − d_nearest)) at a distance d: the temperature is log2(e)/falloff.
    """
    return tl.exp2((closest - tl.abs(weight - centroid)) * falloff)


@triton.jit
def move_centroids(
    addresses,
    kept,
    sums,
    totals,
    tables,
    controls,
    centroids,
    attention,
    state,
    performed,
    converged,
    arrived,
    iteration,
    tolerance,
    all_levels,
    width,
    KEEP: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Move the centroids of all layers to the means of the weights by their attention.

    Args:
        addresses: (layers,), int64: where each layer's float32 weights lie in the network; read with KEEP.
        kept: (n,), float32: the weights of all layers one after the other; written with KEEP.
        sums: (chunks, width), float64: of the weights by their attention; overwritten.
        totals: (chunks, width), float64: of the attention; overwritten.
        tables: those of `Layout`; the unit of the constants is that of the temperature.
        controls: (CONTROLS,), float32.
        centroids: (iterations + 1, all_levels), float32: row i holds all layers' centroids before iteration i. Row
            iteration + 1 is written; with KEEP, row `iteration` too, from `state`.
        attention: (iterations, all_levels), float32: total attention to each centroid; the iteration's row is written.
        state: (all_levels,), float32: overwritten by the new centroids, sorted. With KEEP, it holds the initial ones.
        performed: (layers,), int32: number of iterations; written.
        converged: (layers,), int32: whether the centroids have converged; written, and read without KEEP.
        arrived: as for `is_last_of_layer`.
        iteration: number of the iteration, from 0.
        tolerance: largest move of a converged centroid, as a multiple of the constants' unit.
        all_levels: levels of all layers together.
        width: row length of `sums` and `totals`.
        KEEP: whether the iteration is the first, which keeps the weights aside.
        ROWS: chunks added at once.
        BLOCK: levels handled at once.
        CHUNK: weights in a chunk.
    """
    chunk, layer, at, among_all, inside, first, count = place_of_chunk(tables, CHUNK)
    if KEEP | (tl.load(converged + layer) == 0):
        if KEEP:
            weight = tl.load(weights_of_layer(addresses, layer) + at, mask=inside, other=0.0)
            tl.store(kept + among_all, weight, mask=inside)
            before = state + first
        else:
            weight = tl.load(kept + among_all, mask=inside, other=0.0)
            before = centroids + iteration * all_levels + first
        falloff = LOG2_E / temperature_of(tables, controls, layer)
        closest = closest_distance(weight, before, count)
        total = tl.zeros([CHUNK], tl.float32)
        for k in range(count):
            total += share_of(weight, tl.load(before + k), closest, falloff)
        for k in range(count):
            own = tl.where(inside, share_of(weight, tl.load(before + k), closest, falloff) / total, 0.0)
            tl.store(sums + chunk * width + k, tl.sum(weight * own, 0).to(tl.float64))
            tl.store(totals + chunk * width + k, tl.sum(own, 0).to(tl.float64))
        if is_last_of_layer(arrived, tables, layer):
            begin, end = chunks_of_layer(tables, layer)
            row = centroids + iteration * all_levels + first
            after = row + all_levels
            farthest = tl.zeros([BLOCK], tl.float32)
            for start in range(0, count, BLOCK):
                block = start + tl.arange(0, BLOCK)
                real = block < count
                total_of_level = sums_of_levels(totals, begin, end, block, real, width, ROWS, BLOCK)
                sum_of_level = sums_of_levels(sums, begin, end, block, real, width, ROWS, BLOCK)
                centroid = tl.load(before + block, mask=real, other=0.0)
                mean = sum_of_level / tl.where(total_of_level > 0, total_of_level, 1.0)
                # Without attention, a centroid stays.
                mean = tl.where(total_of_level > 0, mean, centroid.to(tl.float64)).to(tl.float32)
                farthest = tl.maximum(farthest, tl.where(real, tl.abs(mean - centroid), 0.0))
                if KEEP:
                    tl.store(row + block, centroid, mask=real)
                tl.store(after + block, mean, mask=real)
                tl.store(attention + iteration * all_levels + first + block, total_of_level.to(tl.float32), mask=real)
            # All threads of the program see the new centroids.
            tl.debug_barrier()
            for start in range(0, count, BLOCK):
                block = start + tl.arange(0, BLOCK)
                real = block < count
                mean = tl.load(after + block, mask=real, other=0.0)
                tl.store(state + first + ranks_of(after, mean, block, count), mean, mask=real)
            farthest_allowed = tolerance * tl.load(constants_of_layer(tables, layer) + _UNIT)
            tl.store(converged + layer, (tl.max(farthest, 0).to(tl.float64) <= farthest_allowed).to(tl.int32))
            tl.store(performed + layer, iteration + 1)


@triton.jit
def cluster_weights(
    addresses,
    kept,
    tables,
    controls,
    centroids,
    performed,
    all_levels,
    CHUNK: tl.constexpr,
):
    """Write the soft-clustered weights of one chunk into the network.

    Args:
        addresses: (layers,), int64: where each layer's float32 weights lie in the network.
        kept: as for `move_centroids`.
        tables: those of `Layout`.
        controls: as for `move_centroids`.
        centroids: as for `move_centroids`.
        performed: as for `move_centroids`.
        all_levels: as for `move_centroids`.
        CHUNK: weights in a chunk.
    """
    _, layer, at, among_all, inside, first, count = place_of_chunk(tables, CHUNK)
    weight = tl.load(kept + among_all, mask=inside, other=0.0)
    falloff = LOG2_E / temperature_of(tables, controls, layer)
    centroids += (tl.load(performed + layer) - 1) * all_levels + first
    means = centroids + all_levels
    closest = closest_distance(weight, centroids, count)
    total = tl.zeros([CHUNK], tl.float32)
    clustered = tl.zeros([CHUNK], tl.float32)
    for k in range(count):
        share = share_of(weight, tl.load(centroids + k), closest, falloff)
        total += share
        clustered += share * tl.load(means + k)
    tl.store(weights_of_layer(addresses, layer) + at, clustered / total, mask=inside)


@triton.jit
def pass_attention(
    addresses,
    gradients,
    kept,
    gradient,
    sums,
    totals,
    tables,
    controls,
    centroids,
    attention,
    by_means,
    carried,
    performed,
    arrived,
    iteration,
    all_levels,
    width,
    STAGE: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Pass the gradient of all weights through their attention to the centroids of an iteration.

    The formulas are those of `SoftClusters.chain`.

    Args:
        addresses: as for `move_centroids`; with "first", the weights are put back there.
        gradients: a tensor for each layer, float32: read with "output", and written with "first".
        kept: as for `move_centroids`.
        gradient: (n,), float32: of the weights, accumulated so far; written by every stage but "first".
        sums: (chunks, width), float64: gradients of the means; overwritten with "output".
        totals: (chunks, width), float64: gradients of the centroids; not written with "first".
        tables: those of `Layout`.
        controls: as for `move_centroids`.
        centroids: as for `move_centroids`.
        attention: as for `move_centroids`.
        by_means: (all_levels,), float32: gradients of the means of the iteration; those of the iteration before are
            written in their place.
        carried: (all_levels,), float32: what the clustered weights contribute to the last iteration's centroids;
            written with "output", and added to that iteration's own.
        performed: as for `move_centroids`.
        arrived: as for `is_last_of_layer`.
        iteration: as for `move_centroids`; unused with "output", which stands for the last one.
        all_levels: as for `move_centroids`.
        width: as for `move_centroids`.
        STAGE: part of the backward pass, in the order of the launches. "output" starts from the gradient of the
            clustered weights. "middle" passes it through one iteration, from the last down to 1. "first" passes it
            through iteration 0, writes the result to `gradients`, and puts the weights back.
        ROWS: as for `move_centroids`.
        BLOCK: as for `move_centroids`.
        CHUNK: as for `move_centroids`.
    """
    chunk, layer, at, among_all, inside, first, count = place_of_chunk(tables, CHUNK)
    last = tl.load(performed + layer) - 1
    iteration = last if STAGE == "output" else tl.zeros_like(last) + iteration
    if iteration <= last:
        weight = tl.load(kept + among_all, mask=inside, other=0.0)
        if STAGE == "output":
            grad = tl.load(place_in(gradients, layer) + at, mask=inside, other=0.0)
        else:
            grad = tl.load(gradient + among_all, mask=inside, other=0.0)
        tau = temperature_of(tables, controls, layer)
        falloff = LOG2_E / tau
        row = iteration * all_levels + first
        centroids += row
        means = centroids + all_levels
        closest = closest_distance(weight, centroids, count)
        total = tl.zeros([CHUNK], tl.float32)
        pulled = tl.zeros([CHUNK], tl.float32)
        direct = tl.zeros([CHUNK], tl.float32)
        for k in range(count):
            share = share_of(weight, tl.load(centroids + k), closest, falloff)
            total += share
            mean = tl.load(means + k)
            if STAGE == "output":
                pulled += share * (grad * mean)
            else:
                amount = tl.load(attention + row + k)
                by_sum = tl.where(amount > 0, tl.load(by_means + first + k) / tl.where(amount > 0, amount, 1.0), 0.0)
                pulled += share * ((weight - mean) * by_sum)
                direct += share * by_sum
        pulled = pulled / total
        result = direct if STAGE == "output" else grad + direct / total
        for k in range(count):
            centroid = tl.load(centroids + k)
            own = share_of(weight, centroid, closest, falloff) / total
            mean = tl.load(means + k)
            if STAGE == "output":
                by_attention = grad * mean
                tl.store(sums + chunk * width + k, tl.sum(tl.where(inside, grad * own, 0.0), 0).to(tl.float64))
            else:
                amount = tl.load(attention + row + k)
                by_sum = tl.where(amount > 0, tl.load(by_means + first + k) / tl.where(amount > 0, amount, 1.0), 0.0)
                by_attention = (weight - mean) * by_sum
            side = sign_of(weight - centroid)
            by_offset = (pulled - by_attention) * own * side * (1 / tau)
            result += by_offset
            if STAGE != "first":
                tl.store(totals + chunk * width + k, -tl.sum(tl.where(inside, by_offset, 0.0), 0).to(tl.float64))
        if STAGE == "first":
            tl.store(place_in(gradients, layer) + at, result, mask=inside)
            tl.store(weights_of_layer(addresses, layer) + at, weight, mask=inside)
        else:
            tl.store(gradient + among_all, result, mask=inside)
            if is_last_of_layer(arrived, tables, layer):
                begin, end = chunks_of_layer(tables, layer)
                for start in range(0, count, BLOCK):
                    block = start + tl.arange(0, BLOCK)
                    real = block < count
                    by_centroids = sums_of_levels(totals, begin, end, block, real, width, ROWS, BLOCK).to(tl.float32)
                    if STAGE == "output":
                        passed = sums_of_levels(sums, begin, end, block, real, width, ROWS, BLOCK).to(tl.float32)
                        tl.store(carried + first + block, by_centroids, mask=real)
                    else:
                        before = tl.load(carried + first + block, mask=real, other=0.0)
                        passed = by_centroids + tl.where(last == iteration, before, 0.0)
                    tl.store(by_means + first + block, passed, mask=real)
