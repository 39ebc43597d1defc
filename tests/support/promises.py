"""Promises that hold for a study, whatever has happened to drivers, actors and storage."""

import json
from typing import Any

import optuna

from analysis.load import load_epochs, load_trials
from study.ledger.facts import CHECKPOINT, EPOCH, LOST, SESSION_STARTED
from study.ledger.reading import read_history
from study.storage.folder import StudyFolder
from trainables.result import END_STATES, TrialState


def facts_of(folder: StudyFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in folder.ledger.read_text().splitlines()]


def assert_only_epochs_after_a_checkpoint_are_repeated(folder: StudyFolder) -> None:
    """Check that a trial which goes on repeats no epoch up to its last checkpoint, and none after it has ended.

    With a checkpoint after every epoch, it repeats one epoch at most, whose checkpoint was being written.
    """
    every_epoch = folder.parse_config().resources.checkpoints == "every_epoch"
    saved: dict[int, int] = {}
    told: dict[int, int] = {}
    ended: set[int] = set()
    fresh: set[int] = set()  # trials that have told an epoch since their driver or actor was last lost
    for fact in facts_of(folder):
        number = fact.get("number", -1)
        if fact["fact"] == SESSION_STARTED:
            fresh.clear()
        elif fact["fact"] == LOST:
            fresh.discard(number)
        elif fact["fact"] == EPOCH:
            epoch, last = fact["metrics"]["epoch"], told.get(number, 0)
            assert number not in ended, f"trial {number} had ended"
            first = last if every_epoch else saved.get(number, 0) + 1
            assert epoch == last + 1 or (number not in fresh and first <= epoch <= last), (number, last, epoch)
            told[number] = epoch
            fresh.add(number)
        elif fact["fact"] == CHECKPOINT:
            saved[number] = fact["epoch"]
        elif fact["fact"] == "ended":
            assert number not in ended, f"trial {number} ended twice"
            ended.add(number)


def assert_three_ledgers_agree(folder: StudyFolder) -> None:
    """The tables, Optuna's study and Ray's state tell of the same trials the same, all of which have ended."""
    config = folder.read_config()
    table = load_trials(folder.path).set_index("number")
    assert list(table.index) == list(range(config.trials))
    assert set(table["state"]) <= {*END_STATES}
    assert not table.duplicated(["config_hash", "seed"]).any()
    assert not load_epochs(folder.path).duplicated(["number", "epoch"]).any()

    storage = config.optuna_storage or f"sqlite:///{folder.optuna_db}"
    optuna_study = optuna.load_study(study_name=config.name, storage=storage)
    own = [trial for trial in optuna_study.trials if trial.user_attrs.get("repeated_of") is None]
    assert [trial.user_attrs["number"] for trial in own] == list(table.index)
    for number, trial in enumerate(own):
        assert trial.state.name == table.loc[number, "state"]
        if trial.state.name == TrialState.COMPLETE:
            assert trial.values == [table.loc[number, "val_accuracy"], table.loc[number, "bits_per_weight"]]

    # The last session's; the others are swept, and it too where it was killed after the last trial's end.
    state_files = list(folder.ray.glob("session-*/experiment_state-*.json"))
    assert len(state_files) == (read_history(folder.ledger).sessions[-1].outcome is not None)
    of_ray = [json.loads(text) for file in state_files for text, _ in json.loads(file.read_text())["trial_data"]]
    assert of_ray or not state_files, "the last session has ended at least one trial"
    for trial in of_ray:
        row = table.loc[trial["config"]["number"]]
        assert (trial["config"]["trial_id"], trial["status"]) == (row["trial_id"], "TERMINATED")
