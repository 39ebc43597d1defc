"""Assignment of weights to representatives."""

import torch
from torch import Tensor

from trainables.shapes import Float, Int

Codebook = tuple[Tensor, Tensor]
"""Representatives, (K,), and levels, int32 in the shape of the weight, of one quantized weight."""


def assign(weights: Float[Tensor, "*shape"], representatives: Float[Tensor, " k"]) -> Int[Tensor, "*shape"]:
    """Return the level of the representative nearest to each weight; the lower level on a tie.

    Args:
        weights: any shape, finite.
        representatives: (K,) in increasing order.

    Returns:
        Levels in [0, K), int32, in the shape of `weights`.

    Source: the midpoints of a sorted one-dimensional codebook bound its Voronoi cells (Lloyd, 1982, Sec. II).
    """
    # Sorted midpoints take O(n log K) time and O(n) memory. An n × K table of VGG16 would not fit into memory.
    boundaries = (representatives[1:] + representatives[:-1]) / 2
    return torch.bucketize(weights.contiguous(), boundaries, out_int32=True)
