"""Files for other programs: each computes what the network computes, needs no qar, and is kept only if it is right."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from trainables import load_artifact
from trainables.codebooks import artifact_file as artifacts
from trainables.codebooks.artifact import Artifact
from trainables.config import Recipe, TrialConfig
from trainables.data.batches import Split
from trainables.formats import FORMATS, PixelNetwork, write_verified
from trainables.formats.file_format import FileFormat
from trainables.formats.onnx_graph import OPSET
from trainables.formats.verification import UnfaithfulFileError
from trainables.measurement.network import accuracy
from trainables.models import build_model
from trainables.run import CompressionRun

LEVELS_TYPES = {4: "UINT4", 17: "UINT8", 300: "UINT16"}


class Network(NamedTuple):
    """A trained network and its images."""

    artifact: Artifact
    split: Split
    accuracy: float


@pytest.fixture(scope="module")
def network() -> Network:
    recipe = Recipe(batch_size=96, recalibration_batches=2)
    config = TrialConfig(
        family="none", num_levels=4, width=0.25, validation_fraction=0.8, regularize_epochs=1, recipe=recipe
    )
    run = CompressionRun(config)
    metrics = run.run_epoch()
    return Network(run.artifact({"trial_id": "small-00003"}), run.validation_split, metrics["val_accuracy"])


@pytest.fixture(scope="module")
def files(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of each format, under its name."""
    folder = tmp_path_factory.mktemp("formats")
    for name, format in FORMATS.items():
        format.write(folder / name, network.artifact)
    return folder


def pixels(split: Split, count: int) -> Tensor:
    return split.images[:count].float()


@pytest.mark.parametrize("name", FORMATS)
def test_file_computes_what_the_network_computes(name: str, files: Path, network: Network) -> None:
    logits = FORMATS[name].load(files / name, network.artifact)
    with torch.no_grad():
        for count in (1, 3, 700):
            images = pixels(network.split, count)
            expected = PixelNetwork(network.artifact)(images)
            torch.testing.assert_close(logits(images), expected, rtol=1e-4, atol=1e-4)
            assert (logits(images).argmax(1) == expected.argmax(1)).all()


@pytest.mark.parametrize("name", FORMATS)
def test_written_file_has_the_accuracy_of_the_trial(name: str, network: Network, tmp_path: Path) -> None:
    written = write_verified(name, tmp_path / "network", network.artifact, network.split)
    assert written.accuracy == network.accuracy
    assert written.num_images == len(network.split)
    assert written.file_bytes == (tmp_path / "network").stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["network"]


def test_pixel_network_is_the_network_behind_the_normalization_of_training(network: Network) -> None:
    module = PixelNetwork(network.artifact)
    assert not module.training
    (normalized, _) = next(network.split.batches(100))
    with torch.no_grad():
        assert torch.equal(module(pixels(network.split, 100)), module.network(normalized))
    assert accuracy(module.network, network.split) == network.accuracy


def test_dense_file_is_a_state_dict_with_quantized_values(files: Path, network: Network) -> None:
    artifact = network.artifact
    model = build_model(artifact.config.model, artifact.image_shape, artifact.num_classes, 1, artifact.config.width)
    model.load_state_dict(safetensors.torch.load_file(files / "safetensors"))
    for name, (representatives, levels) in artifact.codebooks.items():
        assert torch.equal(model.state_dict()[name], representatives[levels.long()])
    with safetensors.safe_open(files / "safetensors", "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["mean"]) == list(artifact.mean)
    assert json.loads(metadata["provenance"]) == {"trial_id": "small-00003"}


@pytest.mark.parametrize("num_levels", LEVELS_TYPES)
def test_graph_holds_codebooks_and_levels_in_the_smallest_type(
    num_levels: int, network: Network, tmp_path: Path
) -> None:
    rng = torch.Generator().manual_seed(0)
    codebooks = {
        name: (
            torch.randn(num_levels, generator=rng).sort().values,
            torch.randint(num_levels, levels.shape, generator=rng, dtype=torch.int32),
        )
        for name, (_, levels) in network.artifact.codebooks.items()
    }
    written = write_verified(
        "onnx", tmp_path / "network", replace(network.artifact, codebooks=codebooks), network.split
    )
    assert written.accuracy is not None
    model = onnx.load(tmp_path / "network")
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    kinds = {tensor.name: onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in model.graph.initializer}
    for name, (representatives, levels) in codebooks.items():
        assert kinds[f"network.{name}.levels"] == LEVELS_TYPES[num_levels]
        assert f"network.{name}" not in kinds
        stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        assert (stored[f"network.{name}.levels"].astype(np.int64) == levels.numpy()).all()
        assert (stored[f"network.{name}.codebook"] == representatives.numpy()).all()


def test_graph_is_small_and_tells_nothing_of_this_machine(files: Path) -> None:
    assert (files / "onnx").stat().st_size < 0.6 * (files / "safetensors").stat().st_size
    content = (files / "onnx").read_bytes()
    assert str(Path.cwd()).encode() not in content
    assert b"stack_trace" not in content


SCRIPTS = {
    "torch": "torch.export.load(open(file, 'rb')).module()(torch.from_numpy(images)).argmax(1).tolist()",
    "onnx": "onnxruntime.InferenceSession(file).run(None, {'pixels': images})[0].argmax(1).tolist()",
    "qar": "load_artifact(file)(torch.from_numpy(images)).argmax(1).tolist()",
}
MODULES = {
    "torch": ("torch", ("trainables", "study", "ray")),
    "onnx": ("onnxruntime", ("trainables", "study", "ray", "torch", "onnx")),
    "qar": ("torch; from trainables import load_artifact", ("study", "ray", "onnx", "optuna")),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_file_runs_without_what_it_does_not_need(name: str, files: Path, network: Network, tmp_path: Path) -> None:
    images = pixels(network.split, 50)
    np.save(tmp_path / "images.npy", images.contiguous().numpy())
    imported, absent = MODULES[name]
    script = (
        f"import sys; sys.modules |= dict.fromkeys({absent!r})\n"  # importing them is an error
        f"import numpy as np, {imported}\n"
        f"file, images = {str(files / name)!r}, np.load({str(tmp_path / 'images.npy')!r})\n"
        f"print({SCRIPTS[name]})\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        assert json.loads(done.stdout) == PixelNetwork(network.artifact)(images).argmax(1).tolist()


def test_file_that_classifies_otherwise_is_not_kept(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "network"
    path.write_text("precious")
    wrong = replace(FORMATS["qar"], load=lambda path, artifact: lambda images: -PixelNetwork(artifact)(images))
    monkeypatch.setitem(FORMATS, "qar", wrong)
    with pytest.raises(
        UnfaithfulFileError, match=rf"classify each of {len(network.split)} validation images as the network does"
    ):
        write_verified("qar", path, network.artifact, network.split)
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_packages_are_named(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "network"
    monkeypatch.setitem(FORMATS, "qar", replace(FORMATS["qar"], writer=("torch", "no_such_writer")))
    with pytest.raises(
        ValueError, match=r"there is no no_such_writer; install them with: pip install torch no_such_writer"
    ):
        write_verified("qar", path, network.artifact, network.split)
    assert not path.exists()
    monkeypatch.setitem(FORMATS, "qar", replace(FORMATS["qar"], writer=(), runtime=("no_such_runtime",)))
    written = write_verified("qar", path, network.artifact, network.split)
    assert (written.accuracy, written.missing) == (None, ["no_such_runtime"])
    assert load_artifact(path).network is not None


class Branching(nn.Module):
    """A network whose way depends on its images, which no graph can hold."""

    def __init__(self, artifact: Artifact) -> None:
        super().__init__()

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels if pixels.sum().item() > 0 else -pixels


@pytest.mark.parametrize("name", ["torch", "onnx"])
def test_network_that_cannot_be_exported_is_refused_in_one_line(
    name: str, network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = {"torch": "program", "onnx": "onnx_graph"}[name]
    monkeypatch.setattr(f"trainables.formats.{module}.PixelNetwork", Branching)
    rule = f"model 'small_cnn' must be one that torch can export as {name}, got: .*; choose another --format"
    with pytest.raises(ValueError, match=rule) as refusal:
        write_verified(name, tmp_path / "network", network.artifact, network.split)
    assert len(str(refusal.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_unknown_format_and_place_that_cannot_be_written_are_refused(network: Network, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"unknown format 'zip'; choose from \['onnx', 'qar', 'safetensors', 'torch'\]"
    ):
        write_verified("zip", tmp_path / "network", network.artifact, network.split)
    with pytest.raises(ValueError, match=r"can't be written: .*; choose another file"):
        write_verified("safetensors", tmp_path / "missing" / "network", network.artifact, network.split)


def test_formats_say_what_they_hold() -> None:
    for format in FORMATS.values():
        assert isinstance(format, FileFormat)
        assert format.content
        assert format.missing((*format.writer, *format.runtime)) == []


def test_model_of_a_file_by_import_path_is_only_built_when_trusted(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "network"
    FORMATS["qar"].write(path, network.artifact)
    content = path.read_bytes()
    renamed = content.replace(b'\\"model\\": \\"small_cnn\\"', b'\\"model\\": \\"os:getcwd\\"')
    place = artifacts._CHECKSUM.search(renamed)
    assert place is not None
    length = int.from_bytes(content[:8], "little") + len(renamed) - len(content)
    renamed = length.to_bytes(8, "little") + renamed[8:]
    path.write_bytes(artifacts._with_checksum(renamed, place, artifacts._checksum(renamed, place)))
    with pytest.raises(ValueError, match="must be code that you have launched a study with"):
        load_artifact(path)
