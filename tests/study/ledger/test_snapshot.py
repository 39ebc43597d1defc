"""Snapshots: what is read with one is what the whole ledger gives, and a damaged or foreign one is never believed."""

import hashlib
import os
import random
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from study.config import StudyConfig
from study.ledger import ledger as ledger_module
from study.ledger import snapshot as snapshot_module
from study.ledger import trial_batches
from study.ledger.facts import ENDED
from study.ledger.history import CheckpointRecord, History, Trial
from study.ledger.ledger import Ledger
from study.ledger.reading import read, read_file, read_history
from study.ledger.snapshot import read_snapshot, snapshot_of, write_snapshot
from study.search.rungs import Rungs
from study.search.searcher import OptunaSearcher
from study.storage.folder import StudyFolder
from tests.study.ledger.test_ledger import facts, small_ledger, write
from tests.support.example_studies import make_explored_study, start_session, study_config
from tests.support.ledgers import without_checksums
from trainables.errors import DamagedFileError
from trainables.result import TrialState


def take_snapshot(ledger: Path, lines: int | None = None) -> Path:
    """Write the snapshot of a ledger's first lines, of all if None; return its path."""
    reading = read(b"".join(ledger.read_bytes().splitlines(keepends=True)[:lines]))
    write_snapshot(snapshot_of(ledger), reading.history, reading.lines, reading.content.hexdigest())
    return snapshot_of(ledger)


def details(history: History) -> str:
    """Return what `==` does not compare: types, and the reports to the rungs."""
    return repr([{epoch: trial.epochs[epoch] for epoch in trial.epochs} for trial in history.trials.values()]) + repr(
        [history.rung_reports[:], history.proposals, history.sessions, history.position]
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.jsonl"
    small_ledger(path)
    return path


@settings(max_examples=20)
@given(facts())
def test_snapshot_and_the_rest_give_the_history_of_the_whole_ledger(life: list[tuple[str, dict[str, Any]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.jsonl"
        history = write(path, life)[-1]
        whole = read(path.read_bytes())
        for lines in range(1, len(life) + 1):
            take_snapshot(path, lines)
            reading = read_file(path)
            assert reading.lines_in_snapshot == lines
            assert reading.history == history == whole.history
            assert details(reading.history) == details(whole.history)
            assert (reading.chain, reading.intact, reading.lines) == (whole.chain, whole.intact, whole.lines)
            assert reading.content.hexdigest() == hashlib.sha256(path.read_bytes()).hexdigest()


@settings(max_examples=10)
@given(facts())
def test_ledger_that_was_opened_from_a_snapshot_goes_on(life: list[tuple[str, dict[str, Any]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.jsonl"
        write(path, life)
        take_snapshot(path, 1 + len(life) // 2)
        resumed = Ledger(path)
        start_session(resumed)
        resumed.close()
        assert read(path.read_bytes()).history == resumed.history


def test_snapshot_holds_every_field_of_a_trial() -> None:
    assert {field.name for field in fields(Trial)} == {*trial_batches.FIELDS, "epochs"}


def test_configurations_in_a_snapshot_keep_their_types() -> None:
    """Each is written as its difference from another, and 1 is neither 1.0 nor true there."""
    configs = [
        {"family": "RS", "lam": 1, "groups": {"first": {"num_levels": 2}}},
        {"family": "RS", "lam": 1.0, "groups": {"first": {"num_levels": 2.0}}},
        {"family": "RM", "lam": True, "groups": {}},
        {"lam": 2.0, "family": "RM"},
    ]
    trials = [
        Trial(
            number, f"t-{number:05d}", False, {"lam": 0.1}, {}, config, "hash", checkpoints=[CheckpointRecord(1, "p")]
        )
        for number, config in enumerate(configs)
    ]
    read = [trial for batch in trial_batches.batches(trials) for trial in trial_batches.trials_of(batch)]
    assert repr(read) == repr(trials)


def test_decisions_after_a_resume_do_not_depend_on_the_snapshot(tmp_path: Path) -> None:
    def decisions(name: str, lines: int | None) -> tuple[dict[str, Any], list[bool]]:
        folder = make_explored_study(tmp_path / name)
        config: StudyConfig = study_config(trials=40, name="explored")
        if lines is not None:
            take_snapshot(folder.ledger, lines)
        ledger = Ledger(folder.ledger)
        rungs = Rungs.replay(config, ledger.history)
        start_session(ledger)
        suggestion = OptunaSearcher(config, ledger, folder=folder).suggest("next")
        ledger.close()
        assert isinstance(suggestion, dict)
        suggestion.pop("restore_from")
        return suggestion, [rungs.stopped(number) for number in range(20)]

    expected = decisions("without", None)
    assert decisions("whole", 128) == expected
    assert decisions("half", 64) == expected


def test_changed_digit_before_the_snapshot_is_named_by_its_line(ledger: Path) -> None:
    """Every bit that is flipped is found, in the same words as without a snapshot."""
    take_snapshot(ledger)
    content, rng = ledger.read_bytes(), random.Random(0)
    for _ in range(100):
        place = rng.randrange(len(content))
        changed = content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]
        ledger.write_bytes(changed)
        damage = read(changed).damage
        assert damage is not None
        assert damage.startswith("line ")
        with pytest.raises(DamagedFileError) as caught:
            read_history(ledger)
        assert damage in str(caught.value)


def test_damage_after_the_snapshot_is_named_by_its_line(ledger: Path) -> None:
    lines = len(ledger.read_bytes().splitlines())
    take_snapshot(ledger, lines - 2)
    ledger.write_bytes(ledger.read_bytes().replace(b'"COMPLETE"', b'"PRUNED"'))
    with pytest.raises(DamagedFileError, match=f"line {lines}: "):
        read_history(ledger)


def test_snapshot_that_is_damaged_is_not_believed(ledger: Path) -> None:
    """Each of its bytes counts, to the last."""
    path, expected = take_snapshot(ledger), read(ledger.read_bytes()).history
    content = path.read_bytes()
    for place in [*range(0, len(content), 97), len(content) - 1]:
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        reading = read_file(ledger)
        assert (reading.lines_in_snapshot, reading.history) == (0, expected)
    for end in range(0, len(content), 211):
        path.write_bytes(content[:end])
        assert read_file(ledger).lines_in_snapshot == 0


def test_snapshot_of_another_ledger_is_not_believed(ledger: Path, tmp_path: Path) -> None:
    path = take_snapshot(ledger)
    other = make_explored_study(tmp_path / "other")
    snapshot_of(other.ledger).write_bytes(path.read_bytes())
    reading = read_file(other.ledger)
    assert (reading.lines_in_snapshot, len(reading.history.trials)) == (0, 20)


def test_snapshot_of_a_ledger_that_has_lost_its_end_is_not_believed(ledger: Path) -> None:
    take_snapshot(ledger)
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join(lines[:-1]))
    reading = read_file(ledger)
    assert (reading.lines_in_snapshot, reading.lines) == (0, len(lines) - 1)


def test_snapshot_of_other_code_is_not_believed(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version might derive another history from the same facts."""
    take_snapshot(ledger)
    assert read_file(ledger).lines_in_snapshot > 0
    monkeypatch.setattr(snapshot_module, "_code_digest", lambda: "another")
    assert read_file(ledger).lines_in_snapshot == 0


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_in_the_place_of_a_snapshot_is_ignored(ledger: Path, make: Any) -> None:
    make(snapshot_of(ledger))
    assert read_file(ledger).lines_in_snapshot == 0


def test_ledger_of_an_earlier_version_has_no_snapshot(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "LINES_WORTH_A_SNAPSHOT", 1)
    ledger.write_bytes(without_checksums(ledger.read_bytes()))
    Ledger(ledger).close()
    assert not snapshot_of(ledger).exists()


def test_ledger_writes_a_snapshot_when_it_has_grown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "LINES_WORTH_A_SNAPSHOT", 10)
    path = tmp_path / "ledger.jsonl"
    small_ledger(path)
    first = snapshot_of(path).read_bytes()
    reading = read_file(path)
    assert reading.lines_in_snapshot == reading.lines
    ledger = Ledger(path)
    ledger.record(ENDED, number=1, state=TrialState.FAIL, failure="late")
    ledger.write_snapshot()
    ledger.close()
    assert snapshot_of(path).read_bytes() == first, "one line is not worth another"
    assert read_history(path) == ledger.history


def test_snapshot_is_written_during_a_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "LINES_WORTH_A_SNAPSHOT", 1)
    ledger = Ledger(tmp_path / "ledger.jsonl")
    start_session(ledger)
    ledger.write_snapshot()
    with ledger.path.open("rb") as file:
        snapshot = read_snapshot(snapshot_of(ledger.path), file)
    assert snapshot is not None
    assert snapshot.history == ledger.history
    ledger.close()


def test_snapshot_that_cant_be_written_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ledger_module, "LINES_WORTH_A_SNAPSHOT", 1)
    monkeypatch.setattr(ledger_module, "write_snapshot", fail)
    path = tmp_path / "ledger.jsonl"
    history = small_ledger(path)
    assert not snapshot_of(path).exists()
    assert read_history(path) == history


def test_study_is_read_with_its_snapshot(tmp_path: Path) -> None:
    folder: StudyFolder = make_explored_study(tmp_path / "study")
    expected = folder.read_history()
    take_snapshot(folder.ledger)
    assert folder.read_history() == expected
    assert folder.read_config() == folder.parse_config()
