"""Lists of studies, and studies that are removed and renamed."""

import errno
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from study.cli.app import app
from study.commands.studies import list_studies, remove_study, rename_study
from study.ledger.ledger import Ledger
from study.storage.folder import StudyFolder
from tests.support.example_studies import make_study, study_config

RUNNER = CliRunner()


def test_each_study_is_one_line_with_its_front(tmp_path: Path) -> None:
    make_study(tmp_path / "small")
    died = make_study(tmp_path / "died", study_config(trials=5, name="died"), ended=False)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "study.yaml").write_text("name: [")
    (tmp_path / "notes").mkdir()
    broken, other, small = list_studies(str(tmp_path))
    assert broken.name == "broken"
    assert "broken/study.yaml is damaged" in (broken.problem or "")
    assert (other.name, other.state, other.ended, other.trials) == ("died", "died", 4, 5)
    assert (small.state, small.ended, small.best, small.least_bits) == ("finished", 5, 0.95, 1.3)
    assert small.num_bytes is not None
    assert small.num_bytes > died.ledger.stat().st_size


def test_list_is_shown_whole_at_80_columns(tmp_path: Path) -> None:
    name = "a-name-of-forty-characters-that-is-shown"
    make_study(tmp_path / name, study_config(trials=5, name=name))
    shown = RUNNER.invoke(app, ["list", str(tmp_path)], env={"COLUMNS": "80"})
    assert shown.exit_code == 0
    assert name in shown.output
    assert "5 of 5" in shown.output
    empty = RUNNER.invoke(app, ["list", str(tmp_path / name)])
    assert "holds no study; run one with: qar launch digits" in empty.output


def test_removed_study_leaves_its_neighbours(tmp_path: Path) -> None:
    folder, other = make_study(tmp_path / "small"), make_study(tmp_path / "other")
    kept = RUNNER.invoke(app, ["remove", str(folder.path)], input="n\n")
    assert kept.exit_code != 0
    assert folder.exists()
    assert RUNNER.invoke(app, ["remove", str(folder.path), "--yes"]).exit_code == 0
    assert not folder.path.exists()
    assert other.read_history().num_ended == 5


def test_renamed_study_keeps_its_trials(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "small")
    folder.change_config(lambda config, _: config.model_copy(update={"trials": 6}), pytest.fail)  # as recorded
    trials = folder.read_history().trials
    renamed = rename_study(folder, "better", pytest.fail)
    assert renamed.path == tmp_path / "better"
    assert renamed.read_config().name == "better", "the ledger knows the new study.yaml"
    assert renamed.read_history().trials == trials
    assert not folder.path.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [("other", "NAME must be free, got 'other'"), ("../up", "name must consist of letters"), ("", "name must consist")],
)
def test_wrong_new_names_are_refused_and_nothing_changes(name: str, message: str, tmp_path: Path) -> None:
    folder = make_study(tmp_path / "small")
    make_study(tmp_path / "other")
    before = {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}
    with pytest.raises(ValueError, match=message):
        rename_study(folder, name, pytest.fail)
    assert {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()} == before


def test_folder_that_holds_other_files_is_not_removed(tmp_path: Path) -> None:
    """A study.yaml in one's home must not make it a study that can be removed."""
    folder = make_study(tmp_path / "small")
    for name in ("network.qar", "ledger.damaged-1.jsonl", "optuna.db-journal"):
        (folder.path / name).write_text("the study's own")
    (folder.path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"must hold a study alone to be removed, got 'thesis\.tex'; move what"):
        remove_study(folder, pytest.fail)
    (folder.path / "thesis.tex").unlink()
    remove_study(folder, pytest.fail)
    assert not folder.path.exists()


def test_rename_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_study(tmp_path / "small")
    (tmp_path / "taken").symlink_to("nowhere")
    with pytest.raises(ValueError, match="NAME must be free, got 'taken'"):
        rename_study(folder, "taken", pytest.fail)
    before = {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path))

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(PermissionError):
        rename_study(folder, "better", pytest.fail)
    assert {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()} == before


def test_list_goes_on_beside_files_that_vanish_and_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A running driver removes checkpoints while their sizes are added."""
    folder = make_study(tmp_path / "small")
    (tmp_path / "looped").mkdir()
    (tmp_path / "looped" / "study.yaml").symlink_to("study.yaml")
    sizes = os.lstat

    def lstat(path: str | Path) -> os.stat_result:
        if str(path).endswith("optuna.db"):
            raise FileNotFoundError
        return sizes(path)

    (folder.path / "optuna.db").write_bytes(bytes(10**6))
    monkeypatch.setattr(os, "lstat", lstat)
    looped, small = list_studies(str(tmp_path))
    assert looped.problem
    assert 0 < (small.num_bytes or 0) < 10**6


def test_study_that_runs_is_neither_removed_nor_renamed(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "small")
    ledger = Ledger(folder.ledger)
    with pytest.raises(ValueError, match="is being run by another process"):
        remove_study(folder, pytest.fail)
    with pytest.raises(ValueError, match="is being run by another process"):
        rename_study(folder, "better", pytest.fail)
    ledger.close()
    assert folder.exists()


def test_what_is_no_study_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("\\chapter{}")
    refused = RUNNER.invoke(app, ["remove", str(tmp_path / "thesis"), "--yes"])
    assert refused.exit_code == 2
    assert "is no study folder" in refused.output
    assert (tmp_path / "thesis" / "chapter.tex").exists()


def test_damaged_study_can_be_removed(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "small")
    folder.study_yaml.write_text("name: [")
    remove_study(folder, pytest.fail)
    assert not folder.path.exists()


def test_list_of_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    refused = RUNNER.invoke(app, ["list", str(tmp_path / "nowhere")])
    assert refused.exit_code == 2
    assert "STORAGE must be a folder that holds studies" in refused.output


def test_study_behind_a_link_is_removed_without_what_it_points_to(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "data" / "small")
    (tmp_path / "studies").symlink_to(tmp_path / "data")
    remove_study(StudyFolder(tmp_path / "studies" / "small"), pytest.fail)
    assert not folder.path.exists()
    assert (tmp_path / "data").exists()
