"""Sorted chunks of weights, each with only the representatives that are not negligible there, for a large K."""

from collections.abc import Iterator

import torch
from torch import Tensor

from trainables.regularizers.lookup.slope_table import NEGLIGIBLE
from trainables.shapes import Float, Int

EXACT_LEVELS = 1024
"""Largest K at which every weight is compared with all representatives."""

CHUNK = 128
"""Weights in a chunk. Neighbours among the sorted weights share most of their representatives."""


def windows(
    weights: Float[Tensor, " n"], values: Float[Tensor, " k"], tau: float
) -> Iterator[tuple[Int[Tensor, " m"], slice]]:
    """Yield the indices of neighbouring weights, and the slice of representatives that are not negligible to them.

    A representative is negligible if its share in the soft minimum is below exp(−NEGLIGIBLE) of the nearest one's.

    Args:
        weights: (n,), finite, any order.
        values: (K,), the representatives, in increasing order.
        tau: the temperature, in squared units of the weights.
    """
    ordered, order = weights.sort()
    position = torch.searchsorted(values, ordered).clamp_(max=len(values) - 1)
    below = values[(position - 1).clamp_(min=0)]
    nearest = torch.minimum((ordered - values[position]).abs(), (ordered - below).abs())
    radius = (nearest.square() + NEGLIGIBLE * tau).sqrt()
    first = torch.searchsorted(values, ordered - radius)
    last = torch.searchsorted(values, ordered + radius, right=True)
    starts = range(0, len(order), CHUNK)
    lowest = torch.stack([part.amin() for part in first.split(CHUNK)]).tolist()
    highest = torch.stack([part.amax() for part in last.split(CHUNK)]).tolist()
    for start, low, high in zip(starts, lowest, highest, strict=True):
        yield order[start : start + CHUNK], slice(low, high)
