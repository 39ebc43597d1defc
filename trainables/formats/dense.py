"""Dense safetensors: the network's `state_dict`, with quantized values, for any program that reads safetensors."""

import json
from pathlib import Path

import safetensors.torch

from trainables.codebooks.artifact import Artifact
from trainables.formats.file_format import Logits
from trainables.formats.pixel_network import PixelNetwork


def describe(artifact: Artifact) -> dict[str, str]:
    """Return what a file says of its network besides the weights: texts by name."""
    return {
        "model": artifact.config.model,
        "input": "normalized images, float32, N×C×H×W: (pixels in [0, 255] − mean) / std of each channel",
        "image_shape": json.dumps(artifact.image_shape),
        "num_classes": json.dumps(artifact.num_classes),
        "mean": json.dumps(artifact.mean),
        "std": json.dumps(artifact.std),
        "config": json.dumps(artifact.config.to_dict()),
        "provenance": json.dumps(artifact.provenance),
    }


def write_dense(path: Path, artifact: Artifact) -> None:
    """Write all tensors of the network's `state_dict`, under their names; the metadata describe it."""
    tensors = {name: tensor.contiguous() for name, tensor in artifact.build().state_dict().items()}
    safetensors.torch.save_file(tensors, path, {"format": "pt"} | describe(artifact))


def load_dense(path: Path, artifact: Artifact) -> Logits:
    """Return the network with the weights of the file alone."""
    network = PixelNetwork(artifact)
    for parameter in network.network.parameters():
        parameter.detach().zero_()
    network.network.load_state_dict(safetensors.torch.load_file(path))
    return network
