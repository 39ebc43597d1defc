"""Checks of what a compressed file declares, before anything in it is decoded or built."""

from collections.abc import Mapping
from typing import Any

import torch

from trainables.codebooks.packing import Declared, check_packed, require

MOST_WEIGHTS = 2**30
MOST_PIXELS = 2**16
MOST_CLASSES = 2**20


def check_header(header: dict[str, Any]) -> None:
    """Check the types and sizes of the header's values; raise ValueError if one is wrong."""
    shape, moments = header["image_shape"], (header["mean"], header["std"])
    require(
        isinstance(shape, list) and len(shape) == 3 and all(_is_count(size, MOST_PIXELS) for size in shape),
        f"image_shape must be three whole numbers from 1 to {MOST_PIXELS}",
        shape,
    )
    classes = header["num_classes"]
    require(_is_count(classes, MOST_CLASSES), f"num_classes must be from 1 to {MOST_CLASSES}", classes)
    for values in moments:
        numbers = isinstance(values, list) and all(type(value) in (int, float) for value in values)
        require(numbers and len(values) == shape[0], "mean and std must be one number for each channel", values)
    provenance = header["provenance"]
    require(isinstance(provenance, dict), "provenance must be a mapping", type(provenance).__name__)
    recorded = provenance.get("val_accuracy")
    require(recorded is None or type(recorded) in (int, float), "the recorded val_accuracy must be a number", recorded)


def check_tensors(
    quantized: Any, tensors: Mapping[str, Declared], shapes: Mapping[str, torch.Size], coding: str
) -> None:
    """Check the declared types and shapes of all tensors, before any is decoded.

    Args:
        quantized: shapes of the quantized weight tensors, by name, as the header states them.
        tensors: type and shape of the tensors in the file, by name.
        shapes: shapes of the network's floating-point tensors, by name.
        coding: key of `trainables.codebooks.bits.CODES`.

    Raises:
        ValueError: a tensor is missing, unexpected, or has the wrong type or shape, or the network is too large.
    """
    require(isinstance(quantized, dict), "quantized_shapes must be a mapping", type(quantized).__name__)
    size = sum(shape.numel() for shape in shapes.values())
    require(size <= MOST_WEIGHTS, f"the network must have at most {MOST_WEIGHTS} weights", size)
    expected = set(shapes) - set(quantized)
    for name, shape in quantized.items():
        require(name in shapes and shape == list(shapes[name]), f"{name} must have the network's shape", shape)
        expected |= check_packed(name, shapes[name].numel(), tensors, coding)
    require(set(tensors) == expected, "no tensor may be missing or unexpected", sorted(set(tensors) ^ expected)[:3])
    for name in set(shapes) - set(quantized):
        fits = tensors[name] == Declared("F32", list(shapes[name]))
        require(fits, f"{name} must be float32 of the network's shape", tensors[name])


def _is_count(value: object, most: int) -> bool:
    return type(value) is int and 1 <= value <= most
