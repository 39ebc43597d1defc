"""Every definition of bits.

A compressed network is, for each quantized layer, a codebook (K float32), a choice of fixed-length or
Huffman-coded levels, whichever is smaller, each stream padded to a whole byte, and for Huffman the code lengths
(one byte a level); and everything else a network needs to run in float32: biases, normalization parameters and
statistics. `payload_bytes` is the size of that, and `bits_per_weight` spreads it over all parameters.
"""

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

FLOAT_BYTES = 4


def index_bits(num_levels: int) -> int:
    """⌈log2 K⌉: bits of a level in a fixed-length code."""
    return (num_levels - 1).bit_length()


def entropy_bits(counts: Sequence[int]) -> float:
    """Shannon entropy of levels that occur `counts` times, in bits a weight: no code of single levels beats it."""
    total = sum(counts)
    return sum(count / total * math.log2(total / count) for count in counts if count)


def huffman_lengths(counts: Sequence[int]) -> list[int]:
    """Code lengths, in bits, of an optimal prefix code; 0 for levels that never occur, 1 for an only one.

    Source: Huffman, "A Method for the Construction of Minimum-Redundancy Codes", 1952.
    """
    heap = [(count, level, [level]) for level, count in enumerate(counts) if count]
    lengths = [0] * len(counts)
    if len(heap) == 1:
        lengths[heap[0][1]] = 1
    heapq.heapify(heap)
    while len(heap) > 1:
        count_a, _, levels_a = heapq.heappop(heap)
        count_b, tie, levels_b = heapq.heappop(heap)
        for level in levels_a + levels_b:
            lengths[level] += 1
        heapq.heappush(heap, (count_a + count_b, tie, levels_a + levels_b))
    return lengths


@dataclass(frozen=True)
class LayerBits:
    """Bytes of one quantized layer whose levels occur `counts` times (length K)."""

    counts: Sequence[int]

    @property
    def num_weights(self) -> int:
        return sum(self.counts)

    @property
    def codebook_bytes(self) -> int:
        return FLOAT_BYTES * len(self.counts)

    @property
    def fixed_bytes(self) -> int:
        """Levels of fixed length, packed."""
        return math.ceil(self.num_weights * index_bits(len(self.counts)) / 8)

    @property
    def huffman_bytes(self) -> int:
        """Code lengths, then the Huffman-coded levels, packed."""
        lengths = huffman_lengths(self.counts)
        stream = sum(count * length for count, length in zip(self.counts, lengths, strict=True))
        return len(self.counts) + math.ceil(stream / 8)

    @property
    def payload_bytes(self) -> int:
        return self.codebook_bytes + min(self.fixed_bytes, self.huffman_bytes)


@dataclass(frozen=True, kw_only=True)
class NetworkBits:
    """Size of a network as a compressed file holds it.

    Attributes:
        payload_bytes: all of it.
        bits_per_weight: 8 × payload_bytes / number of parameters. A network with normalization statistics, which
            are no parameters but must be in the file, has a little more than 32 when nothing is quantized.
        index_bits_per_weight: ⌈log2 K⌉; 32 when nothing is quantized.
        entropy_bits_per_weight: mean over the quantized weights of their layer's entropy; 32 likewise.
    """

    payload_bytes: int
    bits_per_weight: float
    index_bits_per_weight: float
    entropy_bits_per_weight: float


def network_bits(model: nn.Module, level_counts: Mapping[str, Sequence[int]]) -> NetworkBits:
    """Counts a network's bits.

    Args:
        model: for the number of its parameters and of the floats that stay floats.
        level_counts: for each quantized weight tensor, by its name in `state_dict`, how often each of its K
            levels occurs; empty for the float network.
    """
    layers = {name: LayerBits(counts) for name, counts in level_counts.items()}
    rest = sum(
        tensor.numel()
        for name, tensor in model.state_dict().items()
        if name not in layers and tensor.is_floating_point()
    )
    payload = FLOAT_BYTES * rest + sum(layer.payload_bytes for layer in layers.values())
    quantized = sum(layer.num_weights for layer in layers.values())
    return NetworkBits(
        payload_bytes=payload,
        bits_per_weight=8 * payload / sum(parameter.numel() for parameter in model.parameters()),
        index_bits_per_weight=max((index_bits(len(layer.counts)) for layer in layers.values()), default=32),
        entropy_bits_per_weight=(
            sum(layer.num_weights * entropy_bits(layer.counts) for layer in layers.values()) / quantized
            if layers
            else 32.0
        ),
    )
