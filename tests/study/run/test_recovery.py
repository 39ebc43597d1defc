"""Recovery after a killed driver: trials whose end is not recorded, and old files."""

import time
from pathlib import Path
from typing import Any

import pytest

from study.config import StudyConfig
from study.ledger.facts import ASKED, CHECKPOINT, ENDED, EPOCH
from study.ledger.ledger import Ledger
from study.ledger.reading import read_history
from study.run.recovery import end_finished_trials, prune_checkpoints
from study.storage.folder import StudyFolder
from tests.support.example_studies import asked, make_study, metrics, start_session, study_config, train
from tests.support.example_trials import quick
from trainables.result import TrialState
from trainables.trainable import train_baseline


def config_of(scheduler: str = "asha") -> StudyConfig:
    return study_config(trials=8, early_stopping={"scheduler": scheduler, "grace_period": 1, "reduction_factor": 2})


def ask(ledger: Ledger, number: int, **changes: Any) -> None:
    searched = {"family": "RS", "num_levels": 2 + number, "lam": 1e-3, "placement": "own"}
    ledger.record(ASKED, **asked(number, study_config().trial_config(searched), **changes))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    start_session(ledger)
    return ledger


def test_settle_ends_a_trial_that_was_killed_after_the_checkpoint_of_its_last_epoch(ledger: Ledger) -> None:
    ask(ledger, 0)
    train(ledger, 0, 4)
    end_finished_trials(ledger, config_of())
    assert ledger.history.trials[0].state == TrialState.COMPLETE
    assert ledger.history.unfinished == []


def test_settle_leaves_a_trial_without_the_checkpoint_of_its_last_epoch_to_be_continued(ledger: Ledger) -> None:
    ask(ledger, 0)
    train(ledger, 0, 3)
    ledger.record(EPOCH, number=0, metrics=metrics(4, phase="finetune"))
    end_finished_trials(ledger, config_of())
    assert ledger.history.trials[0].state == TrialState.RUNNING


def test_settle_fails_a_trial_whose_last_result_is_not_finite(ledger: Ledger) -> None:
    ask(ledger, 0)
    train(ledger, 0, 4, accuracy=float("nan"))
    end_finished_trials(ledger, config_of())
    trial = ledger.history.trials[0]
    assert (trial.state, trial.failure) == (TrialState.FAIL, "val_accuracy is not finite: nan")


@pytest.mark.parametrize("scheduler", ["asha", "pareto-asha"])
def test_settle_prunes_a_trial_that_a_rung_has_stopped(scheduler: str, ledger: Ledger) -> None:
    for number in range(4):
        ask(ledger, number)
        train(ledger, number, 1, accuracy=0.9 - 0.2 * number, bits=2.0 + number)  # each is worse in both
    end_finished_trials(ledger, config_of(scheduler))
    states = [ledger.history.trials[number].state for number in range(4)]
    assert states[0] == TrialState.RUNNING
    assert states[3] == TrialState.PRUNED
    assert ledger.history.trials[3].failure is None


def test_settle_stops_no_anchor_and_nothing_without_early_stopping(ledger: Ledger) -> None:
    for number in range(4):
        ask(ledger, number, anchor=number == 3)
        train(ledger, number, 1, accuracy=0.9 - 0.2 * number, bits=2.0 + number)
    end_finished_trials(ledger, config_of("none"))
    assert len(ledger.history.unfinished) == 4
    end_finished_trials(ledger, config_of())
    assert ledger.history.trials[3].state == TrialState.RUNNING


def test_settle_adds_nothing_to_the_wall_clock(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study that was killed on Friday and is resumed on Monday has not run over the weekend."""
    ask(ledger, 0)
    train(ledger, 0, 4)
    before = ledger.history.seconds
    now = time.time()
    monkeypatch.setattr("study.ledger.ledger.time.time", lambda: now + 3 * 24 * 3600)
    end_finished_trials(ledger, config_of())
    assert ledger.history.trials[0].state == TrialState.COMPLETE
    assert ledger.history.seconds == before


def test_settle_twice_is_settle_once(ledger: Ledger) -> None:
    for number in range(4):
        ask(ledger, number)
        train(ledger, number, 4 if number == 2 else 1, accuracy=0.9 - 0.2 * number, bits=2.0 + number)
    end_finished_trials(ledger, config_of())
    facts = ledger.path.read_bytes()
    end_finished_trials(ledger, config_of())
    assert ledger.path.read_bytes() == facts


def test_sweep_keeps_the_last_checkpoints_of_every_trial_and_nothing_else_of_ray(tmp_path: Path) -> None:
    study: StudyFolder = make_study(tmp_path / "small", ended=False)
    trial = study.ray / "session-001" / "small-00004-0"
    ledger = Ledger(study.ledger)
    for index in range(3):
        (trial / f"checkpoint_{index:06}").mkdir(parents=True)
        (trial / f"checkpoint_{index:06}" / "trial.pt").write_bytes(b"state")
        path = str((trial / f"checkpoint_{index:06}").relative_to(study.path))
        ledger.record(EPOCH, number=4, metrics=metrics(index + 1))
        ledger.record(CHECKPOINT, number=4, epoch=index + 1, path=path)
    ledger.close()
    (study.ray / "session-001" / "experiment_state-1.json").write_text("{}")
    prune_checkpoints(study, read_history(study.ledger))
    assert sorted(path.name for path in trial.iterdir()) == ["checkpoint_000001", "checkpoint_000002"]
    assert [path.name for path in trial.parent.iterdir()] == [trial.name]


def test_sweep_of_a_study_behind_a_symbolic_link_keeps_its_checkpoints(tmp_path: Path) -> None:
    """On many clusters `scratch` in the home folder is such a link; Ray gets, and names, the path without links."""
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "scratch").symlink_to(tmp_path / "far" / "away")
    study = make_study(tmp_path / "scratch" / "small", ended=False)
    kept = Path(study.storage.ray_options()["storage_path"], "session-001", "small-00004-0", "checkpoint_000001")
    kept.mkdir(parents=True)
    ledger = Ledger(study.ledger)
    train(ledger, 4, 2)
    ledger.record(CHECKPOINT, number=4, epoch=2, path=study.storage.name_of(str(kept)))
    ledger.close()
    history = read_history(study.ledger)
    prune_checkpoints(study, history)
    assert kept.is_dir()
    assert [Path(path) for path in study.checkpoints_of(history.trials[4])] == [kept]


def test_sweep_of_a_study_that_never_ran_does_nothing(tmp_path: Path) -> None:
    study = StudyFolder(tmp_path / "small")
    study.create(study_config())
    prune_checkpoints(study, read_history(study.ledger))
    assert [path.name for path in study.path.iterdir()] == ["study.yaml"]


def test_settled_trials_are_ended_by_facts(ledger: Ledger) -> None:
    ask(ledger, 0)
    train(ledger, 0, 4)
    end_finished_trials(ledger, config_of())
    ledger.close()
    assert f'"{ENDED}"' in ledger.path.read_text().splitlines()[-1]
    assert read_history(ledger.path).trials[0].state == TrialState.COMPLETE


@pytest.mark.usefixtures("quick_names")
def test_damaged_baseline_is_trained_anew(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    baseline = quick("none", num_levels=None).to_dict()
    recorded = None
    for _ in range(2):
        assert not folder.has_baseline(0, recorded)
        *_, last = train_baseline(baseline, 1, folder.baseline_address(0))
        recorded = last["sha256"]
        assert folder.has_baseline(0, recorded)
        assert not folder.has_baseline(0, 64 * "0"), "another network, whole as it is"
        network = folder.baseline(0) / "trial.pt"
        network.write_bytes(network.read_bytes()[:-100])
