"""Measurement of a network: its accuracy, and the bits and the error of its hard-quantized weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import nn

from trainables.codebooks.assignment import Codebook
from trainables.codebooks.bits import NetworkBits, network_bits
from trainables.data.batches import Split


class HardQuantized(NamedTuple):
    """The network as quantized for an evaluation.

    Attributes:
        bits: what it costs.
        error: ‖w − Q(w)‖² / ‖w‖² over all quantized weights; None where they lie on their representatives anyway.
    """

    bits: NetworkBits
    error: float | None


@contextmanager
def hard_quantized(
    model: nn.Module,
    weights: Mapping[str, nn.Parameter],
    codebooks: Mapping[str, Codebook],
    coding: str,
    *,
    replace: bool,
) -> Iterator[HardQuantized]:
    """Let the network hold its hard-quantized weights for the time of the block, and measure what they cost.

    Args:
        model: the network.
        weights: its quantized weights by name, those of `codebooks` among them.
        codebooks: representatives, (K,), and assignment of each quantized weight.
        coding: key of `trainables.codebooks.bits.CODES`.
        replace: whether weights are replaced by their representatives, which they are not yet.
    """
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()} if replace else {}
    counts = {}
    error = energy = 0.0
    for name, (representatives, assignment) in codebooks.items():
        levels = assignment.flatten()
        counts[name] = torch.bincount(levels, minlength=len(representatives)).tolist()
        if replace:
            weight = weights[name].data
            quantized = representatives.index_select(0, levels).view(assignment.shape).to(weight.dtype)
            error += (weight - quantized).square().sum(dtype=torch.float64).item()
            energy += weight.square().sum(dtype=torch.float64).item()
            weight.copy_(quantized)
    bits = network_bits(model, counts, coding)
    try:
        yield HardQuantized(bits, error / (energy or 1.0) if replace else None)
    finally:
        if replace:
            model.load_state_dict(before)


@torch.no_grad()
def accuracy(model: nn.Module, split: Split, batch_size: int = 1000) -> float:
    """Share of a split's images that the network, in evaluation mode, classifies correctly, in [0, 1]."""
    model.eval()
    correct = sum((model(images).argmax(1) == labels).sum() for images, labels in split.batches(batch_size))
    return int(correct) / len(split)
