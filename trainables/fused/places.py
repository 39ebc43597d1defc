"""Places of a program's chunk in the tables of `trainables.fused.layout`, and the last program of a layer."""

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
def place_in(tensors, layer):
    """Return where the float32 tensor of a layer begins; `tensors` is a tuple with one for each layer."""
    address = tensors[0].to(tl.int64)
    for other in tl.static_range(1, len(tensors)):
        address = tl.where(layer == other, tensors[other].to(tl.int64), address)
    return address.to(tl.pointer_type(tl.float32))


@triton.jit
def is_last_of_layer(arrived, firsts, layer):
    """Count a program that has stored its part of a layer, and return whether it is the last one.

    Each program of the layer calls this once in a launch. The last one sees what all of them have stored, and may
    overwrite what they have read before. No program waits for another, and the count begins anew for the next launch.

    Args:
        arrived: (layers,), int32: 0 before the launch and after it.
        firsts: (layers + 1,), int64: first chunk of each layer, of which each has a program.
        layer: of the program.
    """
    # All threads of the program have stored before one of them counts it.
    tl.debug_barrier()
    before = tl.atomic_add(arrived + layer, 1, sem="acq_rel", scope="gpu")
    is_last = before == tl.load(firsts + layer + 1) - tl.load(firsts + layer) - 1
    if is_last:
        tl.store(arrived + layer, 0)
    return is_last
