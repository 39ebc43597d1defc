"""Statements of derived.json about the tables and Optuna's database count only where they are true."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from study.ledger.facts import ASKED, ENDED
from study.ledger.history import History
from study.ledger.ledger import Ledger
from study.records import trial_table
from study.records.optuna_mirror import OptunaMirror
from study.records.optuna_rows import OptunaRows
from study.records.tables import TableWriter, write_tables
from study.storage.folder import StudyFolder
from tests.support.example_studies import asked, make_study, start_session, study_config, train
from trainables.result import TrialState


@pytest.fixture
def study(tmp_path: Path) -> StudyFolder:
    """A study of four ended trials and a running one, with its tables and Optuna's database."""
    study = make_study(tmp_path / "small", ended=False)
    mirror(study)
    return study


def mirror(study: StudyFolder) -> list[Any]:
    """Bring Optuna's database up to date as the next session does, and return its trials but for their times."""
    mirror = OptunaMirror(study, study.read_config())
    mirror.sync(study.read_history())
    assert mirror.trouble is None
    trials = optuna.load_study(study_name="small", storage=mirror.uri).trials
    return [(trial.number, trial.state, trial.values, trial.params, trial.user_attrs) for trial in trials]


def extend(study: StudyFolder) -> History:
    """End the running trial, and add one that ends and one that runs, in a new session."""
    ledger = Ledger(study.ledger)
    start_session(ledger)
    ledger.record(ENDED, number=4, state=TrialState.FAIL, failure="late")
    for number in (5, 6):
        trial = study_config().trial_config({"family": "RS", "num_levels": number, "lam": 1e-3})
        ledger.record(ASKED, **asked(number, trial))
    train(ledger, 5, 4)
    ledger.record(ENDED, number=5, state=TrialState.COMPLETE, failure=None)
    ledger.close()
    return ledger.history


def written(study: StudyFolder) -> tuple[int, int]:
    """Return what changes whenever a table is replaced."""
    return study.trials.stat().st_ino, study.epochs.stat().st_ino


def contents(study: StudyFolder) -> list[bytes]:
    return [path.read_bytes() for path in (study.trials, study.epochs, study.study_json)]


def made_anew(study: StudyFolder, history: History, folder: Path) -> list[bytes]:
    """Return the files of a study that is derived from its ledger for the first time."""
    fresh = StudyFolder(folder)
    fresh.path.mkdir()
    shutil.copy(study.ledger, fresh.ledger)
    write_tables(fresh, history)
    return contents(fresh)


def test_tables_that_hold_all_that_the_ledger_says_are_not_written_again(study: StudyFolder) -> None:
    before = written(study)
    study.study_json.unlink()
    write_tables(study, study.read_history())
    assert written(study) == before
    assert study.study_json.exists()


def test_rows_of_ended_trials_are_taken_over_by_the_next_session(
    study: StudyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, converted, row = extend(study), [], trial_table.trial_row

    def noting(trial: Any) -> dict[str, Any]:
        converted.append(trial.number)
        return row(trial)

    monkeypatch.setattr(trial_table, "trial_row", noting)
    write_tables(study, history)
    assert converted == [4, 5, 6], "the four that had ended are taken from the table"
    assert contents(study) == made_anew(study, history, tmp_path / "fresh")


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def forge(study: StudyFolder, change: Callable[[dict[str, Any]], object]) -> None:
    """Change all statements of derived.json."""
    content = json.loads(study.derived_json.read_text())
    for derivation in content.values():
        change(derivation)
    study.derived_json.write_text(json.dumps(content))


DOUBTS: dict[str, Callable[[StudyFolder], object]] = {
    "trials are missing": lambda study: study.trials.unlink(),
    "epochs are missing": lambda study: study.epochs.unlink(),
    "trials have a changed bit": lambda study: flip(study.trials),
    "epochs have a changed bit": lambda study: flip(study.epochs),
    "trials are others": lambda study: shutil.copy(study.epochs, study.trials),
    "derived.json is missing": lambda study: study.derived_json.unlink(),
    "derived.json is damaged": lambda study: study.derived_json.write_text("{"),
    "derived.json is a list": lambda study: study.derived_json.write_text("[]"),
    "derived.json is huge": lambda study: study.derived_json.write_text(" " * 10**6 + study.derived_json.read_text()),
    "by other code": lambda study: forge(study, lambda one: one.update(code="0" * 64)),
    "with other settings": lambda study: forge(study, lambda one: one.update(settings="{}x")),
    "up to a line that the ledger lacks": lambda study: forge(study, lambda one: one["position"].update(offset=40)),
    "up to another line": lambda study: forge(study, lambda one: one["position"].update(head="0" * 16)),
}


@pytest.mark.parametrize("doubt", DOUBTS)
@pytest.mark.parametrize("grows", [False, True])
def test_tables_about_which_there_is_doubt_are_written_anew(
    doubt: str, grows: bool, study: StudyFolder, tmp_path: Path
) -> None:
    before = written(study)
    history = extend(study) if grows else study.read_history()
    DOUBTS[doubt](study)
    write_tables(study, history)
    assert contents(study) == made_anew(study, history, tmp_path / "fresh")
    assert written(study) != before


def test_earlier_tables_with_their_statement_are_brought_up_to_date(study: StudyFolder, tmp_path: Path) -> None:
    """As after a copy of all files but the ledger."""
    earlier = {path: path.read_bytes() for path in (study.trials, study.epochs, study.derived_json)}
    history = extend(study)
    write_tables(study, history)
    for path, content in earlier.items():
        path.write_bytes(content)
    write_tables(study, history)
    assert contents(study) == made_anew(study, history, tmp_path / "fresh")


def test_tables_of_an_earlier_ledger_without_checksums_are_written_each_time(study: StudyFolder) -> None:
    history = study.read_history()
    history.position = None
    write_tables(study, history)
    before = written(study)
    write_tables(study, history)
    assert written(study) != before


def test_writer_notices_a_table_that_is_damaged_while_it_runs(study: StudyFolder) -> None:
    history, writer = study.read_history(), TableWriter(study)
    writer.write(history)
    before = contents(study)
    flip(study.trials)
    writer.write(history)
    assert contents(study) == before


@pytest.mark.parametrize("grows", [False, True])
def test_database_that_follows_from_the_ledger_is_not_compared_again(
    grows: bool, study: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    if grows:
        extend(study)
    with monkeypatch.context() as patch:
        patch.setattr(OptunaRows, "read", lambda rows: pytest.fail("all trials were read"))
        shown = mirror(study)
    study.optuna_db.unlink()
    assert shown == mirror(study), "as one that is made anew"


def test_database_that_was_changed_is_compared(study: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, compared, read = mirror(study), [], OptunaRows.read

    def noting(rows: OptunaRows) -> Any:
        compared.append(True)
        return read(rows)

    monkeypatch.setattr(OptunaRows, "read", noting)
    optuna.load_study(study_name="small", storage=f"sqlite:///{study.optuna_db}").tell(4, [0.9, 1.0])
    assert mirror(study) == expected
    assert compared


def test_statement_never_covers_damage_that_came_while_a_driver_had_the_file_open(study: StudyFolder) -> None:
    expected, mirror_of_driver = mirror(study), OptunaMirror(study, study.read_config())
    mirror_of_driver.sync(study.read_history())
    size = study.optuna_db.stat().st_size
    with study.optuna_db.open("r+b") as file:
        file.seek(size - 4096)  # a page that the next sync does not touch
        file.write(b"\xa5" * 4096)
    mirror_of_driver.sync(study.read_history())
    assert mirror_of_driver.trouble is None
    assert mirror(study) == expected
