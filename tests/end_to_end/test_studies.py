"""Whole studies on a real Ray, as a user runs them: to the end, interrupted, killed, failing, impossible."""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from analysis.load import load_epochs, load_trials
from analysis.statistics.front import front
from study.ledger.ledger import CHECKPOINTS_KEPT, History, read_history
from tests.support.example_studies import files_below
from tests.support.live_studies import MARK, Ended, LiveRun, epochs_by_session, qar
from trainables.config import TrialConfig
from trainables.families import FAMILIES
from trainables.result import COMPLETE, EPOCH_COLUMNS, FAIL, PRUNED, RUNNING, TRIAL_COLUMNS
from trainables.run import CompressionRun

pytestmark = pytest.mark.e2e

NOISE = re.compile(r"(?i:\bray\b|\btune\b|optuna|warning|traceback)|\bERROR\b|\x1b")
TERMINAL = {COMPLETE, PRUNED, FAIL}
SHORT = (
    *("--set", "early_stopping.scheduler=none", "--set", "early_stopping.grace_period=1"),
    *("--set", "trial.regularize_epochs=3", "--set", "trial.finetune_epochs=1", "--set", "trial.width=0.5"),
)


def assert_quiet(ended: Ended) -> None:
    """Plain lines of ours on stdout, nothing on stderr."""
    assert ended.stderr == ""
    assert [line for line in ended.stdout.splitlines() if NOISE.search(line)] == []


def rows(study: Path) -> list[dict[str, object]]:
    return load_trials(study).astype(object).where(lambda table: table.notna(), None).to_dict("records")


@dataclass(frozen=True)
class Launched:
    """A study that ran to its end."""

    cwd: Path
    ended: Ended

    @property
    def study(self) -> Path:
        return self.cwd / "studies" / "digits"

    @property
    def trials(self) -> pd.DataFrame:
        return load_trials(self.study)

    @property
    def epochs(self) -> pd.DataFrame:
        return load_epochs(self.study)


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Launched:
    """Fourteen short trials of the study `digits`, in its usual place."""
    cwd = tmp_path_factory.mktemp("launched")
    ended = qar(
        *("launch", "digits", "--trials", "14"),
        *("--set", "trial.regularize_epochs=2", "--set", "trial.finetune_epochs=1"),
        *("--set", "early_stopping.grace_period=1"),
        cwd=cwd,
    )
    return Launched(cwd, ended)


def test_launch_ends_well_and_quietly(launched: Launched) -> None:
    assert launched.ended.status == 0, launched.ended
    assert_quiet(launched.ended)


def test_launch_writes_all_files_of_a_study(launched: Launched) -> None:
    names = {path.name for path in launched.study.iterdir()}
    assert names == {"study.yaml", "study.json", "ledger.jsonl", "trials.parquet", "epochs.parquet"} | {
        "optuna.db",
        "report",
        "ray",
    }
    report = files_below(launched.study / "report")
    assert {"front.csv", "summary.json"} | {f"figures/front.{kind}" for kind in ("pdf", "svg", "png")} == set(report)
    assert all(report.values())
    assert [path.name for path in launched.cwd.iterdir()] == ["studies"]


def test_launch_runs_as_many_trials_as_asked_for_each_to_an_end(launched: Launched) -> None:
    trials = launched.trials
    assert list(trials["number"]) == list(range(14))
    assert set(trials["state"]) <= TERMINAL
    assert trials["trial_id"].is_unique
    assert not trials.duplicated(["config_hash", "seed"]).any()
    assert (trials["state"] != FAIL).all(), list(trials["failure"])


def test_launch_runs_every_family_and_the_float_baseline(launched: Launched) -> None:
    trials = launched.trials
    assert set(trials["family"]) == set(FAMILIES)
    baseline = trials.iloc[0]
    assert (baseline["family"], baseline["state"], baseline["anchor"]) == ("none", COMPLETE, True)
    assert pd.isna(baseline["num_levels"])
    assert baseline["val_accuracy"] == baseline["float_val_accuracy"] > 0.8
    anchors = trials[trials["anchor"]]
    assert list(anchors["num_levels"].dropna()) == [2, 3, 4, 8]
    assert set(anchors["state"]) == {COMPLETE}


def test_full_budget_and_complete_are_the_same(launched: Launched) -> None:
    trials = launched.trials
    assert ((trials["state"] == COMPLETE) == (trials["epochs"] == 3)).all()
    pruned = trials[trials["state"] == PRUNED]
    assert pruned["epochs"].between(1, 2).all()
    assert pruned["val_accuracy"].notna().all()


def test_tables_of_a_launch_agree_with_each_other(launched: Launched) -> None:
    trials, epochs = launched.trials.set_index("trial_id"), launched.epochs
    assert not epochs.duplicated(["trial_id", "epoch"]).any()
    grouped = epochs.groupby("trial_id")
    assert (grouped["epoch"].max() == trials["epochs"]).all()
    assert (grouped["epoch"].count() == trials["epochs"]).all()
    assert grouped["train_seconds"].sum().to_dict() == pytest.approx(trials["train_seconds"].to_dict())
    last = epochs.loc[grouped["epoch"].idxmax()].set_index("trial_id")
    for column in ("val_accuracy", "bits_per_weight", "float_val_accuracy", "entropy_bits_per_weight"):
        assert (last[column] == trials[column]).all(), column
    assert set(epochs.loc[epochs["epoch"] == 3, "phase"]) == {"finetune"}
    assert set(epochs.loc[epochs["epoch"] < 3, "phase"]) == {"regularize"}
    quantized_at_2 = epochs[(epochs["epoch"] == 2)].set_index("trial_id")["val_accuracy"]
    baseline = trials.index[trials["num_levels"].isna()]  # is never quantized
    assert trials["val_accuracy_pre_tuning"].dropna().to_dict() == quantized_at_2.drop(baseline).to_dict()


def test_values_of_a_launch_are_plausible(launched: Launched) -> None:
    trials = launched.trials
    assert trials["val_accuracy"].between(0, 1).all()
    assert (trials["train_seconds"] > 0).all()
    quantized = trials[trials["num_levels"].notna()]
    assert (quantized["entropy_bits_per_weight"] <= quantized["index_bits_per_weight"]).all()
    assert (quantized["bits_per_weight"] < 8).all()
    penalized = trials["family"] != "none"
    assert trials.loc[penalized, "lam"].between(1e-5, 1e-2).all()
    assert trials.loc[~penalized, "lam"].isna().all()
    always = {column.name for column in TRIAL_COLUMNS} - {
        *("num_levels", "lam", "placement", "val_accuracy_pre_tuning", "failure"),
        *("test_accuracy_pre_tuning", "test_accuracy"),
    }
    assert trials[sorted(always)].notna().all().all()
    assert launched.epochs[[column.name for column in EPOCH_COLUMNS if column.name != "penalty"]].notna().all().all()


def test_trial_of_a_launch_is_what_the_method_alone_computes(launched: Launched) -> None:
    """Ray adds nothing to the numbers: the same configuration run in this process gives the same accuracy and bits."""
    trials = launched.trials
    number = int(trials[(trials["family"] == "RE")]["number"].iloc[0])
    told = trials.iloc[number]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run = CompressionRun(TrialConfig.from_dict(read_history(launched.study / "ledger.jsonl").trials[number].config))
        results = [run.run_epoch() for _ in range(told["epochs"])]
    finally:
        torch.set_num_threads(threads)
    assert results[-1]["val_accuracy"] == told["val_accuracy"]
    assert results[-1]["bits_per_weight"] == told["bits_per_weight"]


def test_launch_says_how_far_it_is_and_what_it_found(launched: Launched) -> None:
    lines = launched.ended.stdout.splitlines()
    trials = launched.trials
    counted = [(int((trials["state"] == state).sum()), state) for state in (COMPLETE, PRUNED)]
    assert "14 trials: " + ", ".join(f"{count} {state}" for count, state in counted if count) in lines
    assert any(re.match(r"\d+ of 14 trials", line) for line in lines)
    for trial_id in front(trials)["trial_id"]:
        assert any(line.split()[-1:] == [trial_id] for line in lines)
    assert any("plot: studies/digits/report/figures/front.pdf" in line for line in lines)
    assert lines[-1].startswith("more: qar status studies/digits")


def test_study_yaml_of_a_launch_is_resolved(launched: Launched) -> None:
    written = yaml.safe_load((launched.study / "study.yaml").read_text())
    assert (written["name"], written["trials"], written["trial"]["regularize_epochs"]) == ("digits", 14, 2)
    assert written["trial"]["recipe"]["batch_size"] == 64


def test_study_json_of_a_launch_names_versions_and_host(launched: Launched) -> None:
    told = json.loads((launched.study / "study.json").read_text())
    (session,) = told["sessions"]
    assert session["outcome"] == "finished"
    assert {"python", "qar", "ray", "torch", "optuna"} <= set(session["versions"])
    assert told["hosts"] == list(set(launched.trials["hostname"]))
    assert told["seeds"] == [0]


def test_checkpoints_of_a_launch_do_not_pile_up(launched: Launched) -> None:
    folders = [path for path in (launched.study / "ray").rglob("checkpoint_*") if path.is_dir()]
    by_trial = Counter(path.parent.name for path in folders)
    assert len(by_trial) == 14
    assert set(by_trial.values()) <= set(range(1, CHECKPOINTS_KEPT + 1))


def test_launch_again_is_refused_and_changes_nothing(launched: Launched) -> None:
    before = files_below(launched.study)
    again = qar("launch", "digits", "--trials", "14", cwd=launched.cwd)
    assert (again.status, again.stdout) == (2, "")
    assert again.stderr.count("\n") == 1
    assert "qar resume studies/digits" in again.stderr
    assert files_below(launched.study) == before


@pytest.mark.parametrize(
    "arguments",
    [("resume", "studies/digits"), ("launch", "digits", "--resume-if-exists", "--trials", "14")],
    ids=["resume", "launch"],
)
def test_resume_of_a_finished_study_trains_nothing(launched: Launched, arguments: tuple[str, ...]) -> None:
    before = files_below(launched.study)
    again = qar(*arguments, cwd=launched.cwd)
    assert again.status == 0
    assert_quiet(again)
    assert files_below(launched.study) == before  # the report too, byte for byte


def test_finished_study_goes_on_for_more_trials(launched: Launched, tmp_path: Path) -> None:
    study = tmp_path / "studies" / "digits"
    shutil.copytree(launched.study, study)
    assert_quiet(qar("resume", "studies/digits", "--trials", "2", cwd=tmp_path))
    extended = load_trials(study)
    assert len(extended) == len(launched.trials) + 2
    assert set(extended["state"]) <= TERMINAL
    pd.testing.assert_frame_equal(extended.head(len(launched.trials)), launched.trials)


def test_status_of_a_finished_study(launched: Launched) -> None:
    shown = qar("status", "studies/digits", cwd=launched.cwd)
    assert shown.status == 0
    assert_quiet(shown)
    assert "digits: finished; 14 of 14 trials" in shown.stdout
    told = json.loads(qar("status", "studies/digits", "--json", cwd=launched.cwd).stdout)
    assert (told["state"], told["trials"], told["RUNNING"]) == ("finished", 14, 0)
    assert told["COMPLETE"] == (launched.trials["state"] == COMPLETE).sum()
    assert {point["trial_id"] for point in told["front"]} == set(front(launched.trials)["trial_id"])
    assert 0 < told["wall_seconds"] < 600


# --- interrupted by Ctrl-C, resumed, killed, resumed again ---

TINY = {
    "name": "tiny",
    "trials": 7,
    "seed": 3,
    "trial": {"regularize_epochs": 8, "finetune_epochs": 6},
    "space": {"family": ["none", "RS", "RE"]},
    "anchors": {"num_levels": [2, 4]},
    "early_stopping": {"scheduler": "none"},
}
EPOCHS = 14


@dataclass(frozen=True)
class Moment:
    """A study as it lay on disk after one of its runs."""

    ended: Ended
    history: History
    trials: list[dict[str, object]]
    status: Ended

    @property
    def told(self) -> dict[str, object]:
        return json.loads(self.status.stdout)


@dataclass(frozen=True)
class Story:
    """A study that was launched, interrupted by Ctrl-C, resumed, killed, and resumed to its end."""

    study: Path
    interrupted: Moment
    killed: Moment
    finished: Moment


def moment(ended: Ended, study: Path) -> Moment:
    status = qar("status", "studies/tiny", "--json", cwd=study.parents[1])
    return Moment(ended, read_history(study / "ledger.jsonl"), rows(study), status)


def amid_a_trial(num_ended: int, history: History) -> bool:
    """Whether so many trials have ended, and one that runs is well between its beginning and its end."""
    return history.num_ended >= num_ended and any(
        trial.checkpoint and 3 <= len(trial.epochs) <= EPOCHS - 5 for trial in history.unfinished
    )


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    cwd = tmp_path_factory.mktemp("story")
    study = cwd / "studies" / "tiny"
    (cwd / "tiny.yaml").write_text(yaml.safe_dump(TINY))

    launch = LiveRun(("launch", "tiny.yaml"), cwd)
    launch.wait_until(study / "ledger.jsonl", lambda history: amid_a_trial(2, history))
    launch.press_ctrl_c()
    interrupted = moment(launch.finish(), study)

    resume = LiveRun(("resume", "studies/tiny"), cwd)
    resume.wait_until(study / "ledger.jsonl", lambda history: amid_a_trial(interrupted.history.num_ended + 1, history))
    resume.kill_driver()
    killed = moment(resume.finish(), study)

    finished = moment(qar("resume", "studies/tiny", cwd=cwd), study)
    return Story(study, interrupted, killed, finished)


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(story: Story) -> None:
    ended = story.interrupted.ended
    assert ended.status == 130
    assert_quiet(ended)
    assert ended.stdout.splitlines()[-1] == "interrupted; continue with: qar resume studies/tiny"


def test_ctrl_c_leaves_the_tables_and_running_trials_running(story: Story) -> None:
    history, table = story.interrupted.history, story.interrupted.trials
    assert history.unfinished
    assert [row["number"] for row in table] == sorted(history.trials)
    assert [row["state"] for row in table] == [history.trials[number].state for number in sorted(history.trials)]
    assert [row["epochs"] for row in table] == [len(history.trials[number].epochs) for number in sorted(history.trials)]
    assert {row["state"] for row in table} == {COMPLETE, RUNNING}
    assert history.sessions[-1].outcome == "interrupted"
    assert story.interrupted.told["state"] == "interrupted"


def test_status_after_a_kill_says_died(story: Story) -> None:
    assert story.killed.ended.status == -9
    assert story.killed.history.unfinished
    assert story.killed.told["state"] == "died"
    assert story.killed.status.stderr == ""


def test_resume_ends_well_and_quietly(story: Story) -> None:
    assert story.finished.ended.status == 0, story.finished.ended
    assert_quiet(story.finished.ended)
    assert story.finished.told["state"] == "finished"
    assert [session.outcome for session in story.finished.history.sessions] == ["interrupted", None, "finished"]
    assert (story.study / "report" / "figures" / "front.pdf").exists()


def test_resumed_study_has_every_trial_once_and_complete(story: Story) -> None:
    table = story.finished.trials
    assert [row["number"] for row in table] == list(range(TINY["trials"]))
    assert {row["state"] for row in table} == {COMPLETE}, [row["failure"] for row in table]
    assert len({(row["config_hash"], row["seed"]) for row in table}) == len(table)
    epochs = load_epochs(story.study)
    assert not epochs.duplicated(["trial_id", "epoch"]).any()
    assert (epochs.groupby("number")["epoch"].count() == EPOCHS).all()


def test_finished_trials_are_not_trained_again(story: Story) -> None:
    sessions = epochs_by_session(story.study / "ledger.jsonl")
    for earlier, later_sessions in ((story.interrupted, sessions[1:]), (story.killed, sessions[2:])):
        done = {number for number, trial in earlier.history.trials.items() if trial.state == COMPLETE}
        assert done
        assert [set(session) & done for session in later_sessions] == [set()] * len(later_sessions)
        for number in done:
            assert story.finished.history.trials[number] == earlier.history.trials[number]


def test_running_trials_go_on_from_their_checkpoint(story: Story) -> None:
    sessions = epochs_by_session(story.study / "ledger.jsonl")
    for earlier, session in ((story.interrupted, sessions[1]), (story.killed, sessions[2])):
        continued = [trial for trial in earlier.history.unfinished if trial.checkpoint]
        assert continued
        for trial in continued:
            # An epoch may have been told of before its checkpoint was on disk, and is trained again: one at most.
            assert trial.number in session, story.finished.history.trials[trial.number].failure
            first = session[trial.number][0]["epoch"]
            assert first in (max(trial.epochs), max(trial.epochs) + 1)
            kept = [trial.epochs[epoch] for epoch in range(1, first)]
            assert [story.finished.history.trials[trial.number].epochs[epoch] for epoch in range(1, first)] == kept
            assert [metrics["epoch"] for metrics in session[trial.number]] == list(
                range(first, first + len(session[trial.number]))
            )


def test_interrupted_trial_ends_as_if_it_had_never_been(story: Story) -> None:
    """Run straight through in this process, it gives the same accuracies at every epoch."""
    trial = next(trial for trial in story.interrupted.history.unfinished if trial.checkpoint)
    finished = story.finished.history.trials[trial.number]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run = CompressionRun(TrialConfig.from_dict(trial.config))
        straight = [run.run_epoch() for _ in range(EPOCHS)]
    finally:
        torch.set_num_threads(threads)
    for name in ("train_loss", "val_accuracy", "bits_per_weight", "float_val_accuracy"):
        assert [finished.epochs[metrics["epoch"]][name] for metrics in straight] == [
            metrics[name] for metrics in straight
        ], name


def test_wall_seconds_leave_out_the_time_between_sessions(story: Story) -> None:
    history = story.finished.history
    told = story.finished.told["wall_seconds"]
    from_facts = sum(session.latest - session.started for session in history.sessions)
    assert told == pytest.approx(from_facts, abs=0.1)
    gaps = [later.started - earlier.latest for earlier, later in itertools.pairwise(history.sessions)]
    assert min(gaps) > 0.5  # Python alone takes longer to start


# --- trials that fail, and requests that only Ray can refuse ---


def test_trials_that_diverge_fail_with_a_reason_and_the_study_goes_on(tmp_path: Path) -> None:
    ended = qar(
        *("launch", "digits", "--trials", "4", "--storage", "elsewhere"),
        *("--set", "trial.recipe.learning_rate=1e30", "--set", "trial.recipe.optimizer=sgd"),
        cwd=tmp_path,
    )
    assert ended.status == 0, ended
    assert ended.stderr == ""
    table = rows(tmp_path / "elsewhere" / "digits")
    assert [row["state"] for row in table] == [FAIL] * 4
    assert all("not finite" in str(row["failure"]) for row in table)
    assert "4 trials: 4 FAIL" in ended.stdout
    assert "no front yet" in ended.stdout
    shown = qar("status", "elsewhere/digits", cwd=tmp_path)
    assert shown.stdout.count("not finite") == 4


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host.invalid:6379"])
def test_cluster_that_is_not_there_is_refused_and_nothing_is_written(address: str, tmp_path: Path) -> None:
    ended = qar("launch", "digits", "--address", address, cwd=tmp_path)
    assert (ended.status, ended.stdout) == (2, ""), ended
    (line,) = ended.stderr.splitlines()
    assert line.startswith(
        f"qar: --address must be that of a Ray cluster that runs and can be reached, got '{address}'"
    )
    assert line.endswith("ray start --head")
    assert files_below(tmp_path) == {}


def test_trial_that_fits_no_node_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    ended = qar("launch", "digits", "--trials", "1", "--set", "resources.cpus=4096", cwd=tmp_path)
    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1
    assert "resources.cpus" in ended.stderr
    assert "4096" in ended.stderr
    assert files_below(tmp_path) == {}


def test_float_baseline_that_diverges_ends_the_study_in_one_line(tmp_path: Path) -> None:
    hopeless = ("--set", "trial.init=pretrained", "--set", "trial.recipe.learning_rate=1e30")
    ended = qar("launch", "digits", "--trials", "4", *SHORT, *hopeless, cwd=tmp_path)
    assert ended.status == 2, ended
    (line,) = ended.stderr.splitlines()
    assert re.fullmatch(r"qar: the float baseline .* must converge, but the .* is not finite .*learning_rate.*", line)


def test_trial_that_raises_fails_with_its_reason_and_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A configuration that is valid on paper and breaks in training: there is no compiler for the network."""
    monkeypatch.setenv("CXX", str(tmp_path / "nowhere"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    ended = qar(
        *("launch", "digits", "--trials", "1", "--set", "early_stopping.scheduler=none"),
        *("--set", "trial.recipe.compile=true"),
        cwd=tmp_path,
    )
    assert ended.status == 0, ended
    (row,) = rows(tmp_path / "studies" / "digits")
    assert row["state"] == FAIL
    assert "No working C++ compiler" in str(row["failure"])
    assert_quiet(ended)


def test_trial_whose_actor_is_killed_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    run = LiveRun(("launch", "digits", "--trials", "3", *SHORT), tmp_path)
    study = tmp_path / "studies" / "digits"
    run.wait_until(study / "ledger.jsonl", lambda history: any(trial.checkpoints for trial in history.unfinished))
    for process in processes_of(run, "ray::ResourceTrainable"):
        os.kill(process, signal.SIGKILL)
    ended = run.finish()
    assert (ended.status, ended.stderr) == (0, ""), ended
    history = read_history(study / "ledger.jsonl")
    assert [trial.state for trial in history.trials.values()] == [COMPLETE] * 3
    assert sum(trial.losses for trial in history.trials.values()) >= 1
    (told,) = epochs_by_session(study / "ledger.jsonl")
    for epochs in told.values():
        assert all(late - early in (0, 1) for early, late in itertools.pairwise(row["epoch"] for row in epochs))


def processes_of(run: LiveRun, name: str) -> list[int]:
    """Ids of the processes of a run whose title begins with a name."""
    mark = f"{MARK}={run.mark}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        try:
            ours = folder.name.isdigit() and mark in (folder / "environ").read_bytes().split(b"\0")
            if ours and (folder / "cmdline").read_bytes().startswith(name.encode()):
                found.append(int(folder.name))
        except OSError:  # it is gone, or not ours
            continue
    return found


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
    run.wait_until(study / "ledger.jsonl", lambda history: history.count(COMPLETE) >= 1)
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
    assert re.fullmatch(r"qar: storage .* can't be written: No space left on device; make room .*qar resume .*", line)
    trials = read_history(study / "ledger.jsonl").trials
    finished = {number: trial for number, trial in trials.items() if trial.state == COMPLETE}
    assert finished

    fill.unlink()
    resumed = qar("resume", str(study), cwd=small_disk.parent)
    assert resumed.status == 0, resumed
    assert_quiet(resumed)
    history = read_history(study / "ledger.jsonl")
    assert {history.trials[number] == trial for number, trial in finished.items()} == {True}
    assert [trial.state for trial in history.trials.values()] == [COMPLETE] * 6
