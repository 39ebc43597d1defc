"""Places of a program's chunk or layer in the tables of `trainables.fused.layout`, which all kernels read."""

import triton
import triton.language as tl


@triton.jit
def place_of_chunk(chunks, sizes, CHUNK: tl.constexpr):
    """Return a program's chunk, its layer, its places in the layer and among all weights, and which of them are real.

    Last come the first level of the layer and its number of levels.
    """
    chunk = tl.program_id(0).to(tl.int64)
    layer = tl.load(chunks + 3 * chunk)
    at = tl.load(chunks + 3 * chunk + 1) + tl.arange(0, CHUNK)
    among_all = tl.load(chunks + 3 * chunk + 2) + tl.arange(0, CHUNK)
    inside = at < tl.load(sizes + 3 * layer)
    first = tl.load(sizes + 3 * layer + 1)
    count = tl.load(sizes + 3 * layer + 2).to(tl.int32)
    return chunk, layer, at, among_all, inside, first, count


@triton.jit
def place_of_layer(firsts, sizes):
    """Return a program's layer, its first level and number of levels, and its first chunk and that of the next one."""
    layer = tl.program_id(0)
    first = tl.load(sizes + 3 * layer + 1)
    count = tl.load(sizes + 3 * layer + 2).to(tl.int32)
    return layer, first, count, tl.load(firsts + layer), tl.load(firsts + layer + 1)
