"""Checks of a model: what is quantized, a training step, the role of the seed, and a round trip through a file."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from trainables.codebooks.artifact import Artifact
from trainables.codebooks.artifact_file import read_artifact, write_artifact
from trainables.codebooks.assignment import assign
from trainables.codebooks.kmeans import kmeans
from trainables.config import TrialConfig
from trainables.conformance.finding import Finding, require, run_checks
from trainables.models import build_model, model_shapes, quantized_weights
from trainables.preflight import check_passes

LEVELS = 4
IMAGES = 4


def check_model(
    name: str, image_shape: tuple[int, int, int], num_classes: int, options: Mapping[str, Any] | None = None
) -> Iterator[Finding]:
    """Check a network.

    Args:
        name: name or import path of the model.
        image_shape: (channels, height, width) of the images.
        num_classes: number of classes.
        options: further keyword arguments of the model.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(IMAGES, *image_shape, generator=generator)
    labels = torch.arange(IMAGES) % num_classes

    def build(seed: int = 0) -> nn.Module:
        model = build_model(name, image_shape, num_classes, seed, options=options)
        return model.to(memory_format=torch.channels_last)

    def layers() -> str:
        model = build()
        weights = quantized_weights(model)
        require(bool(weights), "it has no convolution and no linear layer whose weights could be quantized")
        total = sum(parameter.numel() for parameter in model.parameters())
        quantized = sum(weight.numel() for weight in weights.values())
        shapes = ", ".join(f"{key} {tuple(weight.shape)}" for key, weight in weights.items())
        return f"{len(weights)} layers with {quantized / total:.1%} of {total} parameters: {shapes}"

    def step() -> str:
        check_passes(build(), images, labels, num_classes)
        return f"{IMAGES} images of {image_shape} into {num_classes} logits, a gradient reaches every layer"

    def seeds() -> str:
        first, again, other = (build(seed).state_dict() for seed in (1, 1, 2))
        changed = [key for key in first if not torch.equal(first[key], again[key])]
        require(not changed, f"{changed[:3]} differ between two networks of one seed; draw from torch's generator only")
        require(
            any(not torch.equal(first[key], other[key]) for key in first), "networks of two seeds have equal weights"
        )
        return "equal weights for equal seeds"

    def shapes() -> str:
        expected = {key: tensor.shape for key, tensor in build().state_dict().items() if tensor.is_floating_point()}
        require(
            model_shapes(name, image_shape, num_classes, 1.0, options) == expected,
            "its shapes without memory differ from those with memory, which an exported file is checked against",
        )
        return "known without allocating the network"

    def export() -> str:
        return _round_trip(name, build().eval(), images, num_classes, options)

    return run_checks(
        {
            "quantized layers": layers,
            "training step": step,
            "seed": seeds,
            "shapes": shapes,
            "export and back": export,
        }
    )


@torch.no_grad()
def _round_trip(
    name: str, model: nn.Module, images: torch.Tensor, num_classes: int, options: Mapping[str, Any] | None
) -> str:
    """Quantize the network, write it to a file, read it, and compare the logits of both."""
    codebooks = {}
    for key, weight in quantized_weights(model).items():
        representatives = kmeans(weight.flatten(), min(LEVELS, weight.numel()))
        assignment = assign(weight, representatives)
        weight.copy_(representatives[assignment.long()])
        codebooks[key] = representatives, assignment
    config = TrialConfig(family="none", num_levels=LEVELS, model=name, model_options=dict(options or {}))
    state = model.state_dict().items()
    floats = {key: tensor.contiguous() for key, tensor in state if tensor.is_floating_point() and key not in codebooks}
    channels = images.shape[1]
    artifact = Artifact(
        config=config,
        image_shape=tuple(images.shape[1:]),  # type: ignore[arg-type]
        num_classes=num_classes,
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        codebooks=codebooks,
        floats=floats,
        provenance={},
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "network.qar"
        write_artifact(path, artifact)
        back = read_artifact(path, may_import=lambda name: True)
    expected, received = model(images), back.build().eval()(images)
    require(torch.equal(expected, received), "the network in the file computes other logits")
    return f"equal logits, {back.bits.payload_bytes} bytes"
