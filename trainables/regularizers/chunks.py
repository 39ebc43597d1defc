"""Work on long flat tensors in pieces that stay in the cache.

A handful of element-wise passes over a piece of this size run from the second-level cache; over a whole layer each
pass would go through memory, and each intermediate result would cost page faults.
"""

from collections.abc import Iterator

from torch import Tensor

from trainables.shapes import Float

CPU_PIECE = 1 << 17
"""Weights in a piece on a CPU. Other devices take a layer whole."""


def pieces(*tensors: Float[Tensor, " n"]) -> Iterator[tuple[Tensor, ...]]:
    """Walks along flat tensors of equal length together, piece by piece; the pieces are views."""
    length = CPU_PIECE if tensors[0].device.type == "cpu" else max(1, len(tensors[0]))
    return zip(*(tensor.split(length) for tensor in tensors), strict=True)


def flat(tensor: Tensor) -> Tensor:
    """All entries of a dense tensor in the order in which they lie in memory, channels-last or not: a view."""
    return tensor.as_strided((tensor.numel(),), (1,))
