"""Studies on a real Ray that fail, or can't begin: trials, actors, disks, and requests that only Ray can refuse."""

import itertools
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from study.ledger.reading import read_history
from tests.support.example_studies import files_below
from tests.support.live_studies import LiveRun, assert_quiet, epochs_by_session, processes_of, qar, rows
from trainables.result import TrialState

pytestmark = pytest.mark.e2e

SHORT = (
    *("--set", "early_stopping.scheduler=none", "--set", "early_stopping.grace_period=1"),
    *("--set", "trial.regularize_epochs=3", "--set", "trial.finetune_epochs=1", "--set", "trial.width=0.5"),
    *("--set", "trial.subset=320"),
)

FROM_SCRATCH = (
    *("--set", "trial.init=scratch", "--set", "space.family=[none,RM]", "--set", "space.lam_by_family={}"),
    *("--set", "anchors.family=[none,RM]"),
)
"""No float network, which would fail before the trials."""


def test_study_whose_first_trials_fail_alike_ends_by_itself_and_can_be_resumed(tmp_path: Path) -> None:
    ended = qar(
        *("launch", "digits", "--trials", "40", "--storage", "elsewhere"),
        *("--set", "trial.recipe.learning_rate=1e30", "--set", "trial.recipe.optimizer=sgd"),
        *FROM_SCRATCH,
        cwd=tmp_path,
    )
    assert ended.status == 1, ended
    (line,) = ended.stderr.splitlines()
    assert line.startswith("qar: the first 3 trials all failed alike: the loss is not finite")
    assert "qar resume elsewhere/digits" in line
    table = rows(tmp_path / "elsewhere" / "digits")
    failed = [row for row in table if row["state"] == TrialState.FAIL]
    assert 3 <= len(failed) <= len(table) < 40
    assert all("not finite" in str(row["failure"]) for row in failed)
    shown = qar("status", "elsewhere/digits", cwd=tmp_path)
    assert "digits: interrupted" in shown.stdout
    assert shown.stdout.count("not finite") == 1, "failures with one reason share a line"


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host.invalid:6379"])
def test_cluster_that_is_not_there_is_refused_and_nothing_is_written(address: str, tmp_path: Path) -> None:
    ended = qar("launch", "digits", "--address", address, cwd=tmp_path)
    assert (ended.status, ended.stdout) == (2, ""), ended
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"qar: --address must be that of a running Ray cluster that can be reached, got '{address}'")
    assert line.endswith("ray start --head")
    assert files_below(tmp_path) == {}


def test_trial_that_fits_no_node_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    ended = qar("launch", "digits", "--trials", "1", "--set", "resources.cpus=4096", cwd=tmp_path)
    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1
    assert "resources.cpus" in ended.stderr
    assert "4096" in ended.stderr
    assert files_below(tmp_path) == {}


def test_float_network_that_diverges_ends_the_study_in_one_line(tmp_path: Path) -> None:
    hopeless = ("--set", "trial.init=pretrained", "--set", "trial.recipe.learning_rate=1e30")
    ended = qar("launch", "digits", "--trials", "4", *SHORT, *hopeless, cwd=tmp_path)
    assert ended.status == 2, ended
    (line,) = ended.stderr.splitlines()
    assert re.fullmatch(r"qar: the float network .* must converge, but the .* is not finite .*learning_rate.*", line)


def test_trial_that_raises_fails_with_its_reason_and_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A configuration that is valid on paper and breaks in training: there is no compiler for the network."""
    monkeypatch.setenv("CXX", str(tmp_path / "nowhere"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    ended = qar(
        *("launch", "digits", "--trials", "1", "--set", "early_stopping.scheduler=none"),
        *("--set", "trial.recipe.compile=true"),
        *FROM_SCRATCH,
        cwd=tmp_path,
    )
    assert ended.status == 1, ended
    (row,) = rows(tmp_path / "studies" / "digits")
    assert row["state"] == TrialState.FAIL
    assert "No working C++ compiler" in str(row["failure"])
    (line,) = ended.stderr.splitlines()
    assert line.startswith("qar: every trial failed, because: ")


def test_trial_whose_actor_is_killed_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    every_epoch = ("--set", "resources.checkpoints=every_epoch")
    long_enough = ("--set", "trial.finetune_epochs=200")  # to be killed after its first checkpoint was seen
    run = LiveRun(("launch", "digits", "--trials", "3", *SHORT, *every_epoch, *long_enough), tmp_path)
    study = tmp_path / "studies" / "digits"
    run.wait_until(study / "ledger.jsonl", lambda history: any(trial.checkpoints for trial in history.unfinished))
    actors = [*processes_of(run, "ray::ResourceTrainable"), *processes_of(run, "ray::CompressionTrial")]
    assert actors, "Ray titles an actor by its method while it trains, and by its class between two calls"
    for actor in actors:
        os.kill(actor, signal.SIGKILL)
    ended = run.finish()
    assert (ended.status, ended.stderr) == (0, ""), ended
    history = read_history(study / "ledger.jsonl")
    assert [trial.state for trial in history.trials.values()] == [TrialState.COMPLETE] * 3
    assert sum(trial.losses for trial in history.trials.values()) >= 1
    (told,) = epochs_by_session(study / "ledger.jsonl")
    for epochs in told.values():
        assert all(late - early in (0, 1) for early, late in itertools.pairwise(row["epoch"] for row in epochs))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for a few checkpoints."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("file systems can't be mounted here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_full_disk_ends_the_study_in_one_line_and_it_resumes_once_there_is_room(small_disk: Path) -> None:
    study = small_disk / "digits"
    fill = small_disk / "somebody-elses"
    run = LiveRun(("launch", "digits", "--trials", "6", "--storage", str(small_disk), *SHORT), small_disk.parent)
    run.wait_until(study / "ledger.jsonl", lambda history: history.count(TrialState.COMPLETE) >= 1)
    with fill.open("wb") as file:
        try:
            while True:
                file.write(b"x" * 1000)
                file.flush()
        except OSError:
            os.ftruncate(file.fileno(), max(0, file.tell() - 8000))
    full = run.finish()
    assert full.status == 1, full
    (line,) = full.stderr.splitlines()
    assert re.fullmatch(r"qar: storage .* can't be written: No space left on device; free space .*qar resume .*", line)
    trials = read_history(study / "ledger.jsonl").trials
    finished = {number: trial for number, trial in trials.items() if trial.state == TrialState.COMPLETE}
    assert finished

    fill.unlink()
    resumed = qar("resume", str(study), cwd=small_disk.parent)
    assert resumed.status == 0, resumed
    assert_quiet(resumed)
    history = read_history(study / "ledger.jsonl")
    assert {history.trials[number] == trial for number, trial in finished.items()} == {True}
    assert [trial.state for trial in history.trials.values()] == [TrialState.COMPLETE] * 6
