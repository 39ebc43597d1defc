"""Allocation of bits: K for each layer from the measured cost of quantizing it, for a number of bits in all.

The layers' costs are added, as if they were independent. Then the least cost at a multiplier μ, Σ (loss + μ · bytes),
is found for each layer by itself, and its solutions for all μ are the corners of the lower convex hull of the layer's
(bytes, loss). As μ falls from infinity, one layer after another takes its next corner, in the order of the slopes: no
bisection on μ is needed. Every allocation on that way is optimal for the bytes that it has.

Sources of the approach: Yao et al., "HAWQ-V3", arXiv 2011.10680, Sec. 3.4 (an integer program over costs by layer);
NVIDIA ModelOpt's `auto_quantize` (a search over scores by layer within a number of effective bits). The Lagrangian is
Shoham and Gersho, "Efficient bit allocation for an arbitrary set of quantizers", IEEE TASSP 36(9), 1988.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A value of K for one layer.

    Attributes:
        num_levels: K.
        num_bytes: size of the layer in the file, with its codebook and code table.
        loss: validation loss of the network in which only this layer is quantized, nats.
    """

    num_levels: int
    num_bytes: int
    loss: float


def hull(choices: Sequence[Choice]) -> list[Choice]:
    """Return the choices on the lower convex hull of (bytes, loss), by increasing bytes and falling loss."""
    corners: list[Choice] = []
    for choice in sorted(choices, key=lambda one: (one.num_bytes, one.loss, one.num_levels)):
        if corners and choice.loss >= corners[-1].loss:
            continue  # neither smaller nor better than the one before
        while len(corners) > 1 and gain(corners[-2], corners[-1]) <= gain(corners[-2], choice):
            corners.pop()
        corners.append(choice)
    return corners


def gain(low: Choice, high: Choice) -> float:
    """Return the loss that is saved for each byte by a step from one choice to a larger one."""
    return (low.loss - high.loss) / (high.num_bytes - low.num_bytes)


def allocate(choices: Mapping[str, Sequence[Choice]], budget: float) -> dict[str, Choice]:
    """Return a choice for each layer with little loss in all, and at most `budget` bytes if that is possible.

    Steps along the layers' hulls are taken in the order of their gain, the first layer first where gains are equal. A
    step that no longer fits ends its layer's way; smaller steps of other layers go on. Below the bytes of the smallest
    choices, these are returned.

    Args:
        choices: choices of each layer, at least one.
        budget: bytes of all layers together.
    """
    corners = {layer: hull(options) for layer, options in choices.items()}
    chosen = {layer: options[0] for layer, options in corners.items()}
    left = budget - sum(choice.num_bytes for choice in chosen.values())
    steps = [(layer, low, high) for layer, options in corners.items() for low, high in pairwise(options)]
    ended: set[str] = set()
    for layer, low, high in sorted(steps, key=lambda step: -gain(step[1], step[2])):
        more = high.num_bytes - low.num_bytes
        if layer in ended or more > left:
            ended.add(layer)
            continue
        chosen[layer] = high
        left -= more
    return chosen
