"""Networks with groups of layers in files for other programs, in every format."""

from pathlib import Path

import pytest
import torch

from trainables.codebooks.artifact import Artifact
from trainables.config import TrialConfig
from trainables.formats import FORMATS, write_verified
from trainables.run import CompressionRun


@pytest.fixture(scope="module")
def run() -> CompressionRun:
    """A network whose layers have 2, 20 and 300 levels, or are float."""
    groups = {
        "first": "float",
        "last": {"layers": "last", "num_levels": 2},
        "middle": {"layers": "conv, not first", "num_levels": 300},
    }
    values = {"family": "none", "num_levels": 20, "width": 0.25, "validation_fraction": 0.8, "regularize_epochs": 1}
    run = CompressionRun(TrialConfig.from_dict(values | {"groups": groups, "recipe": {"batch_size": 96}}))
    run.run_epoch()
    return run


@pytest.mark.parametrize("name", FORMATS)
def test_file_computes_what_the_network_computes(name: str, run: CompressionRun, tmp_path: Path) -> None:
    artifact: Artifact = run.artifact({})
    levels = {len(values) for values, _ in artifact.codebooks.values()}
    assert levels == {2, 20, 300}
    assert "0.weight" in artifact.floats
    written = write_verified(name, tmp_path / "network", artifact, run.validation_split)
    assert written.num_images == len(run.validation_split)
    assert written.file_bytes == (tmp_path / "network").stat().st_size
    with torch.no_grad():
        images = run.validation_split.images[:50].float()
        logits = FORMATS[name].load(tmp_path / "network", artifact)(images)
    assert logits.shape == (50, 10)


def test_float_layer_takes_four_bytes_a_weight_in_the_file(run: CompressionRun, tmp_path: Path) -> None:
    artifact = run.artifact({})
    weights = artifact.floats["0.weight"].numel()
    layers = sum(layer.payload_bytes for layer in artifact.bits.layers.values())
    others = sum(4 * tensor.numel() for name, tensor in artifact.floats.items() if name != "0.weight")
    assert artifact.bits.payload_bytes == 4 * weights + layers + others
