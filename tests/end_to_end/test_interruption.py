"""A study on a real Ray that is interrupted by Ctrl-C, resumed, killed, and resumed again."""

import itertools
import json
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from analysis.load import load_epochs
from study.ledger.history import History
from study.ledger.reading import read_history
from tests.support.live_studies import Ended, LiveRun, assert_quiet, epochs_by_session, qar, rows
from trainables.config import TrialConfig
from trainables.result import TrialState
from trainables.run import CompressionRun

pytestmark = pytest.mark.e2e

TINY: dict[str, Any] = {
    "name": "tiny",
    "trials": 7,
    "seed": 3,
    "trial": {"regularize_epochs": 8, "finetune_epochs": 6},
    "space": {"family": ["none", "RS", "RE"]},
    "anchors": {"num_levels": [2, 4]},
    "early_stopping": {"scheduler": "none"},
    "resources": {"checkpoints": "every_epoch"},
}
EPOCHS = 14


@dataclass(frozen=True)
class Moment:
    """A study as it lay on disk after one of its runs."""

    ended: Ended
    history: History
    trials: list[dict[Hashable, Any]]
    status: Ended

    @property
    def told(self) -> dict[str, Any]:
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
    """Return whether so many trials have ended while another is between its first and its last epoch."""
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
    assert {row["state"] for row in table} == {TrialState.COMPLETE, TrialState.RUNNING}
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
    assert {row["state"] for row in table} == {TrialState.COMPLETE}, [row["failure"] for row in table]
    assert len({(row["config_hash"], row["seed"]) for row in table}) == len(table)
    epochs = load_epochs(story.study)
    assert not epochs.duplicated(["trial_id", "epoch"]).any()
    assert (epochs.groupby("number")["epoch"].count() == EPOCHS).all()


def test_finished_trials_are_not_trained_again(story: Story) -> None:
    sessions = epochs_by_session(story.study / "ledger.jsonl")
    for earlier, later_sessions in ((story.interrupted, sessions[1:]), (story.killed, sessions[2:])):
        done = {number for number, trial in earlier.history.trials.items() if trial.state == TrialState.COMPLETE}
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
