"""Compressed file of a network: writing, reading and verification. No Ray, no pickle.

The format is safetensors. For each quantized weight tensor `w` the file holds the tensors

    w.codebook      its K representatives, float32
    w.levels        the level of each weight, in C order of the tensor's shape, packed by `trainables.codebooks.huffman`
    w.code_lengths  length of each level's Huffman code in bits, uint8; absent if codes of fixed length are smaller

and every other floating-point tensor of the network's `state_dict` under its own name, in float32. These tensors are
the payload. Everything else is a JSON text in the header, under the key `qar`. Its `sha256` is the checksum of the
file in which the 64 digits of the checksum are zeros.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from trainables.atomic import replacing
from trainables.codebooks.assignment import Codebook
from trainables.codebooks.bits import LayerBits, NetworkBits, index_bits, network_bits
from trainables.codebooks.huffman import decode, encode
from trainables.config import TrialConfig
from trainables.errors import DamagedFileError
from trainables.files import open_regular
from trainables.models import build_model, model_shapes

FORMAT = 1
MOST_PIXELS = 2**16
MOST_CLASSES = 2**20

_CHECKSUM = re.compile(rb'\\"sha256\\": \\"([0-9a-f]{64})\\"')
_NO_CHECKSUM = "0" * 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Artifact:
    """Content of a compressed file.

    Attributes:
        config: configuration of the trial that trained the network.
        image_shape: (channels, height, width).
        num_classes: number of outputs of the network.
        mean: mean of each channel over the training images, in units of uint8; images are normalized with it.
        std: standard deviation of each channel, likewise.
        codebooks: codebook of each quantized weight tensor, by its name in `state_dict`; empty for a float network.
        floats: all other floating-point tensors of `state_dict`, by name.
        provenance: study, trial and metrics that the network comes from; any values that JSON can represent.
    """

    config: TrialConfig
    image_shape: tuple[int, int, int]
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    codebooks: Mapping[str, Codebook]
    floats: Mapping[str, Tensor]
    provenance: Mapping[str, Any]

    def state_dict(self) -> dict[str, Tensor]:
        """Return all floating-point tensors of the network, by name; quantized ones are decoded."""
        weights = {name: representatives[levels.long()] for name, (representatives, levels) in self.codebooks.items()}
        return weights | dict(self.floats)

    def build(self) -> nn.Module:
        """Build the network on the CPU.

        Raises:
            ValueError: the tensors do not fit the model of this name in the installed version.
        """
        config = self.config
        model = build_model(config.model, self.image_shape, self.num_classes, config.seed, config.width)
        counters = {name: tensor for name, tensor in model.state_dict().items() if not tensor.is_floating_point()}
        try:
            model.load_state_dict(counters | self.state_dict())
        except RuntimeError as error:
            raise ValueError(f"the tensors don't fit model {config.model!r}: {' '.join(str(error).split())}") from None
        return model.to(
            memory_format=torch.channels_last
        )  # as in training: the kernels of other formats round differently

    @cached_property
    def bits(self) -> NetworkBits:
        """Size of the network in bits, in total and per weight."""
        return network_bits(self.build(), {name: _counts(codebook) for name, codebook in self.codebooks.items()})


def _counts(codebook: Codebook) -> list[int]:
    """Return the number of weights at each level."""
    representatives, assignment = codebook
    return torch.bincount(assignment.flatten(), minlength=len(representatives)).tolist()


def _pack(name: str, codebook: Codebook) -> dict[str, Tensor]:
    """Return the tensors that represent one quantized weight tensor in the file."""
    representatives, assignment = codebook
    layer = LayerBits(_counts(codebook))
    lengths = layer.huffman_lengths if layer.huffman_is_smaller else _fixed_lengths(len(representatives))
    levels = assignment.flatten().numpy().astype(np.int32)
    tensors = {
        f"{name}.codebook": representatives.float().contiguous(),
        f"{name}.levels": torch.from_numpy(encode(levels, lengths)),
    }
    if layer.huffman_is_smaller:
        tensors[f"{name}.code_lengths"] = torch.tensor(lengths, dtype=torch.uint8)
    return tensors


def _unpack(name: str, shape: list[int], tensors: dict[str, Tensor]) -> Codebook:
    """Return the codebook of a quantized weight tensor: the inverse of `_pack`; consumes entries of `tensors`."""
    representatives = tensors.pop(f"{name}.codebook")
    code_lengths = tensors.pop(f"{name}.code_lengths", None)
    lengths = _fixed_lengths(len(representatives)) if code_lengths is None else code_lengths.tolist()
    levels = decode(tensors.pop(f"{name}.levels").numpy(), lengths, int(np.prod(shape)))
    return representatives, torch.from_numpy(levels).view(shape)


def _fixed_lengths(num_levels: int) -> list[int]:
    return [index_bits(num_levels)] * num_levels


def write_artifact(path: Path, artifact: Artifact) -> None:
    """Write the compressed file of a network atomically, so that readers never see an incomplete file.

    Args:
        path: the file; an existing one is replaced.
        artifact: the network.

    Raises:
        ValueError: the file cannot be written.
    """
    header = {
        "sha256": _NO_CHECKSUM,
        "format": FORMAT,
        "config": artifact.config.to_dict(),
        "image_shape": artifact.image_shape,
        "num_classes": artifact.num_classes,
        "mean": artifact.mean,
        "std": artifact.std,
        "quantized_shapes": {name: list(levels.shape) for name, (_, levels) in artifact.codebooks.items()},
        "provenance": artifact.provenance,
    }
    tensors = dict(artifact.floats)
    for name, codebook in artifact.codebooks.items():
        tensors |= _pack(name, codebook)
    assert sum(tensor.nbytes for tensor in tensors.values()) == artifact.bits.payload_bytes
    content = safetensors.torch.save(tensors, {"qar": json.dumps(header, allow_nan=False)})
    place = _CHECKSUM.search(content)
    assert place is not None
    try:
        with replacing(path) as file:
            file.write(_with_checksum(content, place, _checksum(content, place)))
    except OSError as error:
        raise ValueError(f"{path} can't be written: {error.strerror}; choose another file") from None


def _with_checksum(content: bytes, place: re.Match[bytes], checksum: str) -> bytes:
    return content[: place.start(1)] + checksum.encode() + content[place.end(1) :]


def _checksum(content: bytes, place: re.Match[bytes]) -> str:
    return hashlib.sha256(_with_checksum(content, place, _NO_CHECKSUM)).hexdigest()


def read_artifact(path: Path) -> Artifact:
    """Read and verify a compressed file that `write_artifact` wrote.

    Args:
        path: the file.

    Raises:
        ValueError: the file cannot be opened.
        DamagedFileError: the file is truncated, altered, or in another format.
    """
    try:
        with open_regular(path) as file:
            content = file.read()
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}; give a file that qar export wrote") from None
    place = _CHECKSUM.search(content)
    if place is None:
        raise DamagedFileError(f"{path} is not an artifact of qar; give a complete file that qar export wrote")
    if _checksum(content, place) != place[1].decode():
        raise DamagedFileError(f"{path} is damaged: its content doesn't match its checksum; export it again")
    try:
        return _parse(content)
    except Exception as error:  # a file with a valid checksum and hostile content may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise DamagedFileError(
            f"{path} can't be understood ({reason}); give a file that qar export of this version wrote"
        ) from None


def _parse(content: bytes) -> Artifact:
    header_end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(json.loads(content[8:header_end])["__metadata__"]["qar"])
    if header["format"] != FORMAT:
        raise ValueError(f"its format must be {FORMAT}, got {header['format']!r}")
    _check_header(header)
    config = TrialConfig.from_dict(header["config"])
    tensors = safetensors.torch.load(content)
    payload_bytes = sum(tensor.nbytes for tensor in tensors.values())
    # Checked before anything is decoded or built: shapes must match the network, and sizes the bytes in the file.
    shapes = model_shapes(config.model, tuple(header["image_shape"]), header["num_classes"], config.width)
    _check_tensors(header["quantized_shapes"], tensors, shapes)
    codebooks = {name: _unpack(name, shape, tensors) for name, shape in header["quantized_shapes"].items()}
    artifact = Artifact(
        config=config,
        image_shape=tuple(header["image_shape"]),
        num_classes=header["num_classes"],
        mean=tuple(header["mean"]),
        std=tuple(header["std"]),
        codebooks=codebooks,
        floats=tensors,
        provenance=header["provenance"],
    )
    if payload_bytes != artifact.bits.payload_bytes:
        raise ValueError(f"the payload must have {artifact.bits.payload_bytes} bytes, got {payload_bytes}")
    return artifact


def _check_header(header: dict[str, Any]) -> None:
    """Check the types and sizes of the header's values; raise ValueError if one is wrong."""
    shape, moments = header["image_shape"], (header["mean"], header["std"])
    _require(
        isinstance(shape, list) and len(shape) == 3 and all(_is_count(size, MOST_PIXELS) for size in shape),
        f"image_shape must be three whole numbers from 1 to {MOST_PIXELS}",
        shape,
    )
    classes = header["num_classes"]
    _require(_is_count(classes, MOST_CLASSES), f"num_classes must be from 1 to {MOST_CLASSES}", classes)
    for values in moments:
        numbers = isinstance(values, list) and all(type(value) in (int, float) for value in values)
        _require(numbers and len(values) == shape[0], "mean and std must be one number for each channel", values)
    provenance = header["provenance"]
    _require(isinstance(provenance, dict), "provenance must be a mapping", type(provenance).__name__)
    recorded = provenance.get("val_accuracy")
    _require(recorded is None or type(recorded) in (int, float), "the recorded val_accuracy must be a number", recorded)


def _check_tensors(quantized: Any, tensors: dict[str, Tensor], shapes: Mapping[str, torch.Size]) -> None:
    """Check the types and shapes of all tensors, before the quantized ones are decoded.

    Args:
        quantized: shapes of the quantized weight tensors, by name, as the header states them.
        tensors: tensors in the file, by name.
        shapes: shapes of the network's floating-point tensors, by name.

    Raises:
        ValueError: a tensor is missing, unexpected, or has the wrong type or shape.
    """
    _require(isinstance(quantized, dict), "quantized_shapes must be a mapping", type(quantized).__name__)
    expected = set(shapes) - set(quantized)
    for name, shape in quantized.items():
        _require(name in shapes and shape == list(shapes[name]), f"{name} must have the network's shape", shape)
        codebook, levels = tensors[f"{name}.codebook"], tensors[f"{name}.levels"]
        lengths = tensors.get(f"{name}.code_lengths", torch.empty(len(codebook), dtype=torch.uint8))
        plain = codebook.dtype == torch.float32 and levels.dtype == lengths.dtype == torch.uint8
        _require(plain and codebook.dim() == levels.dim() == 1, f"{name} must be coded as qar does", levels.dtype)
        _require(lengths.shape == codebook.shape, f"{name} must have a code length for each level", lengths.shape)
        # Every code word has at least one bit.
        _require(shapes[name].numel() <= 8 * len(levels), f"the levels of {name} must be there", len(levels))
        expected |= {key for key in (f"{name}.codebook", f"{name}.levels", f"{name}.code_lengths") if key in tensors}
    _require(set(tensors) == expected, "tensors must be the network's", sorted(set(tensors) ^ expected)[:3])
    for name in set(shapes) - set(quantized):
        fits = tensors[name].shape == shapes[name] and tensors[name].dtype == torch.float32
        _require(fits, f"{name} must be float32 of the network's shape", tuple(tensors[name].shape))


def _is_count(value: object, most: int) -> bool:
    return type(value) is int and 1 <= value <= most


def _require(holds: bool, rule: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{rule}, got {str(value)[:100]}")
