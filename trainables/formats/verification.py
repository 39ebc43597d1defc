"""Writing a file and evaluating it: a file takes its place only if it classifies every image as the network does."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from trainables.choices import choose
from trainables.codebooks.artifact import Artifact
from trainables.data.batches import Split
from trainables.errors import DamagedFileError
from trainables.files.atomic import replacing
from trainables.formats.file_format import Logits
from trainables.formats.pixel_network import PixelNetwork
from trainables.formats.registry import FORMATS
from trainables.shapes import Int

BATCH_SIZE = 500


class UnfaithfulFileError(DamagedFileError):
    """A written file classifies images otherwise than its network does; it was not kept."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """A file that was written.

    Attributes:
        file_bytes: its size.
        accuracy: share of the images that it classifies correctly in its own runtime; None if that is not installed.
        num_images: number of these images.
        missing: packages of its runtime that are not installed.
    """

    file_bytes: int
    accuracy: float | None
    num_images: int
    missing: list[str]


def write_verified(format_name: str, path: Path, artifact: Artifact, split: Split) -> Written:
    """Write a network to a file, and compare what the file computes with what the network computes.

    Args:
        format_name: key of `FORMATS`.
        path: the file; an existing one is replaced, but only by a file that passes.
        artifact: the network.
        split: images, on the CPU, of which the file and the network must name the same class.

    Raises:
        ValueError: the format is unknown or a package that it needs is missing, the network can't be exported, or the
            file can't be written.
        UnfaithfulFileError: the file classifies an image otherwise.
    """
    format = FORMATS[choose("format", format_name, FORMATS)]
    if absent := format.missing(format.writer):
        raise ValueError(
            f"format {format_name!r} needs the packages {', '.join(format.writer)}, and there is no {absent[0]}; "
            f"install them with: pip install {' '.join(format.writer + format.runtime)}"
        )
    missing = format.missing(format.runtime)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "network"
        format.write(draft, artifact)
        accuracy = None
        if not missing:
            classes = _classes(format.load(draft, artifact), split)
            differing = int((classes != _classes(PixelNetwork(artifact), split)).sum())
            if differing:
                raise UnfaithfulFileError(
                    f"the file of format {format_name!r} must classify each of {len(split)} validation images "
                    f"as the network does, got another class for {differing}; it was not kept"
                )
            accuracy = float((classes == split.labels).double().mean())
        try:
            with replacing(path) as file, draft.open("rb") as written:
                shutil.copyfileobj(written, file)
        except OSError as error:
            raise ValueError(f"{path} can't be written: {error.strerror}; choose another file") from None
        return Written(file_bytes=draft.stat().st_size, accuracy=accuracy, num_images=len(split), missing=missing)


@torch.no_grad()
def _classes(logits: Logits, split: Split) -> Int[torch.Tensor, " n"]:
    """Return the class of each image with the largest logit."""
    images = split.images
    return torch.cat(
        [
            logits(images[start : start + BATCH_SIZE].to(torch.float32, memory_format=torch.channels_last)).argmax(1)
            for start in range(0, len(images), BATCH_SIZE)
        ]
    )
