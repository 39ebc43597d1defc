"""The ledger: facts in, history out, the same after any kind of end."""

import copy
import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.errors import StorageError
from study.ledger.coding import decode, encode
from study.ledger.epochs import RungReport
from study.ledger.facts import (
    ASKED,
    CHECKPOINT,
    ENDED,
    EPOCH,
    LOST,
    PRIOR,
    REPEATED,
    SESSION_ENDED,
    SESSION_STARTED,
    Lost,
    SessionEnded,
    SessionOutcome,
    SessionStarted,
)
from study.ledger.history import CheckpointRecord, History, KnownResult
from study.ledger.ledger import Ledger
from study.ledger.lock import is_being_written
from study.ledger.order import check_order
from study.ledger.reading import read_history
from tests.support.example_studies import PROVENANCE, asked, metrics, start_session, study_config, train
from tests.support.ledgers import without_checksums
from trainables.errors import DamagedFileError
from trainables.result import END_STATES, TrialState

CONFIG = study_config()
SOME_TRIAL = asked(0, CONFIG.trial_config({"family": "RE", "num_levels": 8, "lam": 1.0, "placement": "own"}))

PATHS = st.from_regex(r"[\w-]{1,9}(/[\w-]{1,9}){0,3}", fullmatch=True)
"""Paths that a checkpoint may have."""


KINDS = ["session", "ask", "epoch", "epoch", "again", "checkpoint", "lose", "end", "repeat", "prior", "stop"]
OUTCOMES = st.sampled_from(SessionOutcome)
STARTED = {"pid": 1, "hostname": "head", "provenance": PROVENANCE}
ENDS = st.sampled_from(END_STATES)
DISTRIBUTION = {
    "num_levels": '{"name": "IntDistribution", "attributes": {"log": true, "step": 1, "low": 2, "high": 64}}'
}


def drawn(draw: st.DrawFn, kind: str, history: History) -> tuple[str, dict[str, Any]]:
    """Draw a fact of a kind, which need not make sense after those of a history."""
    trials = history.trials
    number = draw(st.sampled_from(sorted(trials))) if trials else 0
    epoch = trials[number].latest_epoch if trials else 0
    proposal = {"params": {"num_levels": 4}, "distributions": DISTRIBUTION}
    match kind:
        case "session":
            return SESSION_STARTED, STARTED | {"session": len(history.sessions) + 1}
        case "stop":
            return SESSION_ENDED, {"session": len(history.sessions), "outcome": draw(OUTCOMES)}
        case "ask":
            config = SOME_TRIAL["config"] | {"lam": draw(st.floats(1e-9, 1e9))}
            names = {"number": len(trials), "trial_id": f"small-{len(trials):05d}", "anchor": draw(st.booleans())}
            return ASKED, SOME_TRIAL | proposal | names | {"config": config}
        case "prior":
            return PRIOR, proposal | {"metrics": {"val_accuracy": 0.5}, "source": "x"}
        case "repeat":
            known: dict[str, Any] = {"number": number, "state": draw(ENDS), "metrics": {}, "sampler_state": {}}
            return REPEATED, proposal | known
        case "epoch":
            loss = draw(st.floats(allow_nan=False))
            return EPOCH, {"number": number, "metrics": metrics(epoch + 1) | {"train_loss": loss}}
        case "again":
            return EPOCH, {"number": number, "metrics": metrics(draw(st.integers(1, 4)))}
        case "checkpoint":
            return CHECKPOINT, {"number": number, "epoch": epoch, "path": draw(PATHS)}
        case "lose":
            return LOST, {"number": number, "reason": draw(st.text())}
    return ENDED, {"number": number, "state": draw(ENDS), "failure": draw(st.none() | st.text())}


@st.composite
def facts(draw: st.DrawFn) -> list[tuple[str, dict[str, Any]]]:
    """A study's life in legal order: facts that make no sense after those before them are left out."""
    life: list[tuple[str, dict[str, Any]]] = []
    history = History()
    for kind in ["session", *draw(st.lists(st.sampled_from(KINDS), max_size=25))]:
        name, content = drawn(draw, kind, history)
        try:
            fact = decode(encode({"fact": name, "time": 0.0, "elapsed": 0.0} | content))
            check_order(history, fact)
        except ValueError:
            continue
        history.apply(fact)
        life.append((name, content))
    return life


def write(path: Path, life: list[tuple[str, dict[str, Any]]]) -> list[History]:
    """Records facts; returns the history before the first, and after each."""
    ledger = Ledger(path)
    histories = [copy.deepcopy(ledger.history)]
    for name, content in life:
        ledger.record(name, **content)
        histories.append(copy.deepcopy(ledger.history))
    ledger.close()
    return histories


def small_ledger(path: Path) -> History:
    """Two trials: one COMPLETE, one that still runs."""
    ledger = Ledger(path)
    start_session(ledger)
    for number, num_levels in enumerate((2, 4)):
        config = CONFIG.trial_config({"family": "none", "num_levels": num_levels})
        ledger.record(ASKED, **asked(number, config))
        train(ledger, number, 4 if number == 0 else 2)
    ledger.record(ENDED, number=0, state=TrialState.COMPLETE, failure=None)
    ledger.close()
    return ledger.history


def test_history_tells_what_was_recorded(tmp_path: Path) -> None:
    history = small_ledger(tmp_path / "ledger.jsonl")
    first, second = history.trials[0], history.trials[1]
    assert (first.state, first.last["epoch"], first.last["phase"]) == (TrialState.COMPLETE, 4, "finetune")
    assert (second.state, second.last["epoch"]) == (TrialState.RUNNING, 2)
    assert second.checkpoint == CheckpointRecord(2, "ray/session-001/1/checkpoint_000001")
    assert history.unfinished == [second]
    assert (
        history.count(TrialState.COMPLETE),
        history.count(TrialState.RUNNING),
        history.count(TrialState.FAIL),
        history.num_ended,
    ) == (1, 1, 0, 1)
    assert [session.outcome for session in history.sessions] == [None]


def test_history_of_no_facts_is_empty(tmp_path: Path) -> None:
    history = read_history(tmp_path / "ledger.jsonl")
    assert (history.trials, history.sessions, history.num_ended, history.seconds) == ({}, [], 0, 0)


def test_seconds_are_those_of_the_sessions_and_not_of_the_time_between() -> None:
    history = History()
    session: dict[str, Any] = {"pid": 1, "hostname": "head", "provenance": {}}
    history.apply(SessionStarted(time=100.0, session=1, **session))
    history.apply(SessionEnded(time=110.0, session=1, outcome=SessionOutcome.INTERRUPTED))
    history.apply(SessionStarted(time=500.0, session=2, **session))
    history.apply(SessionEnded(time=503.0, session=2, outcome=SessionOutcome.FINISHED))
    assert history.seconds == 13.0


def test_clock_that_is_set_back_does_not_change_durations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    clocks = {"time": 10_000.0, "monotonic": 50.0}
    monkeypatch.setattr("study.ledger.ledger.time.time", lambda: clocks["time"])
    monkeypatch.setattr("study.ledger.ledger.time.monotonic", lambda: clocks["monotonic"])
    start_session(ledger)
    clocks |= {"time": 2_800.0, "monotonic": 62.5}
    ledger.record(SESSION_ENDED, session=1, outcome="interrupted")
    clocks |= {"time": 100.0, "monotonic": 5.0}  # another boot of the machine
    start_session(ledger)
    clocks |= {"time": 90_000.0, "monotonic": 6.0}
    ledger.record(SESSION_ENDED, session=2, outcome="interrupted")
    ledger.close()
    assert [session.seconds for session in read_history(path).sessions] == [12.5, 1.0]


def test_clock_that_was_set_back_under_an_earlier_version_gives_no_negative_duration() -> None:
    history = History()
    history.apply(SessionStarted(time=7300.0, session=1, pid=1, hostname="head", provenance={}))
    history.apply(SessionEnded(time=100.0, session=1, outcome=SessionOutcome.INTERRUPTED))
    assert history.seconds == 0.0


def test_failure_is_kept_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    small_ledger(path)
    ledger = Ledger(path)
    ledger.record(ENDED, number=1, state=TrialState.FAIL, failure="the loss is not finite (nan)\nin two lines, λ")
    ledger.close()
    trial = read_history(path).trials[1]
    assert (trial.state, trial.failure) == (TrialState.FAIL, "the loss is not finite (nan)\nin two lines, λ")


def test_epoch_that_is_trained_again_replaces_the_earlier_account(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    small_ledger(path)
    ledger = Ledger(path)
    ledger.record(LOST, number=1, reason="the node is gone")
    ledger.record(EPOCH, number=1, metrics=metrics(2, accuracy=0.75))
    ledger.close()
    history = read_history(path)
    epochs = history.trials[1].epochs
    assert [epochs[epoch]["val_accuracy"] for epoch in (1, 2)] == [0.5, 0.75]
    assert history.trials[1].seconds_lost == 0.25, "of the account that counts no more"
    early_stopping_saw = [report for report in history.rung_reports if report.number == 1]
    assert early_stopping_saw == [RungReport(1, metrics(1)), RungReport(1, metrics(2))]


def test_newest_checkpoints_are_kept_the_newest_last(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    small_ledger(path)
    ledger = Ledger(path)
    for epoch in (3, 4):
        ledger.record(EPOCH, number=1, metrics=metrics(epoch))
        ledger.record(CHECKPOINT, number=1, epoch=epoch, path=f"checkpoint-{epoch}")
    assert ledger.history.trials[1].checkpoints == [
        CheckpointRecord(3, "checkpoint-3"),
        CheckpointRecord(4, "checkpoint-4"),
    ]


def test_proposals_are_all_that_optuna_knows_in_order(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    proposal = {"params": {"num_levels": 4}, "distributions": DISTRIBUTION}
    result: dict[str, Any] = proposal | {"metrics": {"val_accuracy": 0.5}}
    ledger.record(PRIOR, **result, source="studies/other/trials.parquet")
    ledger.record(ASKED, **SOME_TRIAL)
    repeated = result | {"number": 0, "state": TrialState.FAIL, "sampler_state": {"trial": {"generation": 1}}}
    ledger.record(REPEATED, **repeated)
    assert ledger.history.proposals == [
        KnownResult(**result, state=TrialState.COMPLETE),
        ledger.history.trials[0],
        KnownResult(**repeated),
    ]


def test_lost_actor_is_counted_and_the_trial_still_runs(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    small_ledger(path)
    ledger = Ledger(path)
    for _ in range(2):
        ledger.record(LOST, number=1, reason="the node is gone")
    assert (ledger.history.trials[1].losses, ledger.history.trials[1].state) == (2, TrialState.RUNNING)


FULL_DISK = """
import resource, sys
from pathlib import Path
from study.errors import StorageError
from study.ledger.facts import EPOCH
from study.ledger.ledger import Ledger

path = Path(sys.argv[1])
ledger = Ledger(path)
size = path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
for left in range(2):
    try:
        ledger.record(EPOCH, number=1, metrics=ledger.history.trials[1].last | {"epoch": 3, "hostname": "x" * 300})
    except StorageError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
print(sorted(ledger.history.trials[1].epochs))
"""


def test_disk_that_fills_up_ends_the_recording_for_good(tmp_path: Path) -> None:
    """A fact after one that is missing would be no truth, even where there is room again."""
    path = tmp_path / "ledger.jsonl"
    before = small_ledger(path)
    done = subprocess.run([sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True, check=True)
    first, second, epochs = done.stdout.splitlines()
    assert first == second
    assert first.startswith(f"storage {tmp_path} can't be written: File too large; raise the limit of file sizes")
    assert first.endswith(f"qar resume {tmp_path}")
    assert epochs == "[1, 2]"
    assert read_history(path) == before
    Ledger(path).close()
    assert read_history(path) == before


def test_ledger_that_may_not_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "ledger.jsonl").mkdir()
    with pytest.raises(StorageError, match=r"can't be written: Is a directory; .*qar resume"):
        Ledger(tmp_path / "ledger.jsonl")


@settings(max_examples=25)
@given(facts())
def test_replay_equals_the_live_history(life: list[tuple[str, dict[str, Any]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.jsonl"
        live = write(path, life)[-1]
        assert read_history(path) == live
        again = Ledger(path)
        assert again.history == live
        again.close()


@settings(max_examples=25)
@given(facts(), st.integers(0, 2**20))
def test_ledger_torn_anywhere_tells_what_was_whole_and_goes_on(
    life: list[tuple[str, dict[str, Any]]], kept: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.jsonl"
        histories = write(path, life)
        content = path.read_bytes()
        torn = content[: len(content) * kept // 2**20]
        path.write_bytes(torn)
        whole = torn.count(b"\n")
        assert read_history(path) == histories[whole]
        ledger = Ledger(path)
        assert ledger.history == histories[whole]
        start_session(ledger)
        ledger.close()
        lines = path.read_bytes().splitlines()
        assert lines[:whole] == content.splitlines()[:whole]
        assert [json.loads(line)["fact"] for line in lines[whole:]] == [SESSION_STARTED]
        assert read_history(path) == ledger.history


def test_reading_leaves_a_torn_line_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    small_ledger(path)
    torn = path.read_bytes() + b'{"fact": "ended", "nu'
    path.write_bytes(torn)
    assert read_history(path).num_ended == 1
    assert path.read_bytes() == torn


def test_last_line_without_its_end_was_never_acted_on(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    small_ledger(path)
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))  # a whole fact, but not known to be on disk
    assert read_history(path).num_ended == 0


DAMAGE = {
    "garbage": b"#?!\n",
    "binary": b"\x00\xff\x80\n",
    "empty line": b"\n",
    "no object": b"[1, 2]\n",
    "no fact": b'{"time": 1.0}\n',
    "no time": b'{"fact": "epoch"}\n',
    "unknown fact": b'{"fact": "promoted", "time": 1.0}\n',
    "fact without its content": b'{"fact": "asked", "time": 1.0}\n',
    "fact of an unknown trial": b'{"fact": "ended", "time": 1.0, "number": 99, "state": "FAIL", "failure": null}\n',
    "number of no number": b'{"fact": "checkpoint", "time": 1.0, "number": [], "path": "x"}\n',
}


@pytest.mark.parametrize("line", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("opener", [Ledger, read_history])
def test_damage_in_the_middle_names_file_and_line_and_leaves_it(opener: Any, line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    small_ledger(path)
    lines = without_checksums(path.read_bytes()).splitlines(keepends=True)
    lines[2] = line
    path.write_bytes(b"".join(lines))
    with pytest.raises(DamagedFileError, match=r"^[^\n]*\bline 3\b[^\n]*$") as damage:
        opener(path)
    assert str(path) in str(damage.value)
    assert path.read_bytes() == b"".join(lines)


def changed(line: bytes, **changes: Any) -> bytes:
    """Return a line with changed keys, without those that are None."""
    entry = json.loads(line) | changes
    return json.dumps({key: value for key, value in entry.items() if value is not None}).encode() + b"\n"


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("asked", {"numbre": 1}),
        ("asked", {"anchor": None}),
        ("asked", {"anchor": 1}),
        ("asked", {"number": 1}),
        ("asked", {"number": -1}),
        ("asked", {"trial_id": "small-00007"}),
        ("asked", {"params": {"num_levels": 3}}),
        ("asked", {"config": {"family": "none"}}),
        ("asked", {"sampler_state": []}),
        ("epoch", {"number": True}),
        ("epoch", {"number": 7}),
        ("epoch", {"metrics": metrics(2)}),
        ("epoch", {"metrics": metrics(1) | {"val_accuracy": "0.5"}}),
        ("epoch", {"metrics": metrics(1) | {"val_accuracy": 50.0}}),
        ("epoch", {"metrics": metrics(1) | {"val_accuraby": 0.5}}),
        ("epoch", {"metrics": {"epoch": 1}}),
        ("epoch", {"metrics": metrics(1, phase="finetune")}),
        ("epoch", {"time": "now"}),
        ("epoch", {"elapsed": -1.0}),
        ("checkpoint", {"epoch": 3}),
        ("checkpoint", {"path": 7}),
        ("ended", {"state": "RUNNING"}),
        ("ended", {"state": TrialState.PRUNED}),
        ("ended", {"failure": 1}),
        ("session_started", {"session": 2}),
        ("session_started", {"pid": "1"}),
    ],
)
def test_fact_with_a_wrong_value_is_damage(kind: str, changes: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    small_ledger(path)
    lines = without_checksums(path.read_bytes()).splitlines(keepends=True)  # which would notice the change already
    place = next(index for index, line in enumerate(lines) if json.loads(line)["fact"] == kind)
    lines[place] = changed(lines[place], **changes)
    path.write_bytes(b"".join(lines))
    with pytest.raises(DamagedFileError, match=rf"^[^\n]* is damaged in line {place + 1}: [^\n]*$"):
        read_history(path)


def ended_ledger(path: Path) -> list[bytes]:
    """Write a finished study of two trials in two sessions; returns its lines."""
    small_ledger(path)
    ledger = Ledger(path)
    start_session(ledger)
    for epoch in (3, 4):
        ledger.record(EPOCH, number=1, metrics=metrics(epoch))
        ledger.record(CHECKPOINT, number=1, epoch=epoch, path=f"checkpoint-{epoch}")
    ledger.record(ENDED, number=1, state=TrialState.COMPLETE, failure=None)
    ledger.record(SESSION_ENDED, session=2, outcome="finished")
    ledger.close()
    return path.read_bytes().splitlines(keepends=True)


def test_doubled_line_of_an_earlier_version_is_damage_wherever_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    lines = without_checksums(b"".join(ended_ledger(path))).splitlines(keepends=True)
    for place, line in enumerate(lines):
        for other in range(place + 1, len(lines) + 1):
            path.write_bytes(b"".join([*lines[:other], line, *lines[other:]]))
            with pytest.raises(DamagedFileError, match="is damaged in line"):
                read_history(path)


def test_line_that_is_moved_within_a_session_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    small_ledger(path)
    lines = without_checksums(path.read_bytes()).splitlines(keepends=True)
    for place, line in enumerate(lines):
        for other in range(place + 2, len(lines) + 1):
            path.write_bytes(b"".join([*lines[:place], *lines[place + 1 : other], line, *lines[other:]]))
            with pytest.raises(DamagedFileError, match="is damaged in line"):
                read_history(path)


def test_dropped_line_is_damage_unless_it_is_the_last_or_one_of_several_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    lines = without_checksums(b"".join(ended_ledger(path))).splitlines(keepends=True)
    unseen = []
    for place, line in enumerate(lines[:-1]):
        path.write_bytes(b"".join(lines[:place] + lines[place + 1 :]))
        try:
            read_history(path)
        except DamagedFileError:
            continue
        unseen.append(json.loads(line)["fact"])
    assert set(unseen) == {"checkpoint"}


def test_line_that_is_cut_by_another_control_character_is_damage(tmp_path: Path) -> None:
    """A carriage return ends no line, so what follows it is not dropped without a word."""
    path = tmp_path / "ledger.jsonl"
    small_ledger(path)
    lines = without_checksums(path.read_bytes()).splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], lines[3].rstrip(b"\n") + b"\r", *lines[4:]]))
    with pytest.raises(DamagedFileError, match="line 4"):
        read_history(path)


def test_fact_that_makes_no_sense_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    small_ledger(path)
    ledger = Ledger(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="epoch of trial 1 must be 3, got 7"):
        ledger.record(EPOCH, number=1, metrics=metrics(7))
    ledger.close()
    assert path.read_bytes() == before


def test_missing_line_in_the_middle_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    small_ledger(path)
    lines = without_checksums(path.read_bytes()).splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if b'"asked"' not in line))
    with pytest.raises(DamagedFileError, match=str(path)):
        read_history(path)


def test_second_writer_in_the_same_process_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    small_ledger(path)
    before = path.read_bytes()
    ledger = Ledger(path)
    with pytest.raises(ValueError, match=r"^[^\n]*another process[^\n]*qar status[^\n]*$") as refusal:
        Ledger(path)
    assert str(tmp_path) in str(refusal.value)
    ledger.close()
    Ledger(path).close()
    assert path.read_bytes() == before


HOLD = """
import sys, time
from pathlib import Path
from study.ledger.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_writer_in_another_process_is_seen_until_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    small_ledger(path)
    assert not is_being_written(path)
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert is_being_written(path)
        with pytest.raises(ValueError, match="another process"):
            Ledger(path)
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    assert not is_being_written(path)
    Ledger(path).close()


def test_asking_whether_it_is_written_does_not_hinder_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    small_ledger(path)
    assert not is_being_written(path)
    ledger = Ledger(path)
    assert is_being_written(path)
    start_session(ledger)
    ledger.close()
    assert not is_being_written(path)


def test_file_system_without_locks_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.jsonl"
    small_ledger(path)

    def no_locks(file: object, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    for ask in (Ledger, is_being_written):
        with pytest.raises(StorageError, match=r"^[^\n]*must be able to lock files[^\n]*mount it with flock[^\n]*$"):
            ask(path)


def test_ledger_that_could_not_be_written_says_so_when_it_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray swallows what is raised while a checkpoint is recorded."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.check()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("study.ledger.ledger.os.fsync", full)
    with pytest.raises(StorageError):
        start_session(ledger)
    with pytest.raises(StorageError, match="No space left on device"):
        ledger.check()
    ledger.close()


def test_fact_is_on_disk_before_record_returns(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    start_session(ledger)
    assert read_history(path) == ledger.history
    ledger.close()


def test_only_complete_quantized_trials_are_candidates_for_the_front(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for number, (num_levels, state) in enumerate(
        [(None, TrialState.COMPLETE), (4, TrialState.COMPLETE), (4, TrialState.PRUNED), (4, TrialState.FAIL), (4, None)]
    ):
        config = CONFIG.trial_config({"family": "none", "num_levels": num_levels})
        ledger.record(ASKED, **asked(number, config))
        if state:
            train(ledger, number, 4 if state == TrialState.COMPLETE else 2)
            ledger.record(ENDED, number=number, state=state, failure=None)
    ledger.close()
    assert [trial.is_front_candidate for trial in ledger.history.trials.values()] == [False, True, False, False, False]


def test_lone_surrogates_in_a_fact_are_replaced_and_characters_beyond_16_bits_kept() -> None:
    """Python makes lone surrogates from undecodable bytes; strict readers of JSON refuse them."""
    fact = {"fact": "lost", "time": 0.0, "elapsed": 0.0, "number": 1, "reason": "a\ud800b\udfff \U0001f600"}
    expected = "a\ufffdb\ufffd \U0001f600"
    for line in (encode(fact), json.dumps(fact).encode()):
        assert decode(line) == Lost(time=0.0, elapsed=0.0, number=1, reason=expected)


def test_a_trial_that_is_quantized_first_is_only_finetuned(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    start_session(ledger)
    ledger.record(ASKED, **asked(0, study_config().trial_config({"family": "quantize-first", "num_levels": 4})))
    with pytest.raises(ValueError, match="phase of epoch 1 of trial 0 must be finetune, got regularize"):
        ledger.record(EPOCH, number=0, metrics=metrics(1, phase="regularize"))
    for epoch in range(1, 5):
        ledger.record(EPOCH, number=0, metrics=metrics(epoch, phase="finetune"))
    ledger.close()
    assert set(read_history(tmp_path / "ledger.jsonl").trials[0].epochs) == {1, 2, 3, 4}
