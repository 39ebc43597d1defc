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

from study.ledger.ledger import (
    ASKED,
    CHECKPOINT,
    ENDED,
    EPOCH,
    LOST,
    PRIOR,
    REPEATED,
    SESSION_ENDED,
    SESSION_STARTED,
    Arrival,
    History,
    Ledger,
    Saved,
    StorageError,
    Told,
    is_being_written,
    read_history,
)
from tests.support.example_studies import PROVENANCE, asked, metrics, start_session, study_config, train
from trainables.result import COMPLETE, FAIL, PRUNED, RUNNING, DamagedFileError

CONFIG = study_config()
SOME_TRIAL = asked(0, CONFIG.trial_config({"family": "RE", "num_levels": 8, "lam": 1.0, "placement": "own"}))

PATHS = st.from_regex(r"[\w-]{1,9}(/[\w-]{1,9}){0,3}", fullmatch=True)
"""Paths that a checkpoint may have."""


KINDS = ["session", "ask", "epoch", "checkpoint", "lose", "end", "repeat", "prior", "stop"]


@st.composite
def facts(draw: st.DrawFn) -> list[tuple[str, dict[str, Any]]]:
    """A study's life in legal order: sessions, trials asked for, trained, checkpointed, ended."""
    life: list[tuple[str, dict[str, Any]]] = []
    running: list[int] = []
    asked_for = sessions = 0
    for kind in draw(st.lists(st.sampled_from(KINDS), max_size=25)):
        if kind == "session":
            sessions += 1
            content = {"session": sessions, "pid": sessions, "hostname": "head", "provenance": PROVENANCE}
            life.append((SESSION_STARTED, content))
        elif kind == "stop" and sessions:
            life.append((SESSION_ENDED, {"session": sessions, "outcome": draw(st.sampled_from(["finished", "x"]))}))
        elif kind == "ask":
            lam = draw(st.floats(1e-9, 1e9))
            changes = {"number": asked_for, "params": {"lam": lam}, "anchor": draw(st.booleans())}
            life.append((ASKED, SOME_TRIAL | changes | {"config": SOME_TRIAL["config"] | {"lam": lam}}))
            running.append(asked_for)
            asked_for += 1
        elif kind == "prior":
            result = {"params": {"lam": 1.0}, "distributions": {}, "metrics": {"val_accuracy": 0.5}, "source": "x"}
            life.append((PRIOR, result))
        elif kind == "repeat" and asked_for:
            told = {"number": draw(st.integers(0, asked_for - 1)), "state": COMPLETE, "metrics": {"val_accuracy": 0.5}}
            life.append((REPEATED, told | {"params": {}, "distributions": {}, "sampler_state": {}}))
        elif running:
            number = draw(st.sampled_from(running))
            if kind == "epoch":
                loss = draw(st.floats(allow_nan=False))
                life.append((EPOCH, {"number": number, "metrics": metrics(draw(st.integers(1, 5))) | {"loss": loss}}))
            elif kind == "checkpoint":
                life.append((CHECKPOINT, {"number": number, "epoch": draw(st.integers(1, 5)), "path": draw(PATHS)}))
            elif kind == "lose":
                life.append((LOST, {"number": number, "reason": draw(st.text())}))
            elif kind == "end":
                running.remove(number)
                state = draw(st.sampled_from([COMPLETE, PRUNED, FAIL]))
                life.append((ENDED, {"number": number, "state": state, "failure": draw(st.none() | st.text())}))
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
    ledger.record(ENDED, number=0, state=COMPLETE, failure=None)
    ledger.close()
    return ledger.history


def test_history_tells_what_was_recorded(tmp_path: Path) -> None:
    history = small_ledger(tmp_path / "ledger.jsonl")
    first, second = history.trials[0], history.trials[1]
    assert (first.state, first.last["epoch"], first.last["phase"]) == (COMPLETE, 4, "finetune")
    assert (second.state, second.last["epoch"]) == (RUNNING, 2)
    assert second.checkpoint == Saved(2, "ray/session-001/1/checkpoint_000001")
    assert history.unfinished == [second]
    assert (history.count(COMPLETE), history.count(RUNNING), history.count(FAIL), history.num_ended) == (1, 1, 0, 1)
    assert [session.outcome for session in history.sessions] == [None]


def test_history_of_no_facts_is_empty(tmp_path: Path) -> None:
    history = read_history(tmp_path / "ledger.jsonl")
    assert (history.trials, history.sessions, history.num_ended, history.seconds) == ({}, [], 0, 0)


def test_seconds_are_those_of_the_sessions_and_not_of_the_time_between() -> None:
    history = History()
    session = {"pid": 1, "hostname": "head", "provenance": {}}
    history.apply({"fact": SESSION_STARTED, "time": 100.0, "session": 1} | session)
    history.apply({"fact": SESSION_ENDED, "time": 110.0, "session": 1, "outcome": "interrupted"})
    history.apply({"fact": SESSION_STARTED, "time": 500.0, "session": 2} | session)
    history.apply({"fact": SESSION_ENDED, "time": 503.0, "session": 2, "outcome": "finished"})
    assert history.seconds == 13.0


def test_failure_is_kept_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    small_ledger(path)
    ledger = Ledger(path)
    ledger.record(ENDED, number=1, state=FAIL, failure="the loss is not finite (nan)\nin two lines, λ")
    ledger.close()
    trial = read_history(path).trials[1]
    assert (trial.state, trial.failure) == (FAIL, "the loss is not finite (nan)\nin two lines, λ")


def test_epoch_that_is_trained_again_replaces_the_earlier_account(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    small_ledger(path)
    ledger = Ledger(path)
    ledger.record(EPOCH, number=1, metrics=metrics(2, accuracy=0.75))
    ledger.close()
    history = read_history(path)
    epochs = history.trials[1].epochs
    assert [epochs[epoch]["val_accuracy"] for epoch in (1, 2)] == [0.5, 0.75]
    assert history.trials[1].seconds_lost == 0.25, "of the account that counts no more"
    early_stopping_saw = [arrival for arrival in history.arrivals if arrival.number == 1]
    assert early_stopping_saw == [Arrival(1, metrics(1)), Arrival(1, metrics(2))]


def test_newest_checkpoints_are_kept_the_newest_last(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    small_ledger(path)
    ledger = Ledger(path)
    for epoch in (3, 4):
        ledger.record(CHECKPOINT, number=1, epoch=epoch, path=f"checkpoint-{epoch}")
    assert ledger.history.trials[1].checkpoints == [Saved(3, "checkpoint-3"), Saved(4, "checkpoint-4")]


def test_proposals_are_all_that_optuna_knows_in_order(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    result = {"params": {"num_levels": 4}, "distributions": {"num_levels": "{}"}, "metrics": {"val_accuracy": 0.5}}
    ledger.record(PRIOR, **result, source="studies/other/trials.parquet")
    ledger.record(ASKED, **SOME_TRIAL)
    repeated = result | {"number": 0, "state": FAIL, "sampler_state": {"trial": {"generation": 1}}}
    ledger.record(REPEATED, **repeated)
    assert ledger.history.proposals == [
        Told(**result, state=COMPLETE),
        ledger.history.trials[0],
        Told(**repeated),
    ]


def test_lost_actor_is_counted_and_the_trial_still_runs(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    small_ledger(path)
    ledger = Ledger(path)
    for _ in range(2):
        ledger.record(LOST, number=1, reason="the node is gone")
    assert (ledger.history.trials[1].losses, ledger.history.trials[1].state) == (2, RUNNING)


FULL_DISK = """
import resource, sys
from pathlib import Path
from study.ledger.ledger import EPOCH, Ledger, StorageError

path = Path(sys.argv[1])
ledger = Ledger(path)
size = path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
for left in range(2):
    try:
        ledger.record(EPOCH, number=1, metrics={"epoch": 3, "train_seconds": 1.0, "padding": "x" * 300})
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
    assert first.startswith(f"storage {tmp_path} can't be written: File too large; make room")
    assert first.endswith(f"qar resume {tmp_path}")
    assert epochs == "[1, 2]"
    assert read_history(path) == before
    Ledger(path).close()
    assert read_history(path) == before


def test_ledger_that_may_not_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "ledger.jsonl").mkdir()
    with pytest.raises(StorageError, match=r"can't be written: Is a directory; .*qar resume"):
        Ledger(tmp_path / "ledger.jsonl")


@settings(max_examples=40)
@given(facts())
def test_replay_equals_the_live_history(life: list[tuple[str, dict[str, Any]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.jsonl"
        live = write(path, life)[-1]
        assert read_history(path) == live
        again = Ledger(path)
        assert again.history == live
        again.close()


@settings(max_examples=40)
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
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = line
    path.write_bytes(b"".join(lines))
    with pytest.raises(DamagedFileError, match=r"^[^\n]*\bline 3\b[^\n]*$") as damage:
        opener(path)
    assert str(path) in str(damage.value)
    assert path.read_bytes() == b"".join(lines)


def test_missing_line_in_the_middle_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    small_ledger(path)
    lines = path.read_bytes().splitlines(keepends=True)
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
    for number, (num_levels, state) in enumerate([(None, COMPLETE), (4, COMPLETE), (4, PRUNED), (4, FAIL), (4, None)]):
        config = CONFIG.trial_config({"family": "none", "num_levels": num_levels})
        ledger.record(ASKED, **asked(number, config))
        if state:
            ledger.record(ENDED, number=number, state=state, failure=None)
    ledger.close()
    assert [trial.is_front_candidate for trial in ledger.history.trials.values()] == [False, True, False, False, False]
