"""A study in a bucket, on a real Ray: its store fails in all ways, its driver is killed, and nothing is lost."""

import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import pandas as pd
import pytest

from analysis.load import load_epochs, load_trials
from study.ledger.history import History
from study.ledger.reading import read_history
from study.storage.folder import StudyFolder
from study.storage.object_store import BucketFolder
from tests.support.faulty_store import FaultyStore
from tests.support.live_studies import PATIENCE, Ended, LiveRun, qar
from tests.support.promises import assert_only_epochs_after_a_checkpoint_are_repeated
from trainables.codebooks.artifact_file import read_artifact
from trainables.result import TrialState

pytestmark = pytest.mark.e2e

FAULTS = ("500", "503", "slow", "cut up", "cut down")
EVERY = 9
"""One in so many requests goes wrong, each time in the next way."""
TRIALS = 4
SHORT = (
    *("--trials", str(TRIALS), "--set", "early_stopping.scheduler=none", "--set", "early_stopping.grace_period=1"),
    *("--set", "trial.regularize_epochs=3", "--set", "trial.finetune_epochs=1", "--set", "trial.subset=160"),
    *("--set", "trial.width=0.25", "--set", "trial.init=pretrained"),
)


def now_and_then() -> Callable[[str, str], str | None]:
    faults, count = cycle(FAULTS), 0

    def fault(method: str, path: str) -> str | None:
        nonlocal count
        count += 1
        return next(faults) if count % EVERY == 0 else None

    return fault


def history_of(uri: str) -> History:
    folder = StudyFolder.at(uri)
    return read_history(folder.ledger) if folder.exists() else History()


def wait_until(run: LiveRun, uri: str, condition: Callable[[History], bool]) -> History:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if condition(history := history_of(uri)):
            return history
        assert run.process.poll() is None, f"it ended too early: {run.process.communicate()}"
        time.sleep(0.5)
    raise AssertionError(f"not reached within {PATIENCE:g} seconds: {history_of(uri)}")


@dataclass(frozen=True)
class Story:
    """A study that was launched while its store failed now and then, killed, stopped by an outage, and finished.

    Attributes:
        store: where it is, which is in order now.
        faults: what has gone wrong before the outage, and how often.
        killed: its history after the kill.
        after_kill: what `qar status` says then.
        outage: how the driver ended whose store was out of reach.
        cut_off: the history then.
        finished: how the last driver ended.
    """

    store: FaultyStore
    uri: str
    cwd: Path
    faults: dict[str, int]
    killed: History
    after_kill: Ended
    outage: Ended
    cut_off: History
    finished: Ended

    @property
    def copy(self) -> StudyFolder:
        folder = StudyFolder.at(self.uri)
        folder.storage.fetch_results()
        return folder


@pytest.fixture(scope="module")
def story(server: FaultyStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    cwd, store = tmp_path_factory.mktemp("story"), server
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QAR_STORAGE_PATIENCE", "6")
        uri, watched = store.uri("bucket/studies/digits"), store.faultless_uri("bucket/studies/digits")
        store.fault = now_and_then()
        launch = LiveRun(("launch", "digits", "--storage", store.uri("bucket/studies"), *SHORT), cwd)
        wait_until(
            launch, watched, lambda history: history.count(TrialState.COMPLETE) >= 1 and bool(history.unfinished)
        )
        launch.kill_driver()
        launch.finish()
        killed, after_kill = history_of(watched), qar("status", uri, "--json", cwd=cwd)
        faults = dict(store.done)

        resume = LiveRun(("resume", uri), cwd)
        done = killed.num_ended
        wait_until(resume, watched, lambda history: history.num_ended > done and bool(history.unfinished))
        store.fault = lambda method, path: "503"
        outage = resume.finish()
        store.fault = lambda method, path: None
        cut_off = history_of(watched)

        finished = qar("resume", uri, cwd=cwd)
        yield Story(store, uri, cwd, faults, killed, after_kill, outage, cut_off, finished)


def test_every_kind_of_fault_has_happened(story: Story) -> None:
    assert set(story.faults) == set(FAULTS)


def test_status_after_a_kill_says_died(story: Story) -> None:
    told = json.loads(story.after_kill.stdout)
    assert (told["state"], told["COMPLETE"]) == ("died", story.killed.count(TrialState.COMPLETE))


def test_outage_ends_the_study_in_one_line(story: Story) -> None:
    assert story.outage.status == 1, story.outage
    # Ray may be writing its own state when the store fails. Arrow's C++ code then writes a line to stderr when it drops
    # the file, which Python can't turn off.
    dropped = re.compile(r"/arrow/cpp/\S+: Error ignored when destroying file .*ray/session-\d+/")
    ours = [line for line in story.outage.stderr.splitlines() if not dropped.match(line)]
    assert len(ours) == 1, story.outage.stderr
    (line,) = ours
    assert line.startswith(f"qar: storage {story.uri} can't be reached: ")
    assert line.endswith(f"once it can, go on with: qar resume '{story.uri}'")
    assert story.cut_off.unfinished


def test_study_in_a_bucket_is_finished_by_the_last_driver(story: Story) -> None:
    assert (story.finished.status, story.finished.stderr) == (0, ""), story.finished
    told = json.loads(qar("status", story.uri, "--json", cwd=story.cwd).stdout)
    assert (told["state"], told["COMPLETE"]) == ("finished", TRIALS)


def test_nothing_is_lost_and_no_trial_trained_twice(story: Story) -> None:
    folder = story.copy
    assert_only_epochs_after_a_checkpoint_are_repeated(folder)
    table = load_trials(folder.path)
    assert list(table["number"]) == list(range(TRIALS))
    assert set(table["state"]) == {TrialState.COMPLETE}, list(table["failure"])
    assert not load_epochs(folder.path).duplicated(["number", "epoch"]).any()
    last = read_history(folder.ledger)
    for earlier in (story.killed, story.cut_off):
        for number, trial in earlier.trials.items():
            if trial.state == TrialState.COMPLETE:
                assert last.trials[number] == trial, "what has ended is not touched again"
    pd.testing.assert_series_equal(table["epochs"], pd.Series([4] * TRIALS, name="epochs"))


def test_nothing_is_left_on_the_machine_of_the_driver(story: Story) -> None:
    assert list(story.cwd.iterdir()) == []


def test_bucket_holds_all_that_outlives_the_head(story: Story) -> None:
    bucket = BucketFolder.open(story.uri)
    files = {name for name in bucket.names() if name.split("/")[0] not in ("ray", "ledger")}
    assert files >= {
        *("study.yaml", "study.json", "trials.parquet", "epochs.parquet", "optuna.db", "derived.json", "driver.json"),
        *(
            "baseline/seed-0/trial.pt",
            "report/figures/front.pdf",
            "report/summary.json",
        ),
    }
    held = {name.split("/")[1] for name, size in bucket.sizes("ledger").items() if size}
    assert len(held) == 1, "earlier generations are emptied"


def test_ledger_holds_the_checksums_of_what_the_trials_wrote_to_the_bucket(story: Story) -> None:
    history, bucket = read_history(story.copy.ledger), BucketFolder.open(story.uri)
    records = [record for trial in history.trials.values() for record in trial.checkpoints]
    sums = {f"{record.path}/trial.pt": record.sha256 for record in records}
    sums["baseline/seed-0/trial.pt"] = history.baseline_sums[0]
    present = sums.keys() & set(bucket.names())
    assert len(present) >= TRIALS
    for name in present:
        assert hashlib.sha256(bucket.read(name) or b"").hexdigest() == sums[name], name


def test_trial_of_a_bucket_is_exported(story: Story) -> None:
    out = story.cwd / "exported.qar"
    ended = qar("export", story.uri, "--trial", "1", "--out", str(out), cwd=story.cwd)
    assert ended.status == 0, ended
    assert read_artifact(out).provenance["trial_id"] == "digits-00001"
    out.unlink()


def test_trial_of_a_bucket_is_reproduced(story: Story) -> None:
    ended = qar("reproduce", story.uri, "--trial", "1", cwd=story.cwd)
    assert (ended.status, ended.stderr) == (0, ""), ended
    assert "bit by bit" in ended.stdout


def test_report_of_a_bucket_goes_where_it_is_asked_to(story: Story) -> None:
    ended = qar("report", story.uri, "--out", "out", "--formats", "pdf", cwd=story.cwd)
    assert ended.status == 0, ended
    assert (story.cwd / "out" / "figures" / "front.pdf").exists()
    assert str(story.copy.path.parent) not in ended.stdout
    shutil.rmtree(story.cwd / "out")
