"""Size of a compressed network, in bytes and in bits per weight.

For each quantized layer, a compressed network holds a codebook (K float32 values) and its levels, in whichever code is
the smallest: words of fixed length; Huffman's words, with a table of one byte a level; where `coding` is `entropy` or
`compact`, a stream of an asymmetric numeral system, with a table of the same size; and where it is `compact`, such a
stream with a shorter table. A stream of levels is padded to a whole byte. All else that the network needs (biases,
normalization parameters and statistics) is held in float32.
`payload_bytes` is the size of all that: to the byte, the size of the tensors that `trainables.codebooks.artifact_file`
writes, without the header of the file. `bits_per_weight` divides it by the number of all parameters. Nothing is encoded
to count it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import nn

from trainables.choices import choose
from trainables.codebooks import asymmetric
from trainables.codebooks.cost_table import STEPS, encode_table, held_costs
from trainables.codebooks.huffman import huffman_lengths
from trainables.models.parameters import quantized_weights

FLOAT_BYTES = 4
FLOAT_BITS = 8 * FLOAT_BYTES

FIXED, HUFFMAN, ASYMMETRIC, COMPACT = "fixed", "huffman", "asymmetric", "compact"
CODES: Mapping[str, tuple[str, ...]] = {
    "huffman": (FIXED, HUFFMAN),
    "entropy": (FIXED, HUFFMAN, ASYMMETRIC),
    "compact": (FIXED, HUFFMAN, ASYMMETRIC, COMPACT),
}
"""Codes that a layer's levels may have, by the coding of its network; the first of the smallest is taken."""


def index_bits(num_levels: int) -> int:
    """Return ⌈log2 K⌉: the bits of a level in a fixed-length code."""
    return (num_levels - 1).bit_length()


def entropy_bits(counts: Sequence[int]) -> float:
    """Return the Shannon entropy of levels that occur `counts` times, in bits per weight.

    It is a lower bound for codes that encode each level by itself.
    """
    total = sum(counts)
    return sum(count / total * math.log2(total / count) for count in counts if count)


@dataclass(frozen=True)
class LayerBits:
    """Size of one quantized layer.

    Attributes:
        counts: how often each of the K levels occurs.
        coding: key of `CODES`.
    """

    counts: Sequence[int]
    coding: str = "huffman"

    @property
    def num_weights(self) -> int:
        """Number of weights in the layer."""
        return sum(self.counts)

    @property
    def codebook_bytes(self) -> int:
        """Bytes of the representatives."""
        return FLOAT_BYTES * len(self.counts)

    @cached_property
    def huffman_lengths(self) -> list[int]:
        """Length of each level's Huffman code, in bits."""
        return huffman_lengths(self.counts)

    @cached_property
    def code_costs(self) -> list[int]:
        """Cost of each level in an asymmetric numeral system, in sixteenths of a bit."""
        return asymmetric.code_costs(self.counts)

    @cached_property
    def compact_costs(self) -> tuple[list[int], bytes]:
        """Costs, in sixteenths of a bit, for which stream and table take the fewest bytes, and that table."""
        rounded = [(asymmetric.code_costs(self.counts, step), step) for step in STEPS]
        held = [(held_costs(self.code_costs, step), step) for step in STEPS]
        tables = [(costs, encode_table(costs, step)) for costs, step in rounded + held]
        return min(tables, key=lambda pair: len(pair[1]) + asymmetric.stream_bytes(self.counts, pair[0]))

    @cached_property
    def bytes_by_code(self) -> dict[str, int]:
        """Bytes of the levels, with the table that decoding needs, in each code that they may have."""
        return {code: self._bytes_in(code) for code in CODES[self.coding]}

    @property
    def code(self) -> str:
        """Code in which the levels are the smallest."""
        return min(self.bytes_by_code, key=lambda code: self.bytes_by_code[code])

    @property
    def payload_bytes(self) -> int:
        """Bytes of the codebook and of the smallest form of the levels."""
        return self.codebook_bytes + self.bytes_by_code[self.code]

    def _bytes_in(self, code: str) -> int:
        num_levels = len(self.counts)
        if code == FIXED:
            return math.ceil(self.num_weights * index_bits(num_levels) / 8)
        if code == HUFFMAN:
            stream = sum(count * length for count, length in zip(self.counts, self.huffman_lengths, strict=True))
            return num_levels + math.ceil(stream / 8)
        if code == ASYMMETRIC:
            return num_levels + asymmetric.stream_bytes(self.counts, self.code_costs)
        costs, table = self.compact_costs
        return len(table) + asymmetric.stream_bytes(self.counts, costs)


@dataclass(frozen=True, kw_only=True)
class NetworkBits:
    """Size of a network in a compressed file.

    Attributes:
        payload_bytes: size of the whole network, in bytes.
        bits_per_weight: 8 × payload_bytes / number of parameters. Normalization statistics are in the file but are not
            parameters, so a network that has them and is not quantized has slightly more than 32.
        index_bits_per_weight: mean of ⌈log2 K⌉ over the weights of all layers that can be quantized; 32 for those left
            in float, and if nothing is quantized.
        entropy_bits_per_weight: mean entropy of the levels over the same weights, with 32 likewise.
        conv_bits_per_weight: bits of the convolutions' weights in the file, with codebooks and code lengths, divided by
            the number of these weights; None for a network without convolutions.
        linear_bits_per_weight: the same for fully connected layers.
        layers: sizes of the quantized layers, by the name of the weight in `state_dict`.
    """

    payload_bytes: int
    bits_per_weight: float
    index_bits_per_weight: float
    entropy_bits_per_weight: float
    conv_bits_per_weight: float | None
    linear_bits_per_weight: float | None
    layers: Mapping[str, LayerBits]


def network_bits(model: nn.Module, level_counts: Mapping[str, Sequence[int]], coding: str = "huffman") -> NetworkBits:
    """Return the size of a network.

    Args:
        model: the network; only the names and sizes of its tensors matter.
        level_counts: how often each of the K levels occurs in each quantized weight, by the weight's name in
            `state_dict`; empty for the float network.
        coding: key of `CODES`.
    """
    choose("coding", coding, CODES)
    layers = {name: LayerBits(counts, coding) for name, counts in level_counts.items()}
    floats = {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    cost = {
        name: layers[name].payload_bytes if name in layers else FLOAT_BYTES * tensor.numel()
        for name, tensor in floats.items()
    }
    payload = sum(cost.values())
    left = sum(weight.numel() for name, weight in quantized_weights(model).items() if name.lstrip(".") not in layers)
    weights = left + sum(layer.num_weights for layer in layers.values())
    entropy = FLOAT_BITS * left + sum(layer.num_weights * entropy_bits(layer.counts) for layer in layers.values())

    def bits_per_weight_in(kind: type[nn.Module]) -> float | None:
        names = _weights_of(model, kind) & floats.keys()
        return 8 * sum(cost[name] for name in names) / sum(floats[name].numel() for name in names) if names else None

    return NetworkBits(
        payload_bytes=payload,
        bits_per_weight=8 * payload / sum(parameter.numel() for parameter in model.parameters()),
        index_bits_per_weight=_index_bits_per_weight(list(layers.values()), left),
        entropy_bits_per_weight=entropy / weights if layers else float(FLOAT_BITS),
        conv_bits_per_weight=bits_per_weight_in(nn.modules.conv._ConvNd),
        linear_bits_per_weight=bits_per_weight_in(nn.Linear),
        layers=layers,
    )


def _index_bits_per_weight(layers: Sequence[LayerBits], left: int) -> float:
    """Return the mean of ⌈log2 K⌉ over the weights of layers, and of 32 over `left` weights that are in float.

    A layer with fewer weights than K has a level for each: it counts with the largest K of the network.
    """
    if not layers:
        return FLOAT_BITS
    largest = max(index_bits(len(layer.counts)) for layer in layers)
    bits = FLOAT_BITS * left
    for layer in layers:
        few = len(layer.counts) == layer.num_weights
        bits += layer.num_weights * (largest if few else index_bits(len(layer.counts)))
    return bits / (left + sum(layer.num_weights for layer in layers))


def _weights_of(model: nn.Module, kind: type[nn.Module]) -> set[str]:
    """Return the names in `state_dict` of the weights of all layers of a kind."""
    return {f"{name}.weight".lstrip(".") for name, module in model.named_modules() if isinstance(module, kind)}
