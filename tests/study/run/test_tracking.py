"""The process beside a driver: a real one, on a study that this test drives."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from study.commands.track import track
from study.config import StudyConfig
from study.ledger.facts import ASKED, ENDED
from study.ledger.ledger import Ledger
from study.run.tracking import trackers_beside
from study.storage.folder import StudyFolder
from study.trackers import check_trackers
from tests.support.example_studies import asked, make_study, start_session, study_config, train
from trainables.result import TrialState


def config_with(**changes: object) -> StudyConfig:
    return study_config(trials=5, **changes)


def steps_of(folder: StudyFolder, trial_id: str) -> list[int]:
    read = EventAccumulator(str(folder.path / "trackers" / "tensorboard" / trial_id))
    read.Reload()
    return [event.step for event in read.Scalars("val_accuracy")]


def test_what_a_driver_records_is_shown_when_it_ends(tmp_path: Path) -> None:
    config = config_with(loggers=["tensorboard"])
    folder = StudyFolder(tmp_path / "small")
    folder.create(config)
    ledger = Ledger(folder.ledger)
    lines: list[str] = []
    with trackers_beside(folder, config, lines.append):
        start_session(ledger)
        ledger.record(ASKED, **asked(0, config.trial_config({"family": "none", "num_levels": 2})))
        train(ledger, 0, 4)
        ledger.record(ENDED, number=0, state=TrialState.COMPLETE, failure=None)
    ledger.close()
    assert lines == []
    assert steps_of(folder, "small-00000") == [1, 2, 3, 4]


def test_a_tracker_that_cannot_be_reached_is_a_warning(tmp_path: Path) -> None:
    config = config_with(notify="http://127.0.0.1:9/nobody")
    folder = make_study(tmp_path / "small", config)
    lines: list[str] = []
    with trackers_beside(folder, config, lines.append):
        pass
    (line,) = lines
    assert "notify can't be brought up to date" in line
    assert line.endswith(f"send the rest with: qar track {folder}")


def test_a_study_without_trackers_starts_no_process(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "small")
    with trackers_beside(folder, folder.read_config(), pytest.fail):
        assert not (folder.path / "trackers").exists()


def test_a_process_that_is_killed_leaves_no_epoch_out_and_none_twice(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "small", config_with(loggers=["tensorboard"]))
    command = [sys.executable, "-m", "study.trackers", str(folder.path), folder.address]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    events = folder.path / "trackers" / "tensorboard"
    while not events.exists():
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    lines: list[str] = []
    assert track(folder, None, False, lines.append) == {}
    assert lines[-1] == "tensorboard up to date: 5 trials"
    for number, epochs in ((0, 4), (1, 4), (2, 4), (3, 1)):
        assert steps_of(folder, f"small-{number:05d}") == list(range(1, epochs + 1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loggers": ["mlflow"]}, "MLFLOW_TRACKING_URI must be set to a server's address for the logger mlflow"),
        ({"loggers": ["wandb"]}, r"loggers must be installed, got 'wandb', which is not; pip install 'qar\[wandb\]'"),
    ],
)
def test_trackers_that_cannot_be_used_are_refused(
    changes: dict[str, object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=message):
        check_trackers(config_with(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loggers": ["tensorbord"]}, "loggers.0 must be 'tensorboard', 'mlflow' or 'wandb', got 'tensorbord'"),
        *(
            ({"notify": url}, "notify must have the form https://HOST/PATH or http://HOST/PATH, got '")
            for url in (
                *("ftp://here", "file:///etc/passwd", "http://", "http:///path", "http://[::1", "http://here:99999/"),
                *("http://here/a b", "http://here/\r\nX: y", "here/path", "javascript:alert(1)"),
            )
        ),
        ({"notify": "https://user:pass@here/"}, "notify must hold no credentials"),
    ],
)
def test_wrong_trackers_are_refused_in_the_configuration(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config_with(**changes)


@pytest.mark.parametrize(
    ("loggers", "message"),
    [(["comet"], "--logger must be one of .*, got 'comet'"), (None, "must name trackers under loggers, got none")],
)
def test_track_refuses_wrong_loggers(loggers: list[str] | None, message: str, tmp_path: Path) -> None:
    folder = make_study(tmp_path / "small")
    with pytest.raises(ValueError, match=message):
        track(folder, loggers, False, pytest.fail)


def test_another_persons_hook_is_not_posted_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = make_study(tmp_path / "small", config_with(notify="http://127.0.0.1:9/hook"))
    with pytest.raises(ValueError, match="notify must be an address that you have launched a study with"):
        track(folder, None, False, pytest.fail)
