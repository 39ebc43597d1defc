"""Compressed file of a network: writing, reading and verification. No Ray, no pickle.

The format is safetensors. For each quantized weight tensor `w` the file holds the tensors

    w.codebook      its K representatives, float32
    w.levels        the level of each weight, in C order of the tensor's shape, in the smallest of these codes:
                    words of fixed length, without a table; Huffman's words; an asymmetric numeral system
    w.code_lengths  where the code is Huffman's: length of each level's word in bits, uint8
    w.code_costs    where it is an asymmetric numeral system: cost of each level in sixteenths of a bit, uint8
    w.cost_differences  where it is one with a shorter table: that table (`trainables.codebooks.cost_table`), uint8

and every other floating-point tensor of the network's `state_dict` under its own name, in float32. These tensors are
the payload. Everything else is a JSON text in the header, under the key `qar`. Its `sha256` is the checksum of the
file in which the 64 digits of the checksum are zeros. Format 1 has no asymmetric numeral systems,
format 2 none with shorter tables.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainables.codebooks.artifact import CODING_BY_FORMAT, Artifact
from trainables.codebooks.artifact_checks import check_header, check_tensors
from trainables.codebooks.packing import Declared, pack, unpack
from trainables.config import TrialConfig
from trainables.errors import DamagedFileError
from trainables.files.atomic import replacing
from trainables.files.regular import open_regular
from trainables.import_path import PartError, is_import_path, resolve
from trainables.models import model_shapes

MOST_BYTES = 2**32

_CHECKSUM = re.compile(rb'\\"sha256\\": \\"([0-9a-f]{64})\\"')
_NO_CHECKSUM = "0" * 64
_BYTES = {"F32": 4, "U8": 1}  # of the types of safetensors that occur here


def write_artifact(path: Path, artifact: Artifact) -> None:
    """Write the compressed file of a network atomically, so that readers never see an incomplete file.

    Args:
        path: the file; an existing one is replaced.
        artifact: the network.

    Raises:
        ValueError: the file cannot be written.
    """
    (format_number,) = (number for number, coding in CODING_BY_FORMAT.items() if coding == artifact.coding)
    header = {
        "sha256": _NO_CHECKSUM,
        "format": format_number,
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
        tensors |= pack(name, codebook, artifact.coding)
    assert sum(tensor.nbytes for tensor in tensors.values()) == artifact.bits.payload_bytes
    import safetensors.torch  # here, since training needs only the size, which follows from the counts of levels

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
    view, digest = memoryview(content), hashlib.sha256()
    for part in (view[: place.start(1)], _NO_CHECKSUM.encode(), view[place.end(1) :]):
        digest.update(part)
    return digest.hexdigest()


def _never(name: str) -> bool:
    return False


def read_artifact(path: Path, may_import: Callable[[str], bool] = _never) -> Artifact:
    """Read and verify a compressed file that `write_artifact` wrote.

    The sizes that the header declares are checked against the file before it is read as a whole, and against the
    network before anything is decoded.

    Args:
        path: the file.
        may_import: whether a model that the file names by import path may be imported and called.

    Raises:
        ValueError: the file cannot be opened.
        PartError: the model can't be imported, or must not be.
        DamagedFileError: the file is truncated, altered, too large, or in another format.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(8)
            header = file.read(min(int.from_bytes(start, "little"), MOST_BYTES, size))
            place = _CHECKSUM.search(start + header)
            if place is None:
                raise DamagedFileError(f"{path} is not an artifact of qar; give a complete file of --format qar")
            declared = _declared_bytes(header)
            available = size - len(start) - len(header)
            if declared != available or size > MOST_BYTES:
                rule = f"its tensors must take the {available} bytes after the header, of at most {MOST_BYTES} in all"
                raise DamagedFileError(f"{path} is damaged: {rule}, got {declared}; export it again")
            content = start + header + file.read(declared)
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}; give a file that qar export wrote") from None
    if _checksum(content, place) != place[1].decode():
        raise DamagedFileError(f"{path} is damaged: its content doesn't match its checksum; export it again")
    try:
        return _parse(content, header, may_import)
    except PartError:
        raise
    except Exception as error:  # a file with a valid checksum and hostile content may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise DamagedFileError(
            f"{path} can't be understood ({reason}); give a file that qar export of this version wrote"
        ) from None


def _declared_bytes(header: bytes) -> int | None:
    """Return the bytes of all tensors as the header declares them, or None if it is not sound."""
    try:
        tensors = _declared(json.loads(header))
        return sum(_BYTES[tensor.dtype] * math.prod(tensor.shape) for tensor in tensors.values())
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def _declared(header: dict[str, Any]) -> dict[str, Declared]:
    """Return type and shape of all tensors in a header of safetensors."""
    return {name: Declared(entry["dtype"], entry["shape"]) for name, entry in header.items() if name != "__metadata__"}


def _parse(content: bytes, safetensors_header: bytes, may_import: Callable[[str], bool]) -> Artifact:
    declared = json.loads(safetensors_header)
    header = json.loads(declared["__metadata__"]["qar"])
    coding = CODING_BY_FORMAT.get(header["format"])
    if coding is None:
        raise ValueError(f"its format must be one of {list(CODING_BY_FORMAT)}, got {header['format']!r}")
    check_header(header)
    config = TrialConfig.from_stored(header["config"])
    if is_import_path(config.model):
        if not may_import(config.model):
            raise PartError(
                f"model {config.model!r} must be code that you have launched a study with, since this file may be "
                "another's; read it, and allow it with --trust-addresses"
            )
        resolve("model", config.model)
    # Checked before anything is decoded or built: shapes must match the network, and sizes the bytes in the file.
    shapes = model_shapes(
        config.model, tuple(header["image_shape"]), header["num_classes"], config.width, config.model_options
    )
    check_tensors(header["quantized_shapes"], _declared(declared), shapes, coding)
    import safetensors.torch

    tensors = safetensors.torch.load(content)
    payload_bytes = sum(tensor.nbytes for tensor in tensors.values())
    codebooks = {name: unpack(name, shape, tensors) for name, shape in header["quantized_shapes"].items()}
    artifact = Artifact(
        config=config,
        image_shape=tuple(header["image_shape"]),
        num_classes=header["num_classes"],
        mean=tuple(header["mean"]),
        std=tuple(header["std"]),
        codebooks=codebooks,
        floats=tensors,
        provenance=header["provenance"],
        coding=coding,
    )
    if payload_bytes != artifact.bits.payload_bytes:
        raise ValueError(f"the payload must have {artifact.bits.payload_bytes} bytes, got {payload_bytes}")
    return artifact
