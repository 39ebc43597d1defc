"""The compressed file of a network: write, read, verify. No Ray, no pickle.

A safetensors file. For each quantized weight `w` it holds the tensors

    w.codebook      its K representatives, float32
    w.levels        the level of each weight, in C order of its logical shape, packed by `trainables.codebooks.huffman`
    w.code_lengths  bits of each level's Huffman code, uint8; absent where levels of fixed length are smaller

and every other float of the network's `state_dict` under its own name, in float32. These tensors are the payload.
All else is one JSON text in the header, under `qar`; its `sha256` is that of the file with these 64 digits as zeros.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from trainables.codebooks.assignment import Codebook
from trainables.codebooks.bits import LayerBits, NetworkBits, index_bits, network_bits
from trainables.codebooks.huffman import decode, encode
from trainables.config import TrialConfig
from trainables.models import build_model
from trainables.result import DamagedFileError

FORMAT = 1

_CHECKSUM = re.compile(rb'\\"sha256\\": \\"([0-9a-f]{64})\\"')
_NO_CHECKSUM = "0" * 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Artifact:
    """A network as its compressed file tells it.

    Attributes:
        config: of the trial that made it.
        image_shape: (channels, height, width).
        num_classes: outputs of the network.
        mean: of each channel over the training images, in units of uint8; what images are normalized with.
        std: likewise.
        codebooks: of each quantized weight, by its name in `state_dict`; empty for the float network.
        floats: every other float of `state_dict`.
        provenance: where it comes from; anything that JSON can hold.
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
        """Every float of the network, dense."""
        weights = {name: representatives[levels.long()] for name, (representatives, levels) in self.codebooks.items()}
        return weights | dict(self.floats)

    def build(self) -> nn.Module:
        """The network, on the CPU; raises ValueError if the model of that name is another one by now."""
        config = self.config
        model = build_model(config.model, self.image_shape, self.num_classes, config.seed, config.width)
        counters = {name: tensor for name, tensor in model.state_dict().items() if not tensor.is_floating_point()}
        try:
            model.load_state_dict(counters | self.state_dict())
        except RuntimeError as error:
            raise ValueError(f"the tensors don't fit model {config.model!r}: {' '.join(str(error).split())}") from None
        return model.to(memory_format=torch.channels_last)  # as it was evaluated before: kernels round differently

    @cached_property
    def bits(self) -> NetworkBits:
        """What it costs."""
        return network_bits(self.build(), {name: _counts(codebook) for name, codebook in self.codebooks.items()})


def _counts(codebook: Codebook) -> list[int]:
    representatives, assignment = codebook
    return torch.bincount(assignment.flatten(), minlength=len(representatives)).tolist()


def _pack(name: str, codebook: Codebook) -> dict[str, Tensor]:
    """The tensors of one quantized weight."""
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
    """Inverse of `_pack`; takes what it reads out of `tensors`."""
    representatives = tensors.pop(f"{name}.codebook")
    code_lengths = tensors.pop(f"{name}.code_lengths", None)
    lengths = _fixed_lengths(len(representatives)) if code_lengths is None else code_lengths.tolist()
    levels = decode(tensors.pop(f"{name}.levels").numpy(), lengths, int(np.prod(shape)))
    return representatives, torch.from_numpy(levels).view(shape)


def _fixed_lengths(num_levels: int) -> list[int]:
    return [index_bits(num_levels)] * num_levels


def write_artifact(path: Path, artifact: Artifact) -> None:
    """Writes the file in one stroke: whoever looks sees all of it or none.

    Raises:
        ValueError: it can't be written there.
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
    draft = path.with_name(f".{path.name}.draft")
    try:
        draft.write_bytes(_with_checksum(content, place, _checksum(content, place)))
        os.replace(draft, path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise ValueError(f"{path} can't be written: {error.strerror}; choose another file") from None


def _with_checksum(content: bytes, place: re.Match[bytes], checksum: str) -> bytes:
    return content[: place.start(1)] + checksum.encode() + content[place.end(1) :]


def _checksum(content: bytes, place: re.Match[bytes]) -> str:
    return hashlib.sha256(_with_checksum(content, place, _NO_CHECKSUM)).hexdigest()


def read_artifact(path: Path) -> Artifact:
    """Reads what `write_artifact` wrote, and verifies all of it.

    Raises:
        ValueError: there is no such file.
        DamagedFileError: it is cut off, altered, or none of ours.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}; give a file that qar export wrote") from None
    place = _CHECKSUM.search(content)
    if place is None:
        raise DamagedFileError(f"{path} is no artifact of qar, or the beginning of one; export it again")
    if _checksum(content, place) != place[1].decode():
        raise DamagedFileError(f"{path} is damaged: its content doesn't match its checksum; export it again")
    try:
        return _parse(content)
    except (ValueError, KeyError, IndexError, TypeError, safetensors.SafetensorError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DamagedFileError(f"{path} can't be understood ({reason}); export it again with this qar") from None


def _parse(content: bytes) -> Artifact:
    header_end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(json.loads(content[8:header_end])["__metadata__"]["qar"])
    if header["format"] != FORMAT:
        raise ValueError(f"its format must be {FORMAT}, got {header['format']!r}")
    tensors = safetensors.torch.load(content)
    payload_bytes = sum(tensor.nbytes for tensor in tensors.values())
    codebooks = {name: _unpack(name, shape, tensors) for name, shape in header["quantized_shapes"].items()}
    artifact = Artifact(
        config=TrialConfig.from_dict(header["config"]),
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
