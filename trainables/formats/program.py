"""`ExportedProgram` of torch.export: graph and weights in one file that `torch.export.load` runs without qar."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from trainables.codebooks.artifact import Artifact
from trainables.errors import message_of
from trainables.formats.dense import describe
from trainables.formats.file_format import Logits
from trainables.formats.pixel_network import PixelNetwork

BATCH = {"pixels": {0: torch.export.Dim("batch", min=1)}}
"""The axes that may have any size."""


def example(artifact: Artifact) -> torch.Tensor:
    """Return two black images of the shape that the network takes."""
    return torch.zeros(2, *artifact.image_shape)


@contextmanager
def exporting(artifact: Artifact, format_name: str) -> Iterator[None]:
    """Turn any error of an exporter into a ValueError of one line: a model may be a user's own code."""
    try:
        yield
    except Exception as error:
        reason = message_of(error)[:300]
        raise ValueError(
            f"model {artifact.config.model!r} must be one that torch can export as {format_name}, got: {reason}; "
            "choose another --format"
        ) from None


def write_program(path: Path, artifact: Artifact) -> None:
    """Write the network as an `ExportedProgram` for batches of any size; raise ValueError if it can't be exported."""
    with exporting(artifact, "torch"), torch.no_grad():
        program = torch.export.export(PixelNetwork(artifact), (example(artifact),), dynamic_shapes=BATCH)
    content = io.BytesIO()  # given a path, torch would warn about its suffix
    with warnings.catch_warnings(action="ignore"):  # torch warns about channels-last weights, but saves them whole
        torch.export.save(program, content, extra_files=describe(artifact))
    path.write_bytes(content.getvalue())


def load_program(path: Path, artifact: Artifact) -> Logits:
    """Return the function of the program in a file."""
    return torch.export.load(io.BytesIO(path.read_bytes())).module()
