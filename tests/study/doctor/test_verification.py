"""`qar doctor DIR`: each file of a study is read, and what is wrong with it is named with its remedy."""

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from study.cli import app
from study.cli.inspection import _is_study_folder
from study.doctor.check import Check, CheckStatus
from study.doctor.verification import verify_study
from study.ledger.reading import read_history
from study.records.optuna_mirror import OptunaMirror
from study.storage.folder import StudyFolder
from tests.support.example_studies import files_below, make_study
from tests.support.ledgers import without_checksums
from trainables.codebooks.artifact_file import write_artifact
from trainables.config import TrialConfig
from trainables.files.checkpoint import write_checkpoint
from trainables.run import CompressionRun

RUN = TrialConfig(family="RM", num_levels=4, lam=0.01, width=0.1, subset=100)


@pytest.fixture
def study(tmp_path: Path) -> StudyFolder:
    """A finished study with all kinds of files."""
    study = make_study(tmp_path / "small")
    history = read_history(study.ledger)
    OptunaMirror(study, study.read_config()).sync(history)
    run = CompressionRun(RUN)
    checkpoint = history.trials[1].checkpoint
    assert checkpoint
    for folder in (study.path / checkpoint.path, study.baseline(0)):
        folder.mkdir(parents=True)
        write_checkpoint(folder, run.state_dict())
    write_artifact(study.path / "small.qar", run.artifact({"val_accuracy": 0.5}))
    return study


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_sound_study_passes_all_checks_and_is_left_alone(study: StudyFolder) -> None:
    before = files_below(study.path)
    checks = verify_study(study)
    assert {check.name: check.status for check in checks} == dict.fromkeys(
        [
            *("study.yaml", "ledger", "trials.parquet", "epochs.parquet"),
            *("Optuna's study", "checkpoints", "float networks", "exported files"),
        ],
        CheckStatus.PASS,
    )
    done = CliRunner().invoke(app, ["doctor", str(study.path)])
    assert done.exit_code == 0, done.output
    assert "facts, 5 ended trials; all checksums match" in done.output
    assert files_below(study.path) == before


def flip(path: Path) -> None:
    """Flip a bit in the middle of a file, or in the first values of a table, whose middle holds unused statistics."""
    content = bytearray(path.read_bytes())
    content[60 if path.suffix == ".parquet" else len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("study.yaml", "study.yaml"),
        ("ledger.jsonl", "ledger"),
        ("trials.parquet", "trials.parquet"),
        ("epochs.parquet", "epochs.parquet"),
        ("ray/session-001/1/checkpoint_000003/trial.pt", "checkpoints"),
        ("baseline/seed-0/trial.pt", "float networks"),
        ("small.qar", "exported files"),
    ],
)
def test_flipped_bit_of_any_file_fails_its_check(file: str, name: str, study: StudyFolder) -> None:
    flip(study.path / file)
    check = by_name(verify_study(study))[name]
    assert check.status is CheckStatus.FAIL
    assert check.remedy
    done = CliRunner().invoke(app, ["doctor", str(study.path)])
    assert (done.exit_code, isinstance(done.exception, SystemExit)) == (1, True), done
    assert check.remedy in done.output


def test_database_that_is_no_database_or_of_another_study_fails(study: StudyFolder, tmp_path: Path) -> None:
    content = study.optuna_db.read_bytes()
    study.optuna_db.write_bytes(b"no database" * 1000)
    assert by_name(verify_study(study))["Optuna's study"].status is CheckStatus.FAIL
    study.optuna_db.write_bytes(content)
    assert by_name(verify_study(study))["Optuna's study"].status is CheckStatus.PASS
    other = make_study(tmp_path / "other", ended=False)
    study.ledger.write_bytes(other.ledger.read_bytes())
    study.trials.unlink()
    assert by_name(verify_study(study))["Optuna's study"].status is CheckStatus.FAIL


def test_table_with_another_value_fails_though_it_is_a_valid_table(study: StudyFolder) -> None:
    table = pq.read_table(study.epochs)
    place = table.column_names.index("train_loss")
    values = table["train_loss"].to_pylist()
    values[3] += 1e-9
    changed = table.set_column(place, table.schema.field(place), [values])
    pq.write_table(changed.replace_schema_metadata(table.schema.metadata), study.epochs)
    check = by_name(verify_study(study))["epochs.parquet"]
    assert (check.status, check.finding) == (CheckStatus.FAIL, "row 4 differs from what the ledger gives")


def test_ledger_of_an_earlier_version_is_a_warning(study: StudyFolder) -> None:
    study.ledger.write_bytes(without_checksums(study.ledger.read_bytes()))
    for table in (study.trials, study.epochs):
        table.unlink()
    check = by_name(verify_study(study))["ledger"]
    assert (check.status, check.remedy) == (
        CheckStatus.WARN,
        f"the next session protects them: qar resume {study}",
    )


def test_installed_study_has_precedence_over_a_folder_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.chdir(tmp_path)
    os.makedirs("digits")
    assert not _is_study_folder("digits")
    assert _is_study_folder("./digits")
