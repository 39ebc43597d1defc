"""Training loops of one's own: the search proposes, the ledger keeps, rungs stop, a crash changes nothing."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import study
from study.commands.confirm import confirmation_of
from study.commands.reproduce import reproduce
from study.config.yaml_loading import dump_yaml
from study.run.launch import resume
from study.storage.folder import StudyFolder
from tests.support.example_studies import files_below, make_study, study_config
from trainables.result import TrialState

SPACE = {"recipe.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}}


def created(folder: Path, **changes: Any) -> study.Study:
    config = study_config(**{"trials": 14, "space": SPACE} | changes)
    return study.create(config, storage=folder)


def result_of(trial: study.AskedTrial, epoch: int) -> dict[str, Any]:
    """Metrics that follow from the configuration alone."""
    rng = random.Random(f"{trial.config.hash} {trial.config.seed}")
    quality = rng.random() * epoch / trial.epochs
    bits = 32.0 if trial.config.num_levels is None else np.log2(trial.config.num_levels) + rng.random()
    return {"epoch": epoch, "val_accuracy": quality, "bits_per_weight": bits}


def train(of_study: study.Study, most_epochs: float = float("inf")) -> None:
    """Train trials one after another, until the study ends or so many epochs were told."""
    told = 0
    while told < most_epochs and (trial := of_study.ask()) is not None:
        goes_on = True
        for epoch in range(1, trial.epochs + 1):
            if goes_on and told < most_epochs:
                goes_on = of_study.tell(trial, result_of(trial, epoch))
                told += 1


def outcomes(of_study: study.Study) -> list[tuple[Any, ...]]:
    trials = of_study.folder.read_history().trials.values()
    return [
        (trial.number, trial.config_hash, trial.config["seed"], trial.params, trial.state, trial.last["val_accuracy"])
        for trial in trials
    ]


def test_loop_trains_a_study_to_its_end(tmp_path: Path) -> None:
    own = created(tmp_path)
    train(own)
    assert own.ask() is None
    status = own.status()
    assert (status.state, len(own.trials())) == ("finished", 14)
    trials = own.trials()
    assert set(trials["state"]) == {TrialState.COMPLETE, TrialState.PRUNED}
    assert trials["recipe.learning_rate"].between(1e-4, 1e-1).all()
    pruned = trials[trials["state"] == TrialState.PRUNED]
    assert (pruned["epochs"] < 4).all()
    assert not pruned["anchor"].any()
    assert len(own.epochs()) == trials["epochs"].sum()
    assert set(own.epochs()["phase"]) == {"regularize", "finetune"}
    assert set(own.front()["number"]) <= set(trials.query("state == 'COMPLETE'")["number"])
    assert own.folder.trials.exists(), "the tables are written at the end"


def test_rows_are_in_order_at_the_end_of_a_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.records.tables.SETTLED_TOGETHER", 2)
    monkeypatch.setattr("study.notebook.own_loop.SECONDS_BETWEEN_TABLES", 0.0)
    own = created(tmp_path)
    begun = [trial for trial in (own.ask(), own.ask()) if trial is not None]
    for trial in reversed(begun):
        own.tell(trial, result_of(trial, 1))
        own.tell(trial, None, failure="late")
    assert pq.ParquetFile(own.folder.trials).num_row_groups > 1
    train(own)
    numbers = pq.read_table(own.folder.trials)["number"].to_pylist()
    assert numbers == list(range(14))


@pytest.mark.parametrize("epochs", [1, 5, 17, 30])
def test_crash_changes_no_proposal_and_no_decision(epochs: int, tmp_path: Path) -> None:
    """The copy of the files is what a killed process leaves: no session has ended there."""
    whole = created(tmp_path / "whole")
    train(whole)
    begun = created(tmp_path / "begun")
    train(begun, epochs)
    shutil.copytree(begun.folder.path, tmp_path / "killed" / "small")
    killed = study.Study.open(tmp_path / "killed" / "small")
    assert killed.status().state == "died"
    train(killed)
    assert outcomes(killed) == outcomes(whole)
    assert len(killed.folder.read_history().sessions) == 2


def test_trial_whose_end_was_lost_is_not_trained_again(tmp_path: Path) -> None:
    own = created(tmp_path)
    train(own, 4)
    ledger = own.folder.ledger
    own.stop()
    lines = ledger.read_bytes().splitlines(keepends=True)
    end = next(place for place, line in enumerate(lines) if b'"fact":"ended"' in line.replace(b" ", b""))
    lost = tmp_path / "lost" / "small"
    lost.mkdir(parents=True)
    shutil.copy(own.folder.study_yaml, lost)
    (lost / "ledger.jsonl").write_bytes(b"".join(lines[:end]))
    found = study.Study.open(lost)
    trial = found.ask()
    assert trial is not None
    assert trial.number == 1
    assert found.folder.read_history().trials[0].state == TrialState.COMPLETE
    found.stop()


def test_unfinished_trials_come_first_and_several_may_be_trained_at_once(tmp_path: Path) -> None:
    own = created(tmp_path)
    first, second = own.ask(), own.ask()
    assert first is not None
    assert second is not None
    assert (first.number, second.number) == (0, 1)
    assert own.tell(second, {"val_accuracy": 0.5, "bits_per_weight": 2.0})
    assert own.stop().state == "interrupted"
    again = [own.ask(), own.ask(), own.ask()]
    assert [(trial.number, trial.epoch) for trial in again if trial] == [(0, 0), (1, 1), (2, 0)]
    own.stop()


def test_failed_trial_is_recorded_with_its_reason(tmp_path: Path) -> None:
    own = created(tmp_path)
    trial = own.ask()
    assert trial is not None
    assert not own.tell(trial, failure="the loss\nis not finite")
    row = own.trials().iloc[0]
    assert (row["state"], row["failure"]) == (TrialState.FAIL, "the loss is not finite")
    own.stop()


REFUSED: dict[str, tuple[Callable[[study.Study, study.AskedTrial], object], str]] = {
    "neither": (lambda own, trial: own.tell(trial), "tell takes either metrics or a failure"),
    "unknown": (
        lambda own, trial: own.tell(trial, {"val_accuracy": 0.5, "bits_per_weight": 2.0, "f1": 1.0}),
        "f1 must be one of the metrics",
    ),
    "missing": (lambda own, trial: own.tell(trial, {"val_accuracy": 0.5}), "must hold .*bits_per_weight"),
    "range": (
        lambda own, trial: own.tell(trial, {"val_accuracy": 50.0, "bits_per_weight": 2.0}),
        r"val_accuracy must be a number between 0 and 1, got 50\.0",
    ),
    "epoch": (
        lambda own, trial: own.tell(trial, {"epoch": 3, "val_accuracy": 0.5, "bits_per_weight": 2.0}),
        "epoch of trial 0 must be 1, got 3",
    ),
}


@pytest.mark.parametrize(("tell", "message"), REFUSED.values(), ids=REFUSED)
def test_wrong_results_are_refused_and_not_recorded(
    tell: Callable[[study.Study, study.AskedTrial], object], message: str, tmp_path: Path
) -> None:
    own = created(tmp_path)
    trial = own.ask()
    assert trial is not None
    before = own.folder.ledger.read_bytes()
    with pytest.raises(ValueError, match=message):
        tell(own, trial)
    assert own.folder.ledger.read_bytes() == before
    assert own.tell(trial, {"val_accuracy": np.float32(0.5), "bits_per_weight": 2}), "the trial goes on"
    own.stop()


def test_only_a_trial_that_was_asked_for_can_be_told(tmp_path: Path) -> None:
    own = created(tmp_path)
    with pytest.raises(ValueError, match="tell must follow ask"):
        own.tell(None, {})  # type: ignore[arg-type]
    trial = own.ask()
    assert trial is not None
    own.tell(trial, failure="broken")
    with pytest.raises(ValueError, match="has not ended, got trial 0"):
        own.tell(trial, result_of(trial, 1))
    own.stop()


def test_one_process_alone_asks(tmp_path: Path) -> None:
    own = created(tmp_path)
    own.ask()
    with pytest.raises(ValueError, match="is being run by another process"):
        study.Study.open(own.address).ask()
    with pytest.raises(ValueError, match=r"is trained by the loop of process \d+; end it there"):
        study.Study.open(own.address).stop()
    own.stop()


def test_loops_of_two_kinds_do_not_mix(tmp_path: Path) -> None:
    own = created(tmp_path / "own")
    train(own, 3)
    own.stop()
    before = files_below(tmp_path)
    with pytest.raises(ValueError, match="sessions of a training loop of its user's own; go on with "):
        resume(own.address)
    with pytest.raises(ValueError, match="must be trained by one kind of loop"):
        confirmation_of(own.folder, 3, 0.0)
    with pytest.raises(ValueError, match="must be trained by one kind of loop"):
        reproduce(own.folder, "0")
    assert files_below(tmp_path) == before
    launched = make_study(tmp_path / "small", study_config(trials=7))
    with pytest.raises(ValueError, match=f"sessions of qar itself; go on with: qar resume {launched}"):
        study.Study.open(launched.path).ask()


def test_finished_study_of_a_loop_can_be_extended(tmp_path: Path) -> None:
    own = created(tmp_path, trials=9)
    train(own)
    assert own.resume(trials=2) is own
    train(own)
    assert len(own.trials()) == 11
    assert own.status().state == "finished"


def test_float_networks_are_not_trained_by_loops(tmp_path: Path) -> None:
    trial = {"regularize_epochs": 3, "finetune_epochs": 1, "init": "pretrained"}
    own = created(tmp_path, trial=trial)
    with pytest.raises(ValueError, match=r"trial\.init must be 'scratch' for a training loop of your own"):
        own.ask()
    assert not own.folder.is_driven()


def test_creation_refuses_what_a_launch_refuses(tmp_path: Path) -> None:
    values = study_config().model_dump()
    with pytest.raises(ValueError, match=r"config: unknown key 'nosuch'"):
        study.create(values | {"nosuch": 1}, storage=tmp_path)
    with pytest.raises(ValueError, match="unknown study 'nosuch'"):
        study.create("nosuch", storage=tmp_path)
    assert files_below(tmp_path) == {}
    path = tmp_path / "mine.yaml"
    path.write_text(dump_yaml(values))
    first = study.create(path, storage=tmp_path, name="first", trials=9, trial={"recipe": {"learning_rate": 0.05}})
    config = StudyFolder(tmp_path / "first").read_config()
    assert (config.trials, config.trial["recipe"]["learning_rate"]) == (9, 0.05)
    assert config.trial["regularize_epochs"] == 3, "keys beside the changed one are kept"
    with pytest.raises(ValueError, match="holds a study already"):
        study.create(path, storage=tmp_path, name="first")
    assert repr(first) == f"Study('{tmp_path / 'first'}')"
