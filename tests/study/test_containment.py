"""Nothing outside of a study is written or removed, whatever the study's files say or link to."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from study.cli import app
from study.containment import check_no_links, inner_path, is_file_name, is_inner_path, remove_file, remove_tree
from study.ledger.reading import read_history
from study.run.recovery import prune_checkpoints
from study.storage.folder import StudyFolder
from tests.support.example_studies import files_below, make_study
from tests.support.ledgers import change_facts
from trainables.errors import DamagedFileError

LINKED = (
    "ray",
    "ray/session-001",
    "ray/session-001/small-00003-0",
    "ray/session-001/small-00003-0/checkpoint_000009",
    "ray/session-002",
    "ledger.jsonl",
    "study.yaml",
    "study.json",
    "derived.json",
    ".derived.json.draft",
    ".study.yaml.draft",
    "trials.parquet",
    ".trials.parquet.draft",
    "optuna.db",
    "optuna.db-journal",
    "report",
    "report/figures",
    "report/summary.json",
    "confirm",
    "confirm/ledger.jsonl",
    "baseline",
    "baseline/seed-0.draft",
)
"""Paths in a study that its commands would write or remove."""

WRITING: dict[str, Callable[[Path], list[str]]] = {
    "resume": lambda study: ["resume", str(study)],
    "resume, more trials": lambda study: ["resume", str(study), "--trials", "2"],
    "report": lambda study: ["report", str(study)],
    "confirm": lambda study: ["confirm", str(study), "--seeds", "2"],
    "resume its confirmation": lambda study: ["resume", str(study / "confirm")],
    "dashboard": lambda study: ["dashboard", str(study), "--port", "65531"],
}
"""Commands that write or remove files of a study."""


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    folder = tmp_path / "precious"
    (folder / "sub" / "checkpoint_1").mkdir(parents=True)
    for name in ("id_rsa", "study.yaml", "ledger.jsonl", "sub/checkpoint_1/trial.pt"):
        (folder / name).write_text("keep me")
    return folder


def plant(study: Path, name: str, target: Path) -> None:
    """Put a symbolic link in the place of one of a study's paths."""
    link = study / name
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_dir():
        link.rmdir()
    link.unlink(missing_ok=True)
    link.symlink_to(target)


@pytest.mark.parametrize("name", LINKED)
def test_resume_refuses_a_link_at_any_depth_and_touches_nothing(name: str, tmp_path: Path, precious: Path) -> None:
    study = make_study(tmp_path / "small", ended=False).path
    target = precious / "study.yaml" if name.rpartition("/")[2].count(".") else precious
    if name in ("study.yaml", "ledger.jsonl"):  # readable, so that the command comes to the point of writing
        target.write_bytes((study / name).read_bytes())
    plant(study, name, target)
    before = files_below(precious)
    done = CliRunner().invoke(app, ["resume", str(study)])
    assert done.exit_code == 2, done.output
    assert str(study / name) in done.stderr
    assert "symbolic link" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert files_below(precious) == before


@pytest.mark.parametrize("command", WRITING)
def test_every_command_that_writes_refuses_a_study_with_a_link(command: str, tmp_path: Path, precious: Path) -> None:
    study = make_study(tmp_path / "small").path
    plant(study, "confirm", precious)
    (precious / "study.yaml").write_bytes((study / "study.yaml").read_bytes())
    before = files_below(precious)
    done = CliRunner().invoke(app, WRITING[command](study))
    assert (done.exit_code, "symbolic link" in done.stderr) == (2, True), done.output
    assert files_below(precious) == before


def test_sweep_by_itself_removes_nothing_behind_a_link(tmp_path: Path, precious: Path) -> None:
    study = make_study(tmp_path / "small", ended=False)
    plant(study.path, "ray/session-001", precious)
    before = files_below(precious)
    with pytest.raises(ValueError, match="symbolic link"):
        prune_checkpoints(study, read_history(study.ledger))
    assert files_below(precious) == before


def test_a_dangling_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    with pytest.raises(ValueError, match=r"link -> .*nothing"):
        check_no_links(tmp_path)


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ledger.jsonl")
    with pytest.raises(ValueError, match=r"files and folders only, got .*ledger\.jsonl"):
        check_no_links(tmp_path)


def test_a_study_may_lie_behind_a_link_and_need_not_exist(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far")
    check_no_links(tmp_path / "near")
    check_no_links(tmp_path / "absent")


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "", ".", "a\0b", "..", None, 3])
def test_paths_that_leave_the_study_are_told_apart(path: object, tmp_path: Path) -> None:
    assert not is_inner_path(path)
    if isinstance(path, str):
        with pytest.raises(ValueError, match="stay in its folder"):
            inner_path(tmp_path, path)


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", ".hidden", "a\n", "a b", None])
def test_file_names_are_plain(name: object) -> None:
    assert not is_file_name(name)
    assert is_file_name("digits-00012")
    assert is_inner_path("ray/session-001/x/checkpoint_000001")


@pytest.mark.parametrize(
    ("fact", "key", "value"),
    [
        ("asked", "trial_id", "../../evil"),
        ("asked", "trial_id", "/tmp/evil"),
        ("checkpoint", "path", "../../evil"),
        ("checkpoint", "path", "/etc"),
    ],
)
def test_a_fact_that_leads_out_of_the_study_is_damage(fact: str, key: str, value: str, tmp_path: Path) -> None:
    study = make_study(tmp_path / "small", ended=False)
    places = []

    def forge(facts: list[dict[str, Any]]) -> None:
        places.append(next(place for place, content in enumerate(facts) if content["fact"] == fact))
        facts[places[0]][key] = value

    change_facts(study.ledger, forge)
    with pytest.raises(DamagedFileError, match=f"damaged in line {places[0] + 1}: {key}"):
        read_history(study.ledger)


def test_removal_follows_no_link_in_the_middle_or_at_the_end(tmp_path: Path, precious: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "link").symlink_to(precious)
    before = files_below(precious)
    with pytest.raises(OSError, match="link"):
        remove_file(tmp_path / "study", "link/id_rsa")
    with pytest.raises(OSError, match="link"):
        remove_tree(tmp_path / "study", "link/sub")
    with pytest.raises(OSError, match="link"):
        remove_tree(tmp_path / "study", "link")
    with pytest.raises(ValueError, match="stay in its folder"):
        remove_tree(tmp_path / "study", "../precious")
    assert files_below(precious) == before


def test_removal_of_what_lies_inside(tmp_path: Path) -> None:
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "a" / "file").touch()
    remove_file(tmp_path, "a/file")
    remove_tree(tmp_path, "a/b")
    assert list((tmp_path / "a").iterdir()) == []


def test_objects_of_a_bucket_stay_in_the_working_copy(tmp_path: Path) -> None:
    """Keys of an object store may hold `..`."""
    from study.storage.bucket import BucketStorage

    class Bucket:
        path = "bucket/small"

        def read(self, name: str) -> bytes | None:
            return None if name == "study.yaml" else b"evil"

        def names(self, folder: str) -> list[str]:
            return [f"{folder}/../../../evil"]

    storage = BucketStorage(Bucket(), tmp_path / "copy")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="stay in its folder"):
        storage.fetch_folder("ray/session-001")
    assert not (tmp_path / "evil").exists()
    assert StudyFolder(tmp_path / "copy").path.exists() is False
