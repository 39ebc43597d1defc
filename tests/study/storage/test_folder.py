"""A study's folder: claimed once, and not begun anew where its ledger is gone."""

import os
import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from study.cli import app
from study.ledger.facts import ENDED
from study.storage import local
from study.storage.folder import StudyFolder
from tests.support.example_studies import files_below, make_study, study_config
from tests.support.ledgers import without_checksums
from trainables.errors import DamagedFileError
from trainables.files.atomic import create, is_draft
from trainables.result import SCHEMA_VERSION, SCHEMA_VERSION_KEY, TrialState


def test_of_launches_at_once_one_claims_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All see the folder free before the first of them writes."""
    launches, claimed, refused = 6, [], []
    at_once = threading.Barrier(launches)

    def create_at_once(path: Path, content: bytes) -> None:
        at_once.wait()
        create(path, content)

    monkeypatch.setattr(local, "create", create_at_once)

    def launch(seed: int) -> None:
        try:
            StudyFolder(tmp_path / "small").create(study_config(seed=seed))
            claimed.append(seed)
        except ValueError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=launch, args=(seed,)) for seed in range(launches)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(claimed), len(refused)) == (1, launches - 1)
    assert all("holds a study already; continue it with: qar resume" in text for text in refused)
    assert StudyFolder(tmp_path / "small").read_config() == study_config(seed=claimed[0])
    assert not any(is_draft(path.name) for path in (tmp_path / "small").iterdir())


@pytest.mark.parametrize("content", [None, b"", b"#?!"], ids=["removed", "empty", "noise"])
def test_study_without_its_ledger_is_not_begun_anew(content: bytes | None, tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    study.ledger.unlink()
    if content is not None:
        study.ledger.write_bytes(content)
    before = files_below(tmp_path)
    for use in (study.read_history, lambda: study.open_ledger(print)):
        with pytest.raises(DamagedFileError, match=r"ledger\.jsonl must hold .* study\.json, trials\.parquet.*restore"):
            use()
    assert files_below(tmp_path) == before


def test_ledger_that_holds_less_than_the_tables_is_refused(tmp_path: Path) -> None:
    """Its tail is lost, or an older copy was put in its place; a torn last line is no fact."""
    study = make_study(tmp_path / "small")
    *kept, last_end, _ = study.ledger.read_bytes().splitlines(keepends=True)
    assert b'"ended"' in last_end
    study.ledger.write_bytes(b"".join(kept) + last_end[:-1])
    _assert_refused(study, "lacks the line that ends at byte")


def test_ledger_is_refused_that_holds_less_than_tables_of_an_earlier_version(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    table = pq.read_table(study.trials)
    pq.write_table(table.replace_schema_metadata({SCHEMA_VERSION_KEY: str(SCHEMA_VERSION)}), study.trials)
    assert study.read_history().num_ended == 5
    *kept, last_end, _ = without_checksums(study.ledger.read_bytes()).splitlines(keepends=True)
    study.ledger.write_bytes(b"".join(kept) + last_end[:-1])
    _assert_refused(study, "holds 4 ended trials, of the 5 from which")


def _assert_refused(study: StudyFolder, reason: str) -> None:
    before = files_below(study.path)
    for use in (study.read_history, lambda: study.open_ledger(print)):
        with pytest.raises(DamagedFileError, match=rf"ledger\.jsonl {reason}.* trials\.parquet was made: .*restore it"):
            use()
    assert files_below(study.path) == before


def test_every_shorter_ledger_of_a_finished_study_is_refused(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    content = study.ledger.read_bytes()
    for length in range(0, len(content), 97):
        study.ledger.write_bytes(content[:length])
        with pytest.raises(DamagedFileError):
            study.read_history()


@pytest.mark.parametrize("content", [None, b"PAR1 and no more"], ids=["removed", "damaged"])
def test_table_that_is_made_anew_is_no_witness_against_the_ledger(content: bytes | None, tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    study.trials.unlink()
    if content is not None:
        study.trials.write_bytes(content)
    study.open_ledger(print).close()


def test_table_behind_the_ledger_is_no_witness_against_it(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small", ended=False)
    ledger = study.open_ledger(print)
    ledger.record(ENDED, number=4, state=TrialState.FAIL, failure='it said "fact": "ended"')
    ledger.close()
    assert study.read_history().num_ended == 5


def test_ledger_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    study.ledger.unlink()
    os.mkfifo(study.ledger)
    with pytest.raises(DamagedFileError, match=r"must be a regular file"):
        study.read_history()


STRANGE = {
    "deep brackets": b"trial: " + b"[" * 20_000,
    "deep mappings": b"a: " + b"{a: " * 20_000,
    "deep lists": b"- " * 20_000 + b"x",
    "huge": b"#" * 2_000_000,
    "pipe": None,
    "device": None,
}


@pytest.mark.parametrize("kind", STRANGE)
def test_configuration_that_no_study_has_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    study.study_yaml.unlink()
    if kind == "pipe":
        os.mkfifo(study.study_yaml)
    elif kind == "device":
        study.study_yaml.symlink_to("/dev/zero")
    else:
        study.study_yaml.write_bytes(STRANGE[kind] or b"")
    for command in ("status", "resume", "report"):
        ended = CliRunner().invoke(app, [command, str(study)])
        (line,) = ended.output.splitlines()
        assert (ended.exit_code in (1, 2), isinstance(ended.exception, SystemExit)) == (True, True), ended
        assert line.startswith("qar: ")
        assert "study.yaml" in line


def test_study_that_was_not_begun_has_no_ledger_to_miss(tmp_path: Path) -> None:
    study = StudyFolder(tmp_path / "small")
    study.create(study_config())
    assert study.read_history().trials == {}
    study.open_ledger(print).close()


def test_configuration_that_could_not_be_read_again_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """Text beyond ASCII takes up to ten characters in study.yaml, which has a largest size."""
    folder = StudyFolder(tmp_path / "small")
    config = study_config(code={f"module_{place}.py": "# " + 150_000 * "π" for place in range(3)})
    with pytest.raises(ValueError, match=r"can't be kept, for its file could not be read again: study\.yaml: "):
        folder.create(config)
    assert not folder.path.exists()
    folder.create(study_config())
    before = folder.study_yaml.read_bytes()
    with pytest.raises(ValueError, match="can't be kept"):
        folder.replace_config(config)
    assert folder.study_yaml.read_bytes() == before
