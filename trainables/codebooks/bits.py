"""Every definition of bits.

A compressed network is, for each quantized layer, a codebook (K float32), a choice of fixed-length or
Huffman-coded levels, whichever is smaller, each stream padded to a whole byte, and for Huffman the code lengths
(one byte a level); and everything else a network needs to run in float32: biases, normalization parameters and
statistics. `payload_bytes` is the size of that, to the byte what `trainables.codebooks.artifact` writes, and
`bits_per_weight` spreads it over all parameters.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import nn

from trainables.codebooks.huffman import huffman_lengths

FLOAT_BYTES = 4
FLOAT_BITS = 8 * FLOAT_BYTES


def index_bits(num_levels: int) -> int:
    """⌈log2 K⌉: bits of a level in a fixed-length code."""
    return (num_levels - 1).bit_length()


def entropy_bits(counts: Sequence[int]) -> float:
    """Shannon entropy of levels that occur `counts` times, in bits a weight: no code of single levels beats it."""
    total = sum(counts)
    return sum(count / total * math.log2(total / count) for count in counts if count)


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

    @cached_property
    def huffman_lengths(self) -> list[int]:
        """Bits of each level's Huffman code."""
        return huffman_lengths(self.counts)

    @property
    def huffman_bytes(self) -> int:
        """Code lengths, then the Huffman-coded levels, packed."""
        stream = sum(count * length for count, length in zip(self.counts, self.huffman_lengths, strict=True))
        return len(self.counts) + math.ceil(stream / 8)

    @property
    def huffman_is_smaller(self) -> bool:
        return self.huffman_bytes < self.fixed_bytes

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
        conv_bits_per_weight: bits of the convolutions' weights in the file, codebooks and code lengths included,
            over their number; None in a network without convolutions.
        linear_bits_per_weight: the same of the fully connected layers.
        layers: of each quantized weight, by its name in `state_dict`.
    """

    payload_bytes: int
    bits_per_weight: float
    index_bits_per_weight: float
    entropy_bits_per_weight: float
    conv_bits_per_weight: float | None
    linear_bits_per_weight: float | None
    layers: Mapping[str, LayerBits]


def network_bits(model: nn.Module, level_counts: Mapping[str, Sequence[int]]) -> NetworkBits:
    """Counts a network's bits.

    Args:
        model: for the number of its parameters and of the floats that stay floats.
        level_counts: for each quantized weight tensor, by its name in `state_dict`, how often each of its K
            levels occurs; empty for the float network.
    """
    layers = {name: LayerBits(counts) for name, counts in level_counts.items()}
    floats = {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    cost = {
        name: layers[name].payload_bytes if name in layers else FLOAT_BYTES * tensor.numel()
        for name, tensor in floats.items()
    }
    payload = sum(cost.values())
    quantized = sum(layer.num_weights for layer in layers.values())
    entropy = sum(layer.num_weights * entropy_bits(layer.counts) for layer in layers.values())

    def bits_of(kind: type[nn.Module]) -> float | None:
        names = _weights_of(model, kind) & floats.keys()
        return 8 * sum(cost[name] for name in names) / sum(floats[name].numel() for name in names) if names else None

    return NetworkBits(
        payload_bytes=payload,
        bits_per_weight=8 * payload / sum(parameter.numel() for parameter in model.parameters()),
        index_bits_per_weight=max((index_bits(len(layer.counts)) for layer in layers.values()), default=FLOAT_BITS),
        entropy_bits_per_weight=entropy / quantized if quantized else float(FLOAT_BITS),
        conv_bits_per_weight=bits_of(nn.modules.conv._ConvNd),
        linear_bits_per_weight=bits_of(nn.Linear),
        layers=layers,
    )


def _weights_of(model: nn.Module, kind: type[nn.Module]) -> set[str]:
    """Names in `state_dict` of the weights of all layers of a kind."""
    return {f"{name}.weight".lstrip(".") for name, module in model.named_modules() if isinstance(module, kind)}
