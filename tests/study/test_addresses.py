"""Addresses that files name: nothing is fetched, connected to or created for them unless the user says so."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from study.addresses import addresses_of, check_addresses, remember
from study.cli import app
from study.config import StudyConfig, parse_study
from study.storage.folder import StudyFolder
from tests.support.example_studies import files_below, make_study, study_config
from trainables.codebooks.artifact_file import write_artifact
from trainables.config import TrialConfig
from trainables.data.datasets import chosen_data
from trainables.run import CompressionRun

FOREIGN: dict[str, dict[str, Any]] = {
    "trial.data_dir": {
        "trial": {"dataset": "cifar10", "data_dir": "s3://bucket/x?endpoint_override=http://127.0.0.1:9"}
    },
    "trial.dataset": {"trial": {"dataset": "npz:s3://bucket/x.npz?endpoint_override=http://127.0.0.1:9"}},
    "optuna_storage": {"optuna_storage": "postgresql://somebody@127.0.0.1:9/db"},
    "warm_start[0]": {"warm_start": ["s3://bucket/study?endpoint_override=http://127.0.0.1:9"]},
}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "qar" / "addresses"


@pytest.fixture(autouse=True)
def refuse_all_traffic(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("connects")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("trainables.data.datasets.fetched", refuse)
    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", refuse)


def study(**changes: Any) -> StudyConfig:
    return parse_study({"name": "foreign", "trials": 4, "space": {"family": ["RS"]}} | changes, "test")


@pytest.mark.parametrize("key", FOREIGN)
def test_addresses_are_known_after_a_launch_or_by_the_users_word(key: str, state: Path) -> None:
    config = study(**FOREIGN[key])
    assert list(addresses_of(config)) == [key]
    with pytest.raises(
        ValueError, match=r"^" + key.replace("[", r"\[") + r" must be .*; allow it with --trust-addr"
    ) as no:
        check_addresses(config, trusted=False, on_cluster=False)
    assert "endpoint" not in str(no.value)
    assert "somebody" not in str(no.value)
    remember(config)
    check_addresses(config, trusted=False, on_cluster=True)
    assert "127.0.0.1" not in state.read_text()
    assert state.stat().st_size == 65
    state.unlink()
    check_addresses(config, trusted=True, on_cluster=True)
    check_addresses(config, trusted=False, on_cluster=True)


def test_data_set_on_this_machine_is_no_foreign_address(tmp_path: Path) -> None:
    config = study(trial={"dataset": "cifar10", "data_dir": str(tmp_path / "data")})
    with pytest.raises(ValueError, match="to be downloaded into"):
        check_addresses(config, trusted=False, on_cluster=False)
    assert not (tmp_path / "data").exists()
    (tmp_path / "data").mkdir()
    images, labels = np.zeros((8, 4, 4, 1), np.uint8), np.arange(8) % 2
    np.savez(tmp_path / "data" / "cifar10.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    check_addresses(config, trusted=False, on_cluster=False)
    with pytest.raises(ValueError, match="to be downloaded into"):  # nodes may lack it
        check_addresses(config, trusted=False, on_cluster=True)


def test_embedded_data_and_files_by_path_are_no_foreign_addresses() -> None:
    check_addresses(study(), trusted=False, on_cluster=True)
    check_addresses(study(trial={"dataset": "npz:/data/x.npz"}), trusted=False, on_cluster=True)


@pytest.mark.parametrize("key", FOREIGN)
def test_resume_refuses_a_foreign_study_and_write_nothing(key: str, tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "foreign")
    folder.create(study(**FOREIGN[key]))
    result = CliRunner().invoke(app, ["resume", str(folder)])
    assert (result.exit_code, "--trust-addresses" in result.output) == (2, True)
    assert len(result.output.splitlines()) == 1
    assert [path.name for path in folder.path.iterdir()] == ["study.yaml"]


@pytest.mark.parametrize("command", ["resume", "confirm", "dashboard"])
def test_database_that_a_foreign_study_names_is_neither_made_nor_written(command: str, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/theirs.db"
    study = make_study(tmp_path / "foreign", study_config(trials=5, optuna_storage=uri))
    before = files_below(tmp_path)
    result = CliRunner().invoke(app, [command, str(study)])
    (line,) = result.output.splitlines()
    assert (result.exit_code, line.startswith("qar: optuna_storage must be")) == (2, True), line
    assert line.endswith("allow it with --trust-addresses")
    assert files_below(tmp_path) == before


def test_dashboard_asks_for_no_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = []
    monkeypatch.setattr("study.commands.dashboard.serve", lambda folder, *_: served.append(str(folder)))
    folder = StudyFolder(tmp_path / "foreign")
    folder.create(study(trial={"dataset": "cifar10", "data_dir": str(tmp_path / "data")}))
    assert CliRunner().invoke(app, ["dashboard", str(folder)]).exit_code == 0
    assert served == [str(folder)]


@pytest.fixture
def artifact_naming(tmp_path: Path) -> Callable[..., Path]:
    def write(**changes: Any) -> Path:
        config = TrialConfig(family="none", num_levels=4, width=0.1, subset=200, validation_fraction=0.5)
        artifact = CompressionRun(config).artifact({"val_accuracy": 0.5})
        write_artifact(tmp_path / "network.qar", replace(artifact, config=replace(config, **changes)))
        return tmp_path / "network.qar"

    return write


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "npz:s3://bucket/x.npz?endpoint_override=http://127.0.0.1:9"},
        {"dataset": "cifar10", "data_dir": "s3://bucket/x?endpoint_override=http://127.0.0.1:9"},
        {"dataset": "cifar10", "data_dir": "new"},
        {"dataset": "fashion_mnist", "data_dir": "new"},
    ],
)
def test_evaluate_fetches_and_creates_nothing_that_a_file_names(
    changes: dict[str, Any], artifact_naming: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = artifact_naming(**changes)
    result = CliRunner().invoke(app, ["evaluate", str(file)])
    assert (result.exit_code, "--trust-addresses" in result.output) == (2, True)
    assert len(result.output.splitlines()) == 1
    assert not Path("new").exists()
    own = CliRunner().invoke(app, ["evaluate", str(file), "--dataset", "digits"])
    assert own.exit_code == 0
    assert "val_accuracy" in own.output


@pytest.mark.parametrize(
    ("dataset", "data_dir", "trusted", "fetch"),
    [
        (None, None, False, False),
        (None, None, True, True),
        (None, "mine", False, False),
        (None, "s3://mine", False, False),  # the file's own URI would be fetched, not the user's
        ("npz:s3://mine/x.npz", None, False, True),
        ("cifar10", None, False, False),
        ("cifar10", "s3://mine", False, True),
        ("cifar10", "mine", False, True),
    ],
)
def test_only_whole_addresses_of_the_user_are_fetched(
    dataset: str | None, data_dir: str | None, trusted: bool, fetch: bool
) -> None:
    assert chosen_data("npz:s3://theirs/x.npz", "theirs", dataset, data_dir, trusted).fetch == fetch


def test_bucket_that_the_user_names_is_fetched_from() -> None:
    assert chosen_data("cifar10", "theirs", None, "s3://mine", False).fetch
