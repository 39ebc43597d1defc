"""A network together with the normalization of its images: from pixel values to logits."""

from pathlib import Path

import torch
from torch import Tensor, nn

from trainables.codebooks.artifact import Artifact
from trainables.codebooks.artifact_file import read_artifact
from trainables.shapes import Float


class PixelNetwork(nn.Module):
    """A quantized network that takes images as they are stored.

    Attributes:
        network: the network itself, which takes normalized images.
        pixel_mean: mean of each channel over the training images, (1, channels, 1, 1), in units of uint8.
        pixel_std: standard deviation of each channel, likewise.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, artifact: Artifact) -> None:
        """Build the network of an artifact, in evaluation mode, on the CPU."""
        super().__init__()
        self.network = artifact.build()
        self.register_buffer("pixel_mean", torch.tensor(artifact.mean).view(1, -1, 1, 1))
        self.register_buffer("pixel_std", torch.tensor(artifact.std).view(1, -1, 1, 1))
        self.eval()

    def forward(self, pixels: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Return the logits of images whose pixels lie in [0, 255]."""
        return self.network((pixels - self.pixel_mean) / self.pixel_std)


def load_artifact(path: str | Path, *, trust_code: bool = False) -> PixelNetwork:
    """Return the quantized network in a file that `qar export` wrote, in evaluation mode, on the CPU.

    Args:
        path: a file of format `qar`.
        trust_code: whether a model that the file names by import path may be imported and called.

    Returns:
        A module from pixel values in [0, 255], float32, (n, channels, height, width), to logits, (n, classes). Its
        attribute `network` is the network itself, for normalized images.

    Raises:
        ValueError: the file cannot be opened.
        PartError: the model is named by import path, and can't be imported or must not be.
        DamagedFileError: the file is truncated, altered, or in another format.
    """
    return PixelNetwork(read_artifact(Path(path), lambda name: trust_code))
