"""Kernels of one program, which run a formula of `trainables.fused.slopes` by itself."""

import triton
import triton.language as tl

from trainables.fused.slopes import cheapest_level, cosine, felt_on_each_side, nearest_level, store_cells


@triton.jit
def run_felt_on_each_side(result, values, count, falloff, block: tl.constexpr):
    tl.store(result, felt_on_each_side(values, 0, count, falloff, block))


@triton.jit
def run_store_cells(
    starts,
    costs,
    values,
    counts,
    weights,
    levels,
    ends,
    count,
    size,
    cost_of_bit,
    squared: tl.constexpr,
    padded_levels: tl.constexpr,
    size_of_all: tl.constexpr,
):
    store_cells(starts, costs, values, counts, tl.load(size), count, tl.load(cost_of_bit), squared, padded_levels)
    tl.debug_barrier()
    at = tl.arange(0, size_of_all)
    level, _, at_end = cheapest_level(tl.load(weights + at), values, starts, 0, count)
    tl.store(levels + at, level)
    tl.store(ends + at, at_end.to(tl.int32))


@triton.jit
def run_cosine(result, angles, size: tl.constexpr):
    at = tl.arange(0, size)
    tl.store(result + at, cosine(tl.load(angles + at)))


@triton.jit
def run_nearest_level(levels, nearest, ends, weights, values, count, digits: tl.constexpr, size: tl.constexpr):
    at = tl.arange(0, size)
    level, value, at_end = nearest_level(tl.load(weights + at), values, 0, count, digits)
    tl.store(levels + at, level)
    tl.store(nearest + at, value)
    tl.store(ends + at, at_end.to(tl.int32))
