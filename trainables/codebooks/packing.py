"""A quantized weight as tensors of a file: its codebook, its levels, and the table of the code that they are in."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainables.codebooks import asymmetric, huffman
from trainables.codebooks.assignment import Codebook
from trainables.codebooks.bits import ASYMMETRIC, CODES, COMPACT, FIXED, HUFFMAN, LayerBits, index_bits
from trainables.codebooks.cost_table import decode_table

TABLES: Mapping[str, str] = {HUFFMAN: "code_lengths", ASYMMETRIC: "code_costs", COMPACT: "cost_differences"}
"""Suffix of the uint8 tensor with a code's table, by code. All tables but that of `COMPACT` have one byte per level."""


class Declared(NamedTuple):
    """Type and shape of a tensor, as the header of a file declares them.

    Attributes:
        dtype: name of the type in safetensors, as `F32` or `U8`.
        shape: sizes of its axes.
    """

    dtype: str
    shape: list[int]


def require(holds: bool, rule: str, value: object) -> None:
    """Raise ValueError, with the rule and the start of the value, unless the rule holds."""
    if not holds:
        raise ValueError(f"{rule}, got {str(value)[:100]}")


def level_counts(codebook: Codebook) -> list[int]:
    """Return the number of weights at each level."""
    representatives, assignment = codebook
    return torch.bincount(assignment.flatten(), minlength=len(representatives)).tolist()


def pack(name: str, codebook: Codebook, coding: str) -> dict[str, Tensor]:
    """Return the tensors that represent one quantized weight in the file.

    Args:
        name: name of the weight in `state_dict`.
        codebook: its representatives and levels.
        coding: key of `trainables.codebooks.bits.CODES`.
    """
    representatives, assignment = codebook
    layer = LayerBits(level_counts(codebook), coding)
    levels = assignment.flatten().numpy().astype(np.int32)
    if layer.code in (ASYMMETRIC, COMPACT):
        costs, table = layer.compact_costs if layer.code == COMPACT else (layer.code_costs, bytes(layer.code_costs))
        stream = asymmetric.encode(levels, layer.counts, costs)
    else:
        lengths = layer.huffman_lengths if layer.code == HUFFMAN else _fixed_lengths(len(representatives))
        table, stream = bytes(lengths), huffman.encode(levels, lengths)
    tensors = {f"{name}.codebook": representatives.float().contiguous(), f"{name}.levels": torch.tensor(stream)}
    if layer.code != FIXED:
        tensors[f"{name}.{TABLES[layer.code]}"] = torch.tensor(list(table), dtype=torch.uint8)
    return tensors


def unpack(name: str, shape: Sequence[int], tensors: dict[str, Tensor]) -> Codebook:
    """Return the codebook of a quantized weight: the inverse of `pack`; consumes entries of `tensors`.

    Raises:
        ValueError: the stream does not hold the levels.
    """
    representatives, stream = tensors.pop(f"{name}.codebook"), tensors.pop(f"{name}.levels").numpy()
    tables = {code: tensors.pop(f"{name}.{suffix}").tolist() for code, suffix in _tables_of(name, tensors).items()}
    num_weights = math.prod(shape)
    if ASYMMETRIC in tables:
        levels = asymmetric.decode(stream, tables[ASYMMETRIC], num_weights)
    elif COMPACT in tables:
        costs = decode_table(bytes(tables[COMPACT]), len(representatives))
        levels = asymmetric.decode(stream, costs, num_weights)
    else:
        levels = huffman.decode(stream, tables.get(HUFFMAN, _fixed_lengths(len(representatives))), num_weights)
    return representatives, torch.from_numpy(levels).view(*shape)


def check_packed(name: str, num_weights: int, tensors: Mapping[str, Declared], coding: str) -> set[str]:
    """Check the declared types and sizes of the tensors of one quantized weight, before anything is read.

    Args:
        name: name of the weight in `state_dict`.
        num_weights: its number of entries in the network.
        tensors: all tensors that the file declares, by name.
        coding: key of `trainables.codebooks.bits.CODES`.

    Returns:
        The names of the tensors that represent this weight.

    Raises:
        ValueError: a tensor is missing, or has the wrong type or size.
    """
    codebook, levels = tensors[f"{name}.codebook"], tensors[f"{name}.levels"]
    tables = _tables_of(name, tensors)
    plain = codebook.dtype == "F32" and levels.dtype == "U8" and len(codebook.shape) == len(levels.shape) == 1
    known = len(tables) <= 1 and tables.keys() <= set(CODES[coding])
    rule = f"{name} must have a float32 codebook, uint8 levels and at most one table, of a code of {coding!r}"
    require(plain and known, rule, sorted(tables) or codebook.dtype)
    num_levels, stream_bytes = codebook.shape[0], levels.shape[0]
    require(num_levels >= 1, f"{name} must have representatives", num_levels)
    for code, suffix in tables.items():
        table = tensors[f"{name}.{suffix}"]
        if code == COMPACT:  # no difference takes more than 17 bits
            short = table.dtype == "U8" and len(table.shape) == 1 and table.shape[0] <= 3 * num_levels
            require(short, f"{name} must have a table of at most {3 * num_levels} bytes", table.shape)
        else:
            require(table == Declared("U8", [num_levels]), f"{name} must have a table entry a level", table.shape)
    fixed_bytes = math.ceil(num_weights * index_bits(num_levels) / 8)
    require(stream_bytes <= fixed_bytes, f"the levels of {name} must take at most {fixed_bytes} bytes", stream_bytes)
    # Every word has at least one bit, but a level may cost less in an asymmetric numeral system.
    if HUFFMAN in tables:
        least_bytes = math.ceil(num_weights / 8)
        require(
            stream_bytes >= least_bytes, f"the levels of {name} must take at least {least_bytes} bytes", stream_bytes
        )
    elif not tables:
        require(stream_bytes == fixed_bytes, f"the levels of {name} must take {fixed_bytes} bytes", stream_bytes)
    return {f"{name}.{suffix}" for suffix in ("codebook", "levels", *tables.values())}


def _tables_of(name: str, tensors: Mapping[str, object]) -> dict[str, str]:
    """Return the suffixes of the tables that a file holds for a weight, by code."""
    return {code: suffix for code, suffix in TABLES.items() if f"{name}.{suffix}" in tensors}


def _fixed_lengths(num_levels: int) -> list[int]:
    return [index_bits(num_levels)] * num_levels
