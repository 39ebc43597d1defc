"""A study that runs to its end on a real Ray: its files, tables, values and messages, and commands that follow."""

import json
import re
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from analysis.load import load_epochs, load_trials
from analysis.statistics.pareto import front
from study.config import load_study
from study.ledger.history import CHECKPOINTS_KEPT
from study.ledger.reading import read_history
from study.storage.folder import StudyFolder
from tests.support.example_studies import files_below
from tests.support.live_studies import Ended, assert_quiet, qar
from trainables.config import TrialConfig
from trainables.families import QUANTIZE_FIRST, family_of
from trainables.files.checkpoint import read_weights
from trainables.result import END_STATES, EPOCH_COLUMNS, PRE_TUNING, TEST_ACCURACIES, TRIAL_COLUMNS, TrialState
from trainables.run import CompressionRun

pytestmark = pytest.mark.e2e

TERMINAL = set(END_STATES)


SPACE = load_study("digits").space
SEARCHED = set(SPACE.family)
PENALIZED = {name for name in SEARCHED if family_of(name).has_penalty}


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
        "baseline",
        "optuna.db",
        "derived.json",
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
    assert (trials["state"] != TrialState.FAIL).all(), list(trials["failure"])


def test_launch_runs_every_family_and_the_float_baseline(launched: Launched) -> None:
    trials = launched.trials
    assert set(trials["family"]) == SEARCHED
    baseline = trials.iloc[0]
    assert (baseline["family"], baseline["state"], baseline["anchor"]) == ("none", TrialState.COMPLETE, True)
    assert pd.isna(baseline["num_levels"])
    assert baseline["val_accuracy"] == baseline["float_val_accuracy"] > 0.8
    anchors = trials[trials["anchor"]]
    # Each family at two and at four levels; then the first trials whose levels the sampler chooses.
    count = len(SEARCHED)
    at_two, at_four = anchors[1 : count + 1], anchors[count + 1 : 2 * count + 1]
    assert list(at_two["num_levels"]) == [2] * count
    assert list(at_four["num_levels"]) == [4] * count
    assert set(at_two["family"]) == set(at_four["family"]) == SEARCHED
    assert set(anchors["state"]) == {TrialState.COMPLETE}


def test_full_budget_and_complete_are_the_same(launched: Launched) -> None:
    trials = launched.trials
    assert ((trials["state"] == TrialState.COMPLETE) == (trials["epochs"] == 3)).all()
    pruned = trials[trials["state"] == TrialState.PRUNED]
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
    early = epochs[epochs["epoch"] < 3].set_index("trial_id")
    is_quantized_first = (trials["family"] == QUANTIZE_FIRST)[early.index]
    assert set(early.loc[~is_quantized_first, "phase"]) == {"regularize"}
    assert set(early.loc[is_quantized_first, "phase"]) == {"finetune"}
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
    penalized = trials["family"].isin(PENALIZED)
    for family in PENALIZED:
        values = SPACE.lam_by_family.get(family, SPACE.lam)
        assert trials.loc[trials["family"] == family, "lam"].between(values.low, values.high).all(), family
    assert trials.loc[~penalized, "lam"].isna().all()
    always = {column.name for column in TRIAL_COLUMNS} - {
        *("num_levels", "lam", "placement", "failure", "groups", "stopped_by"),
        *PRE_TUNING,
        *TEST_ACCURACIES,
        "val_accuracy_recalibrated",
    }
    assert trials[sorted(always)].notna().all().all()
    assert trials[["groups", "stopped_by"]].isna().all().all()
    sometimes = ("penalty", "quantization_error", "val_accuracy_recalibrated")
    assert (
        launched.epochs[[column.name for column in EPOCH_COLUMNS if column.name not in sometimes]].notna().all().all()
    )


def test_trial_of_a_launch_is_what_the_method_alone_computes(launched: Launched) -> None:
    """Ray adds nothing to the numbers: the same configuration run in this process gives the same accuracy and bits."""
    trials = launched.trials
    number = int(trials[(trials["family"] == "RE")]["number"].iloc[0])
    told = trials.iloc[number]
    config = TrialConfig.from_dict(read_history(launched.study / "ledger.jsonl").trials[number].config)
    weights = read_weights(StudyFolder(launched.study).fetched_baseline(config.seed))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run = CompressionRun(config, initial_weights=weights)
        results = [run.run_epoch() for _ in range(told["epochs"])]
    finally:
        torch.set_num_threads(threads)
    assert results[-1]["val_accuracy"] == told["val_accuracy"]
    assert results[-1]["bits_per_weight"] == told["bits_per_weight"]


def test_launch_says_how_far_it_is_and_what_it_found(launched: Launched) -> None:
    lines = launched.ended.stdout.splitlines()
    trials = launched.trials
    counted = [(int((trials["state"] == state).sum()), state) for state in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert "14 trials: " + ", ".join(f"{count} {state}" for count, state in counted if count) in lines
    assert any(re.match(r"\d+ of 14 trials", line) for line in lines)
    for trial_id in front(trials).drop_duplicates(["bits_per_weight", "val_accuracy"])["trial_id"]:
        assert any(trial_id in line.split() for line in lines)
    assert any("plot: studies/digits/report/figures/front.pdf" in line for line in lines)
    assert lines[-1] == "next: qar confirm studies/digits --seeds 5; qar report studies/digits"


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
    assert told["COMPLETE"] == (launched.trials["state"] == TrialState.COMPLETE).sum()
    assert {point["trial_id"] for point in told["front"]} == set(front(launched.trials)["trial_id"])
    assert 0 < told["wall_seconds"] < 600
