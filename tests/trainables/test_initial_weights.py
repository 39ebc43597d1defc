"""Float weights of a user from which trials begin."""

from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch

from study.config import parse_study
from trainables.config import TrialConfig
from trainables.initial_weights import checksum_of_file, load_initial_weights
from trainables.models import build_model
from trainables.preflight import preflight
from trainables.run import CompressionRun


def quick(family: str, **changes: Any) -> TrialConfig:
    levels = {"num_levels": 4, "lam": 1e-3}
    return TrialConfig(family=family, **levels | {"regularize_epochs": 1, "finetune_epochs": 1} | changes)


def weights_of(seed: int = 3, **changes: Any) -> dict[str, torch.Tensor]:
    options: dict[str, Any] = {"name": "small_cnn", "image_shape": (1, 8, 8), "num_classes": 10} | changes
    return build_model(**options, seed=seed).state_dict()


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_trial_begins_from_the_weights_in_the_file(tmp_path: Path, wrapper: str | None) -> None:
    path = tmp_path / "float.pt"
    weights = weights_of()
    torch.save(weights if wrapper is None else {wrapper: weights, "epoch": 3}, path)
    config = quick("RM", init="pretrained", initial_weights=str(path), model="small_cnn", dataset="digits")
    run = CompressionRun(config)
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(tensor, weights[name])
    assert preflight(config) is not None


def test_counters_of_batch_normalization_may_be_missing(tmp_path: Path) -> None:
    weights = {name: tensor for name, tensor in weights_of().items() if not name.endswith("num_batches_tracked")}
    torch.save(weights, tmp_path / "float.pt")
    model = build_model("small_cnn", (1, 8, 8), 10, seed=0)
    load_initial_weights(model, str(tmp_path / "float.pt"), "small_cnn")
    assert torch.equal(model.state_dict()["0.weight"], weights["0.weight"])


class Harmful:
    def __reduce__(self) -> Any:
        return (len, ("executed",))


def test_files_that_do_not_fit_are_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = build_model("small_cnn", (1, 8, 8), 10, seed=0)

    def refusal(content: object) -> str:
        path = tmp_path / "float.pt"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        with pytest.raises(ValueError, match=r"trial\.initial_weights") as caught:
            load_initial_weights(model, str(path), "small_cnn")
        assert "\n" not in str(caught.value)
        return str(caught.value)

    wide = refusal(weights_of(num_classes=7))
    assert "it has the wrong shape for 14.weight (7, 64) instead of (10, 64), 14.bias (7,) instead of (10,);" in wide
    renamed = refusal({f"module.{name}": tensor for name, tensor in weights_of().items()})
    assert "it lacks 0.weight, 1.weight, 1.bias and 16 more; it also holds module.0.weight, module.1.w" in renamed
    assert "must hold a state_dict, got Tensor" in refusal(torch.zeros(3))
    assert "must hold a state_dict, got dict" in refusal({"epoch": 3})
    for content in (b"", b"not a file of torch", {"0.weight": Harmful()}):
        assert "reads with weights_only=True" in refusal(content)
    assert "(it holds len, which is no tensor)" in refusal({"0.weight": Harmful()})
    assert "executed" not in capsys.readouterr().out


def test_tensors_that_would_be_changed_are_refused(tmp_path: Path) -> None:
    """A copy would drop imaginary parts and scales, and end in a traceback of PyTorch for the others."""
    model = build_model("small_cnn", (1, 8, 8), 10, seed=0)
    whole = weights_of()
    weight = whole["0.weight"]

    def refusal(changes: dict[Any, torch.Tensor]) -> str:
        torch.save(whole | changes, tmp_path / "float.pt")
        with pytest.raises(ValueError, match=r"trial\.initial_weights") as caught:
            load_initial_weights(model, str(tmp_path / "float.pt"), "small_cnn")
        assert "\n" not in str(caught.value)
        assert "\x1b" not in str(caught.value)
        return str(caught.value)

    for other, kind in (
        (weight.to(torch.complex64), "complex"),
        (weight.to(torch.int8), "integers"),
        (weight.to_sparse(), "sparse"),
        (weight.to("meta"), "a meta tensor"),
        (torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8), "quantized"),
    ):
        assert f"it has the wrong kind of tensor for 0.weight {kind} instead of floats" in refusal({"0.weight": other})
    assert "must hold finite numbers, got others in 0.weight" in refusal({"0.weight": weight * float("nan")})
    assert "must hold finite numbers" in refusal({"0.weight": weight.double() * 1e300})
    assert "must hold a state_dict" in refusal({1: weight})
    assert "it also holds 'a\\n\\x1b[2J'" in refusal({"a\n\x1b[2J": weight})


def test_weights_in_a_compressed_archive_are_refused_unread(tmp_path: Path) -> None:
    """Two megabytes can hold gigabytes."""
    torch.save(weights_of(), tmp_path / "float.pt")
    with ZipFile(tmp_path / "float.pt") as source, ZipFile(tmp_path / "small.pt", "w", ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    with pytest.raises(ValueError, match="its archive must not be compressed"):
        load_initial_weights(build_model("small_cnn", (1, 8, 8), 10, seed=0), str(tmp_path / "small.pt"), "small_cnn")


def test_missing_files_are_told(tmp_path: Path) -> None:
    model = build_model("small_cnn", (1, 8, 8), 10, seed=0)
    with pytest.raises(ValueError, match=r"must be the path of a file on every node.*got '.*gone\.pt' \(No such file"):
        load_initial_weights(model, str(tmp_path / "gone.pt"), "small_cnn")
    with pytest.raises(ValueError, match="must be the path of a file"):
        load_initial_weights(model, str(tmp_path), "small_cnn")
    with pytest.raises(ValueError, match="must not be fetched, since a file names it"):
        load_initial_weights(model, "s3://bucket/float.pt", "small_cnn", fetch=False)


def test_checksum_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert checksum_of_file(str(tmp_path / "a")) == expected


def study_of(**trial: Any) -> Any:
    changes = {"baseline_epochs": trial.pop("baseline_epochs", None)}
    return parse_study({"name": "x", "trials": 5, "space": {"family": ["none"]}, "trial": trial} | changes, "x.yaml")


def test_study_with_initial_weights_trains_no_baseline() -> None:
    assert len(study_of(init="pretrained").baseline_seeds) == 1
    assert len(study_of(init="pretrained", initial_weights="float.pt").baseline_seeds) == 0
    assert study_of(init="pretrained", initial_weights="a.pt").with_absolute_paths().trial["initial_weights"][0] == "/"
    with pytest.raises(ValueError, match=r"trial\.init must be 'pretrained' where trial\.initial_weights are given"):
        study_of(initial_weights="float.pt")
    with pytest.raises(ValueError, match="baseline_epochs must be left out where"):
        study_of(init="pretrained", initial_weights="float.pt", baseline_epochs=3)


def test_hash_is_that_of_the_content_where_a_launch_has_computed_it() -> None:
    plain = quick("RM", init="pretrained")
    here, there = (quick("RM", init="pretrained", initial_weights=path, sources="abc") for path in ("a.pt", "b.pt"))
    other = quick("RM", init="pretrained", initial_weights="a.pt", sources="def")
    assert here.hash == there.hash
    assert len({plain.hash, here.hash, other.hash}) == 3
    assert quick("RM").hash == quick("RM", model_options={}, initial_weights=None, sources=None).hash
    assert quick("RM").hash != quick("RM", model_options={"dropout": 0.1}).hash
