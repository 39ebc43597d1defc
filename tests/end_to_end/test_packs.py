"""A study on a real Ray whose actors train several trials together, one of which is killed."""

import itertools
import os
import signal
from pathlib import Path

import pytest

from study.commands.reproduce import reproduce
from study.ledger.reading import read_history
from study.storage.folder import StudyFolder
from tests.support.live_studies import LiveRun, assert_quiet, epochs_by_session, processes_of, qar
from trainables.result import TrialState

pytestmark = pytest.mark.e2e

TRIALS = 4

STUDY = (
    *("--set", "resources.trials_per_actor=4", "--set", "resources.max_concurrent=2"),
    *("--set", "trial.init=scratch", "--set", "trial.width=0.5", "--set", "trial.subset=320"),
    *("--set", "trial.regularize_epochs=2", "--set", "trial.finetune_epochs=2"),
    *("--set", "space.family=[none,RM]", "--set", "space.lam_by_family={}"),
    *("--set", "anchors.family=[none,RM]", "--set", "anchors.num_levels=[4]"),
    *("--set", "early_stopping.grace_period=2", "--set", "early_stopping.first_of_family=compared"),
)


def test_trials_of_a_killed_pack_go_on_from_their_checkpoints_with_the_same_results(tmp_path: Path) -> None:
    """Each trial has its own number, facts and end; the places of those that end first are filled by the others."""
    run = LiveRun(("launch", "digits", "--trials", str(TRIALS), *STUDY), tmp_path)
    study = tmp_path / "studies" / "digits"
    ledger = study / "ledger.jsonl"
    run.wait_until(ledger, lambda history: sum(bool(trial.checkpoints) for trial in history.unfinished) >= 2)
    (pack,) = processes_of(run, "ray::PackActor")
    os.kill(pack, signal.SIGKILL)
    ended = run.finish()
    assert ended.status == 0, ended
    assert_quiet(ended)
    history = read_history(ledger)
    assert sorted(history.trials) == list(range(TRIALS))
    assert {trial.state for trial in history.trials.values()} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert sum(trial.losses > 0 for trial in history.trials.values()) >= 2, "all trials of the pack were lost"
    (session,) = epochs_by_session(ledger)
    for epochs in session.values():
        assert all(late - early in (0, 1) for early, late in itertools.pairwise(row["epoch"] for row in epochs))
    for number in history.trials:
        assert reproduce(StudyFolder.at(str(study)), str(number)).differing == []


def test_network_that_cannot_be_packed_is_refused_in_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    ended = qar(
        "launch", "digits", "--set", "resources.trials_per_actor=2", "--set", "trial.model=alexnet", cwd=tmp_path
    )
    assert (ended.status, ended.stdout) == (2, ""), ended
    (line,) = ended.stderr.splitlines()
    assert line.startswith("qar: resources.trials_per_actor must be 1 for trial.model 'alexnet'")
    assert not (tmp_path / "studies").exists()
