"""A study that lives: widened twice, given trials by hand, ended in every way, resumed each time, and followed.

Afterwards its tables, Optuna's study and the trackers say the same of every trial.
"""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from analysis.load import load_trials
from study.ledger.history import History
from study.storage.folder import StudyFolder
from tests.support.agreement import (
    assert_mlflow_agrees,
    assert_optuna_agrees,
    assert_tensorboard_agrees,
    assert_wandb_agrees,
)
from tests.support.live_studies import LiveRun, qar
from tests.support.mlflow_server import SERVER
from tests.support.promises import assert_only_epochs_after_a_checkpoint_are_repeated

pytestmark = [pytest.mark.e2e, pytest.mark.chaos, pytest.mark.timeout(3600)]

TRIALS = 64
SPACE = {"family": ["none", "RS"], "num_levels": {"low": 2, "high": 4}, "lam": {"low": 1.0, "high": 8.0}}
SETTINGS = (
    *("--set", "trial.subset=160", "--set", "trial.width=0.25"),
    *("--set", "trial.regularize_epochs=3", "--set", "trial.finetune_epochs=1"),
    *("--set", "early_stopping.grace_period=1", "--set", "early_stopping.reduction_factor=2"),
    *("--set", f"space={json.dumps(SPACE)}", "--set", "anchors={num_levels: [2, 4], family: [none]}"),
    *("--set", "loggers=[tensorboard, wandb]", "--trials", str(TRIALS)),
)
WIDER = ("--set", "space.lam.high=32", "--set", "space.family=[none, RS, RM]")
WIDEST = ("--set", "space.num_levels.high=16", "--set", "space.family=[none, RS, RM, RC]")
ENQUEUED = (
    ("--set", "family=RM", "--set", "num_levels=4", "--set", "lam=0.3"),  # λ below the space
    ("--set", "family=RS", "--set", "num_levels=3", "--set", "lam=2"),
    ("--set", "family=RC", "--set", "num_levels=5", "--set", "lam=4"),  # a family that is not searched yet
)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))


@contextmanager
def running(cwd: Path, *command: str) -> Iterator[LiveRun]:
    run = LiveRun(command, cwd)
    try:
        yield run
    finally:
        run.end_what_is_left()


def ended(count: int) -> Callable[[History], bool]:
    return lambda history: history.num_ended >= count


def test_tables_optuna_and_trackers_agree_on_a_study_that_was_changed_and_ended_in_every_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = StudyFolder(tmp_path / "studies" / "digits")
    with running(tmp_path, "launch", "digits", *SETTINGS) as run:
        run.wait_until(study.ledger, ended(8))
        run.process.send_signal(signal.SIGTERM)
        assert run.finish().status == 143

    resume = ("resume", "studies/digits")
    with running(tmp_path, *resume, *WIDER) as run:
        run.wait_until(study.ledger, ended(12))
        for settings in ENQUEUED:
            assert qar("enqueue", "studies/digits", *settings, cwd=tmp_path).status == 0
        history = run.wait_until(
            study.ledger, lambda history: sum(trial.request is not None for trial in history.trials.values()) == 3
        )
        victim = str(max(history.trials))
        stopped_trial = qar("stop", "studies/digits", "--trial", victim, cwd=tmp_path)
        run.wait_until(study.ledger, ended(20))
        stopped = qar("stop", "studies/digits", cwd=tmp_path)
        assert stopped.status == 0, stopped
        assert run.finish().status == 130
    again = qar("stop", "studies/digits", cwd=tmp_path)
    assert (again.status, again.stderr.count("\n")) == (2, 1)

    before = study.read_history()  # the study went on while the commands to stop it were typed
    with running(tmp_path, *resume, *WIDEST) as run:
        run.wait_until(study.ledger, ended(before.num_ended + 5))
        run.kill_driver()
        assert run.finish().status == -9

    more_than_ended = study.read_history().num_ended + 2  # else the rule may be met before a session begins
    plateau = ("--set", f"stop={{plateau: {{trials: {more_than_ended}, hypervolume: 0.05}}}}")
    last = qar(*resume, *plateau, cwd=tmp_path)
    assert last.status == 0, last
    history = study.read_history()
    assert history.stopped is not None, "its plateau ends it"
    assert len(history.sessions) == 4
    assert (stopped_trial.status == 0) == (history.trials[int(victim)].stopped_by is not None)

    assert_only_epochs_after_a_checkpoint_are_repeated(study)
    assert_changes_are_in_the_tables(study, history)
    assert_optuna_agrees(study)
    assert_tensorboard_agrees(study)
    assert_wandb_agrees(study)
    if SERVER.exists():
        assert_mlflow_agrees(study, tmp_path)
    with capsys.disabled():
        states = load_trials(study.path)["state"].value_counts().to_dict()
        print(f"\n{len(history.trials)} of {TRIALS} trials {states}; ended by: {history.stopped.reason}")


def assert_changes_are_in_the_tables(study: StudyFolder, history: History) -> None:
    table = load_trials(study.path).set_index("number")
    assert list(table.index) == list(history.trials)
    versions = table["space_version"]
    assert versions.is_monotonic_increasing
    assert set(versions) == {1, 2, 3}
    assert table["enqueued"].sum() == 3
    drawn = table[~table["enqueued"] & ~table["anchor"]]
    config = study.read_config()
    for number, part in enumerate(config.versions, start=1):
        assert set(drawn[drawn["space_version"] == number]["family"]) <= set(part.space.family)
    for family, version in (("RM", 2), ("RC", 3)):
        first = table[(table["family"] == family) & ~table["enqueued"]].iloc[0]
        assert (first["anchor"], first["space_version"]) == (True, version), family
