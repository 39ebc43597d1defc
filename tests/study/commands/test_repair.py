"""`qar repair` and the edits that it accepts: what is sound is kept, what is lost is said, and the original stays."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from study.cli import app
from study.ledger.ledger import Ledger
from study.ledger.reading import read_history
from study.records.tables import write_tables
from study.storage.folder import StudyFolder
from tests.support.example_studies import files_below, make_study


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def damage(study: StudyFolder, line: int) -> bytes:
    """Change one digit in a line, counted from 1; returns the content of the ledger."""
    lines = study.ledger.read_bytes().splitlines(keepends=True)
    lines[line - 1] = lines[line - 1].replace(b'"time": 1', b'"time": 2')
    study.ledger.write_bytes(b"".join(lines))
    return study.ledger.read_bytes()


@pytest.mark.parametrize("line", [2, 5, 17])
def test_sound_beginning_is_kept_and_the_study_goes_on(line: int, tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    sound = study.ledger.read_bytes().splitlines(keepends=True)
    damaged, tables = damage(study, line), study.trials.read_bytes()
    refused = run("status", str(study.path))
    assert refused.exit_code == 1
    assert f"damaged in line {line}: " in refused.output
    assert f"qar repair {study.path}" in refused.output
    done = run("repair", str(study.path))
    assert done.exit_code == 0, done.output
    assert f"kept: the {line - 1} lines before" in done.output
    assert "epoch" in done.output, "it says what is lost"
    assert study.ledger.read_bytes() == b"".join(sound[: line - 1])
    assert (study.path / "ledger.damaged-1.jsonl").read_bytes() == damaged
    assert (study.path / "trials.damaged-1.parquet").read_bytes() == tables
    assert run("status", str(study.path)).exit_code == 0
    Ledger(study.ledger).close()
    write_tables(study, read_history(study.ledger))


def test_sound_study_is_left_alone(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    before = files_below(tmp_path)
    assert "the ledger is sound" in run("repair", str(study.path)).output
    assert files_below(tmp_path) == before


def test_second_repair_overwrites_no_original(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    originals = [damage(study, 9)]
    assert run("repair", str(study.path)).exit_code == 0
    originals.append(damage(study, 4))
    assert run("repair", str(study.path)).exit_code == 0
    assert [(study.path / f"ledger.damaged-{number}.jsonl").read_bytes() for number in (1, 2)] == originals


def test_ledger_whose_end_is_lost_is_accepted_and_the_tables_are_kept(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    tables = study.trials.read_bytes()
    lines = study.ledger.read_bytes().splitlines(keepends=True)
    study.ledger.write_bytes(b"".join(lines[:-4]))
    assert run("status", str(study.path)).exit_code == 1
    done = run("repair", str(study.path))
    assert "the end is missing" in done.output, done.output
    assert study.ledger.read_bytes() == b"".join(lines[:-4])
    assert (study.path / "trials.damaged-1.parquet").read_bytes() == tables
    assert run("status", str(study.path)).exit_code == 0


def test_ledger_without_a_sound_line_is_not_repaired(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    damage(study, 1)
    before = files_below(tmp_path)
    done = run("repair", str(study.path))
    assert done.exit_code == 1
    assert "holds no sound line; restore it" in done.output
    assert files_below(tmp_path) == before


def test_study_that_is_driven_is_not_repaired(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    ledger = Ledger(study.ledger)
    damage(study, 9)
    done = run("repair", str(study.path))
    assert done.exit_code == 2
    assert "is being run by another process" in done.output
    ledger.close()


def test_study_yaml_that_is_edited_is_refused_until_the_edit_is_kept(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    text = study.study_yaml.read_text()
    assert "trials: 5\n" in text
    study.study_yaml.write_text(text.replace("trials: 5\n", "trials: 6\n"))
    refused = run("status", str(study.path))
    assert refused.exit_code == 1
    assert (
        f"it is not the file that ledger.jsonl has recorded; restore it from a copy, or keep what it says now with: "
        f"qar repair {study.path} --keep-config" in refused.output
    )
    assert run("repair", str(study.path), "--keep-config").exit_code == 0
    assert "5 of 6 trials" in run("status", str(study.path)).output
    study.study_yaml.write_text(text.replace("trials: 5\n", "trials: 7\n"))
    assert run("status", str(study.path)).exit_code == 1, "any other edit is noticed again"


def test_invalid_study_yaml_is_not_kept(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    study.study_yaml.write_text("trials: [\n")
    before = files_below(tmp_path)
    done = run("repair", str(study.path), "--keep-config")
    assert done.exit_code == 1
    assert "study.yaml is damaged" in done.output
    assert files_below(tmp_path) == before


def test_extension_that_was_cut_off_before_the_file_was_replaced_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(tmp_path / "small")

    def crash(self: StudyFolder, config: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(StudyFolder, "_replace_config", crash)
        with pytest.raises(KeyboardInterrupt):
            study.change_config(lambda config, _: config.model_copy(update={"trials": 9}), print)
    assert study.read_config().trials == 5
    study.change_config(lambda config, _: config.model_copy(update={"trials": 8}), print)
    assert study.read_config().trials == 8
