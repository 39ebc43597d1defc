"""Places of a program's chunk in the tables of `trainables.fused.layout`, and the last program of a layer."""

import triton
import triton.language as tl

from trainables.fused.layout import CONSTANTS

_CONSTANTS = tl.constexpr(CONSTANTS)


@triton.jit
def size_of_layer(tables, layer):
    """Return the number of a layer's weights, its first level and its number of levels; see `Layout.tables`."""
    _, _, sizes, _ = tables
    row = sizes + 3 * layer
    return tl.load(row), tl.load(row + 1), tl.load(row + 2).to(tl.int32)


@triton.jit
def chunks_of_layer(tables, layer):
    """Return the first chunk of a layer, and that of the next one; see `Layout.tables`."""
    _, firsts, _, _ = tables
    return tl.load(firsts + layer), tl.load(firsts + layer + 1)


@triton.jit
def constants_of_layer(tables, layer):
    """Return where the constants of a layer are; see `Layout.tables`."""
    _, _, _, constants = tables
    return constants + layer * _CONSTANTS


@triton.jit
def begin_of_chunk(tables):
    """Return a program's chunk, its layer, and the place of its first weight in the layer and among all weights.

    The first programs take the last chunks. The first layers of a network are small, and their last programs, which
    train the representatives when all others are done, have few sums to add up.
    """
    chunks, _, _, _ = tables
    chunk = (tl.num_programs(0) - 1 - tl.program_id(0)).to(tl.int64)
    row = chunks + 3 * chunk
    return chunk, tl.load(row), tl.load(row + 1), tl.load(row + 2)


@triton.jit
def place_of_chunk(tables, CHUNK: tl.constexpr):
    """Locate a program's chunk of weights.

    Returns:
        The chunk; its layer; the weights' positions in the layer, and among all weights, both (CHUNK,); the mask of
        positions that exist, (CHUNK,); the layer's first level; its number of levels.
    """
    chunk, layer, begin, begin_among_all = begin_of_chunk(tables)
    at = begin + tl.arange(0, CHUNK)
    size, first, count = size_of_layer(tables, layer)
    return chunk, layer, at, begin_among_all + tl.arange(0, CHUNK), at < size, first, count


@triton.jit
def weights_of_layer(addresses, layer):
    """Return where the float32 weights of a layer begin; `addresses`, (layers,), int64, says it for each layer."""
    return tl.load(addresses + layer).to(tl.pointer_type(tl.float32))


@triton.jit
def place_in(tensors, layer):
    """Return where the float32 tensor of a layer begins; `tensors` is a tuple with one for each layer."""
    address = tensors[0].to(tl.int64)
    for other in tl.static_range(1, len(tensors)):
        address = tl.where(layer == other, tensors[other].to(tl.int64), address)
    return address.to(tl.pointer_type(tl.float32))


@triton.jit
def is_last_of_layer(arrived, tables, layer):
    """Count a program that has stored its part of a layer, and return whether it is the last one.

    Each program of the layer calls this once in a launch. The last one sees what all of them have stored, and may
    overwrite what they have read before. No program waits for another, and the count begins anew for the next launch.

    Args:
        arrived: (layers,), int32: 0 before the launch and after it.
        tables: those of `Layout`; each chunk of the layer has a program.
        layer: of the program.
    """
    # All threads of the program have stored before one of them counts it.
    tl.debug_barrier()
    before = tl.atomic_add(arrived + layer, 1, sem="acq_rel", scope="gpu")
    begin, end = chunks_of_layer(tables, layer)
    is_last = before == end - begin - 1
    if is_last:
        tl.store(arrived + layer, 0)
    return is_last
