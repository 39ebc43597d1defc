"""The follower: troubles stay apart, only changes are sent, and the last update comes after the driver's end."""

from pathlib import Path

import pytest

from study.config import StudyConfig
from study.ledger.facts import ENDED
from study.ledger.history import History, Trial
from study.ledger.ledger import Ledger
from study.trackers import TrackersBusyError, follow
from study.trackers.follow import Follower
from tests.support.example_studies import history_of, make_study, study_config
from trainables.result import TrialState


class Remembering:
    """Tracker that keeps what it is sent."""

    def __init__(self, fails: int = 0) -> None:
        self.trials: list[tuple[int, str]] = []
        self.ended: list[int] = []
        self.closed = 0
        self._fails = fails

    def update_trial(self, trial: Trial) -> None:
        if self._fails:
            self._fails -= 1
            raise ConnectionError("the server\nis away")
        self.trials.append((trial.number, trial.state))

    def update_study(self, config: StudyConfig, history: History) -> None:
        self.ended.append(history.num_ended)

    def close(self) -> None:
        self.closed += 1


def test_unchanged_trials_are_not_looked_at_again() -> None:
    tracker = Remembering()
    follower = Follower(study_config(), {"one": tracker})
    history = history_of((0.5, 2.0, TrialState.COMPLETE, 4), (0.5, 2.0, None, 4))
    follower.update(history)
    follower.update(history)
    assert tracker.trials == [(0, "COMPLETE"), (1, "RUNNING")]


def test_a_tracker_in_trouble_does_not_stop_the_others_and_is_tried_again() -> None:
    broken, sound = Remembering(fails=1), Remembering()
    follower = Follower(study_config(), {"broken": broken, "sound": sound})
    history = history_of((0.5, 2.0, TrialState.COMPLETE, 4), (0.5, 3.0, TrialState.COMPLETE, 8))
    follower.update(history)
    assert follower.trouble == {"broken": "the server is away"}
    assert (len(broken.trials), len(sound.trials)) == (0, 2)
    follower.update(history)
    assert follower.trouble == {}
    assert broken.trials == sound.trials


def test_what_is_recorded_at_the_end_is_still_sent(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "small", ended=False)
    ledger = Ledger(folder.ledger)
    tracker = Remembering()
    waits: list[bool] = []

    def driver_ends() -> bool:
        if not waits:
            ledger.record(ENDED, number=ledger.history.unfinished[0].number, state=TrialState.FAIL, failure="it broke")
        waits.append(True)
        return True

    before = ledger.history.num_ended
    left = follow(folder, {"one": tracker}, tmp_path / "trackers", say=pytest.fail, wait=driver_ends)
    ledger.close()
    assert left == {}
    assert tracker.ended == [before, before + 1]
    assert tracker.closed == 1


def test_of_two_followers_one_is_refused(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "small")
    root = tmp_path / "trackers"

    def meanwhile() -> bool:
        with pytest.raises(TrackersBusyError, match="must be written by one process"):
            follow(folder, {}, root, say=pytest.fail, wait=lambda: True)
        return True

    follow(folder, {}, root, say=pytest.fail, wait=meanwhile)
