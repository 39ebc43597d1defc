"""The compressed file: streams that round-trip, sizes to the byte, accuracy kept, damage refused."""

import json
import os
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.support.examples import examples
from trainables.codebooks.artifact import Artifact
from trainables.codebooks.artifact_file import read_artifact, write_artifact
from trainables.codebooks.bits import ASYMMETRIC, CODES, COMPACT, FIXED, HUFFMAN, network_bits
from trainables.codebooks.packing import TABLES
from trainables.config import Recipe, TrialConfig
from trainables.data.datasets import load_dataset
from trainables.errors import DamagedFileError
from trainables.evaluation import evaluate
from trainables.families import FAMILIES
from trainables.measurement.network import accuracy
from trainables.models import build_model, quantized_weights
from trainables.run import CompressionRun

PROVENANCE = {"trial_id": "small-00003", "note": 'with "sha256": "' + 64 * "a" + '", λ and \\'}


def quick(family: str, num_levels: int | None = 4, **changes: Any) -> TrialConfig:
    """A trial of 287 images in 3 batches."""
    lam = 4.0 if FAMILIES[family].has_penalty else 0.0
    values: dict[str, Any] = {"validation_fraction": 0.8, "regularize_epochs": 1, "finetune_epochs": 1, "width": 0.25}
    values |= {"recipe": Recipe(batch_size=96, recalibration_batches=0)} | changes
    return TrialConfig(family=family, num_levels=num_levels, lam=lam, **values)


def with_random_levels(num_levels: int, skew: float, seed: int, coding: str = "entropy") -> Artifact:
    """A network whose weights take random levels, the less likely the higher; `skew` 0 for all alike."""
    rng = np.random.default_rng(seed)
    config = TrialConfig(family="none", num_levels=num_levels, width=0.1)
    network = build_model("small_cnn", (3, 8, 8), 10, seed, 0.1).to(memory_format=torch.channels_last)
    chances = np.exp(-skew * np.arange(num_levels))
    codebooks = {}
    for name, weight in quantized_weights(network).items():
        levels = torch.from_numpy(rng.choice(num_levels, tuple(weight.shape), p=chances / chances.sum()))
        if levels.dim() == 4:
            levels = levels.contiguous(memory_format=torch.channels_last)
        codebooks[name] = torch.from_numpy(rng.normal(size=num_levels).astype(np.float32)).sort().values, levels
    floats = {
        name: torch.from_numpy(rng.normal(size=tuple(tensor.shape)).astype(np.float32))
        for name, tensor in network.state_dict().items()
        if name not in codebooks and tensor.is_floating_point()
    }
    return Artifact(
        config=config,
        image_shape=(3, 8, 8),
        num_classes=10,
        mean=(1.5, 2.0, 1 / 3),
        std=(3.0, 4.0, 5.0),
        codebooks=codebooks,
        floats=floats,
        provenance=PROVENANCE,
        coding=coding,
    )


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def payload_bytes(path: Path) -> int:
    """Return the bytes of all tensors in a file, as any reader of safetensors sees them."""
    return sum(tensor.nbytes for tensor in safetensors.torch.load_file(path).values())


@examples(25)
@given(
    num_levels=st.integers(2, 256),
    skew=st.sampled_from([0.0, 0.05, 0.7, 3.0]),
    seed=st.integers(0, 2**32 - 1),
    coding=st.sampled_from(sorted(CODES)),
)
def test_file_round_trips_and_has_the_size_of_its_bits(
    num_levels: int, skew: float, seed: int, coding: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    artifact = with_random_levels(num_levels, skew, seed, coding)
    path = tmp_path_factory.mktemp("artifact") / "network"
    write_artifact(path, artifact)
    back = read_artifact(path)
    assert_same(back.state_dict(), artifact.state_dict())
    for field in ("config", "image_shape", "num_classes", "mean", "std", "provenance", "coding"):
        assert getattr(back, field) == getattr(artifact, field)
    counts = {
        name: torch.bincount(levels.flatten(), minlength=num_levels).tolist()
        for name, (_, levels) in artifact.codebooks.items()
    }
    network = build_model("small_cnn", (3, 8, 8), 10, 0, 0.1)
    bits = network_bits(network, counts, coding)
    assert payload_bytes(path) == back.bits.payload_bytes == bits.payload_bytes
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert back.bits.bits_per_weight == 8 * payload_bytes(path) / parameters
    stored = set(safetensors.torch.load_file(path))
    for name, layer in bits.layers.items():
        assert {code for code, suffix in TABLES.items() if f"{name}.{suffix}" in stored} == {layer.code} - {FIXED}


def test_all_codes_are_used() -> None:
    codes = {
        (coding, skew): with_random_levels(16, skew, 0, coding).bits.layers["7.weight"].code
        for coding in CODES
        for skew in (0.0, 2.0)
    }
    assert codes == {
        ("huffman", 0.0): FIXED,
        ("huffman", 2.0): HUFFMAN,
        ("entropy", 0.0): FIXED,
        ("entropy", 2.0): ASYMMETRIC,
        ("compact", 0.0): FIXED,
        ("compact", 2.0): COMPACT,
    }


@pytest.mark.parametrize(("coding", "number"), [("huffman", 1), ("entropy", 2), ("compact", 3)])
def test_file_has_the_first_format_that_has_its_codes(coding: str, number: int, tmp_path: Path) -> None:
    """Earlier versions read the formats that they know, and what they wrote is read with its coding."""
    write_artifact(tmp_path / "network", with_random_levels(16, 2.0, 0, coding))
    with safetensors.safe_open(tmp_path / "network", "pt") as file:
        assert json.loads(file.metadata()["qar"])["format"] == number
    assert read_artifact(tmp_path / "network").coding == coding


def test_file_that_an_earlier_version_wrote_is_read() -> None:
    """`network-format-1.qar` was written by commit 0ef03d0: K = 5, skew 1, seed 0."""
    path = Path(__file__).parent / "network-format-1.qar"
    assert_same(read_artifact(path).state_dict(), with_random_levels(5, 1.0, 0).state_dict())


def test_dense_weights_are_representatives_at_their_levels() -> None:
    artifact = with_random_levels(5, 0.3, 1)
    dense = artifact.state_dict()
    for name, (representatives, levels) in artifact.codebooks.items():
        at = random.Random(0).sample(range(levels.numel()), 20)
        flat = levels.contiguous().view(-1)
        assert [dense[name].contiguous().view(-1)[i] for i in at] == [representatives[int(flat[i])] for i in at]


def test_same_network_makes_the_same_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_artifact(tmp_path / name, with_random_levels(4, 0.5, 2))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.fixture(scope="module")
def runs() -> dict[str, CompressionRun]:
    """One of each family, the float baseline, and one of each coding."""
    made = {family: CompressionRun(quick(family)) for family in sorted(FAMILIES)}
    made["float"] = CompressionRun(quick("none", None))
    recipes = {coding: Recipe(batch_size=96, recalibration_batches=0, coding=coding) for coding in CODES}
    return made | {coding: CompressionRun(quick("RS", recipe=recipe)) for coding, recipe in recipes.items()}


@pytest.mark.parametrize("name", [*sorted(FAMILIES), "float", *CODES])
def test_accuracy_and_size_are_those_of_the_trial_in_each_phase(
    name: str, runs: dict[str, CompressionRun], tmp_path: Path
) -> None:
    run = runs[name]
    for _ in range(2):
        metrics = run.run_epoch()
        before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
        write_artifact(tmp_path / "network", run.artifact(PROVENANCE))
        assert_same(run.model.state_dict(), before)
        artifact = read_artifact(tmp_path / "network")
        assert artifact.coding == run.config.recipe.coding
        assert evaluate(artifact) == metrics["val_accuracy"]
        assert payload_bytes(tmp_path / "network") == artifact.bits.payload_bytes == metrics["artifact_bytes"]
        assert artifact.bits.bits_per_weight == metrics["bits_per_weight"]
        with run.hard_quantized():
            assert_same(artifact.state_dict(), {key: run.model.state_dict()[key] for key in artifact.state_dict()})
            assert evaluate(artifact) == accuracy(artifact.build(), run.validation_split)


def test_recalibrated_statistics_are_in_the_file(tmp_path: Path) -> None:
    run = CompressionRun(quick("RM", 2, recipe=Recipe(batch_size=96, recalibration_batches=2)))
    metrics = run.run_epoch()
    write_artifact(tmp_path / "network", run.artifact({}))
    assert evaluate(read_artifact(tmp_path / "network")) == metrics["val_accuracy"]


def test_test_split_is_the_test_images() -> None:
    artifact = CompressionRun(quick("none")).artifact({})
    dataset = load_dataset("digits")
    images = (dataset.x_test.transpose(0, 3, 1, 2) - np.float32(artifact.mean[0])) / np.float32(artifact.std[0])
    chosen = artifact.build().eval()(torch.from_numpy(images)).argmax(1).numpy()
    assert evaluate(artifact, "test") == (chosen == dataset.y_test).mean()
    with pytest.raises(ValueError, match=r"unknown split 'train'; choose from \['test', 'validation'\]"):
        evaluate(artifact, "train")


def test_another_data_set_is_refused() -> None:
    with pytest.raises(ValueError, match="digits must have image shape"):
        evaluate(with_random_levels(4, 0.0, 0))


def damaged(path: Path, content: bytes) -> str:
    """The one line with which content is refused."""
    path.write_bytes(content)
    with pytest.raises(DamagedFileError) as refusal:
        read_artifact(path)
    assert str(refusal.value).startswith(str(path))
    assert len(str(refusal.value).splitlines()) == 1
    return str(refusal.value)


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("intact") / "network"
    write_artifact(path, with_random_levels(4, 0.5, 0))
    return path.read_bytes()


def test_truncated_file_is_refused(intact: bytes, tmp_path: Path) -> None:
    for end in [0, 1, 7, 8, 9, *range(10, len(intact), 97), len(intact) - 1]:
        damaged(tmp_path / "network", intact[:end])


def test_lengthened_file_is_refused(intact: bytes, tmp_path: Path) -> None:
    damaged(tmp_path / "network", intact + b"\0")
    damaged(tmp_path / "network", intact + intact)


def test_file_with_a_flipped_bit_is_refused(intact: bytes, tmp_path: Path) -> None:
    rng = random.Random(0)
    places = [*range(40), *rng.sample(range(len(intact)), 400), len(intact) - 1]
    for place in places:
        altered = bytearray(intact)
        altered[place] ^= 1 << rng.randrange(8)
        damaged(tmp_path / "network", bytes(altered))


def test_foreign_file_is_refused(tmp_path: Path) -> None:
    foreign = safetensors.torch.save({"weight": torch.zeros(3)}, {"format": "pt"})
    contents = [foreign, b"", b"\0" * 100, random.Random(0).randbytes(5000), pickle.dumps({"a": 1}), b'{"qar": 1}']
    for content in contents:
        assert "is not an artifact of qar" in damaged(tmp_path / "network", content)


def test_pickle_is_never_loaded(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return exec, (f"open({str(tmp_path / 'boom')!r}, 'w')",)

    damaged(tmp_path / "network", pickle.dumps(Bomb()))
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"format": 4},
        {"format": "2"},
        {"config": {"family": "RX", "num_levels": 4}},
        {"config": {"family": "none", "num_levels": 4, "width": 0.1, "model": "alexnet"}},
        {"config": {"family": "none", "num_levels": 4, "width": 0.1, "unheard_of": 1}},
        {"quantized_shapes": {}},
        {"quantized_shapes": {"0.weight": [1]}},
        {"num_classes": 11},
        {"mean": None},
        {"mean": [1.0]},
        {"quantized_shapes": {"0.weight": [2**20, 2**20]}},
        {"quantized_shapes": {"0.weight": [-1, 3]}},
        {"quantized_shapes": [[2**40]]},
        {"num_classes": 10**9},
        {"num_classes": 2**20},
        {"num_classes": True},
        {"num_classes": -1},
        {"image_shape": [10**9, 8, 8]},
        {"image_shape": [2**16, 8, 8]},
        {"image_shape": [3, 8]},
        {"image_shape": "abc"},
        {"config": {"family": "none", "num_levels": 4, "width": 1e6}},
        {"config": {"family": "none", "num_levels": 4, "width": 1e300}},
        {"config": {"family": "none", "num_levels": 4, "model": "torchvision:regnet_y_128gf"}},
        {"config": {"family": "none", "num_levels": 4, "model": "torchvision:r3d_18"}},
        {"config": []},
        {"provenance": []},
        {"provenance": {"val_accuracy": "\x1b[2J"}},
    ],
)
def test_well_formed_file_of_another_qar_is_refused(
    change: dict[str, Any], intact: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = json.dumps
    monkeypatch.setattr(
        "trainables.codebooks.artifact_file.json.dumps", lambda header, **kw: original(header | change, **kw)
    )
    write_artifact(tmp_path / "network", with_random_levels(4, 0.5, 0))
    assert "can't be understood" in damaged(tmp_path / "network", (tmp_path / "network").read_bytes())


def test_format_1_has_no_asymmetric_numeral_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = json.dumps
    monkeypatch.setattr(
        "trainables.codebooks.artifact_file.json.dumps", lambda header, **kw: original(header | {"format": 1}, **kw)
    )
    write_artifact(tmp_path / "network", with_random_levels(16, 2.0, 0))
    refusal = damaged(tmp_path / "network", (tmp_path / "network").read_bytes())
    assert "at most one table, of a code of 'huffman', got ['asymmetric']" in refusal


@pytest.mark.parametrize("deep", ["[" * 5000 + "]" * 5000, '{"a":' * 5000 + "1" + "}" * 5000])
def test_deep_header_is_refused(deep: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = json.dumps
    monkeypatch.setattr(
        "trainables.codebooks.artifact_file.json.dumps",
        lambda header, **kw: original(header | {"provenance": 7}, **kw).replace(" 7}", f" {deep}}}"),
    )
    write_artifact(tmp_path / "network", with_random_levels(4, 0.5, 0))
    assert "can't be understood" in damaged(tmp_path / "network", (tmp_path / "network").read_bytes())


def test_devices_and_pipes_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (Path("/dev/zero"), tmp_path / "pipe"):
        with pytest.raises(ValueError, match="must be a regular file"):
            read_artifact(path)


def test_remedy_is_to_export_again_only_where_there_was_an_export(intact: bytes, tmp_path: Path) -> None:
    assert "export it again" not in damaged(tmp_path / "text", b"hello")
    assert "export it again" in damaged(tmp_path / "network", intact[:-1])


def test_sizes_are_checked_before_memory_is_taken(intact: bytes, tmp_path: Path) -> None:
    """Headers that declare more than the file has, and files of holes, are refused before they are read."""
    end = 8 + int.from_bytes(intact[:8], "little")
    header = intact[8:end].decode()
    assert '"shape":[10]' in header
    for size in (11, 10**12, -1, "[]", 10**400):
        longer = header.replace('"shape":[10]', f'"shape":[{size}]').encode()
        refusal = damaged(tmp_path / "network", len(longer).to_bytes(8, "little") + longer + intact[end:])
        assert "its tensors must take the" in refusal
    damaged(tmp_path / "network", (2**60).to_bytes(8, "little") + intact[8:])
    huge = tmp_path / "huge"
    huge.write_bytes(intact)
    os.truncate(huge, 2**40)
    with pytest.raises(
        DamagedFileError, match=r"its tensors must take the \d+ bytes after the header, of at most \d+ in all"
    ):
        read_artifact(huge)


def test_network_above_the_limit_is_refused(intact: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.codebooks.artifact_checks.MOST_WEIGHTS", 100)
    assert "the network must have at most 100 weights" in damaged(tmp_path / "network", intact)


def test_missing_file_is_a_wrong_request(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(ValueError, match=r"can't be read: .*; give a file that qar export wrote"):
            read_artifact(path)


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "missing" / "network", tmp_path / "folder", tmp_path / "file" / "network"):
        with pytest.raises(ValueError, match="can't be written"):
            write_artifact(path, with_random_levels(4, 0.0, 0))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


def test_write_follows_no_link_to_somebody_elses_file(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    for name in ("network", ".network.draft"):
        (tmp_path / name).symlink_to(tmp_path / "theirs")
    write_artifact(tmp_path / "network", with_random_levels(4, 0.0, 0))
    assert (tmp_path / "theirs").read_text() == "theirs"
    assert read_artifact(tmp_path / "network").num_classes == 10


def test_interrupted_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "network"
    write_artifact(path, with_random_levels(4, 0.0, 0))
    before = path.read_bytes()

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trainables.files.atomic.os.replace", fail)
    with pytest.raises(ValueError, match="No space left on device"):
        write_artifact(path, with_random_levels(8, 0.0, 1))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_channels_last_weights_are_stored_in_logical_order(tmp_path: Path) -> None:
    artifact = with_random_levels(16, 0.0, 3)
    assert any(not levels.is_contiguous() for _, levels in artifact.codebooks.values())
    write_artifact(tmp_path / "network", artifact)
    model = read_artifact(tmp_path / "network").build()
    assert isinstance(model, nn.Sequential)
    assert_same({name: model.state_dict()[name] for name in artifact.state_dict()}, artifact.state_dict())
