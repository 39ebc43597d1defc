"""Flat views of tensors, and chunks of them that stay in a CPU's cache.

A few element-wise passes over a chunk run from the second-level cache. Over a whole layer, each pass would go through
memory, and each intermediate result would cost page faults.
"""

from collections.abc import Iterator

from torch import Tensor

from trainables.shapes import Float

CPU_CHUNK = 1 << 17
"""Weights in a chunk on a CPU. Other devices take a whole layer as one chunk."""


def chunks(*tensors: Float[Tensor, " n"]) -> Iterator[tuple[Tensor, ...]]:
    """Iterate over flat tensors of equal length in step.

    Args:
        tensors: (n,) each, all on one device.

    Yields:
        One view of each tensor, (m,) with m ≤ `CPU_CHUNK` on a CPU, in order.
    """
    length = CPU_CHUNK if tensors[0].device.type == "cpu" else max(1, len(tensors[0]))
    return zip(*(tensor.split(length) for tensor in tensors), strict=True)


def flat(tensor: Tensor) -> Tensor:
    """Return a view of a dense tensor as (n,), in the order of its memory, whether channels-last or not."""
    return tensor.as_strided((tensor.numel(),), (1,))
