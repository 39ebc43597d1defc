"""A study whose space changes and that gets trials by hand, without Ray: all that shows it says the same."""

from pathlib import Path

import pytest

from analysis.load import load_trials
from study.commands.requests import enqueue
from study.commands.track import track
from study.records.optuna_mirror import OptunaMirror
from study.records.tables import write_tables
from study.run.desk import Desk
from study.storage.folder import StudyFolder
from study.storage.requests import Request, send
from tests.study.search.test_searcher import Driver
from tests.study.search.test_versions import change, new_study, run
from tests.support.agreement import assert_optuna_agrees, assert_tensorboard_agrees, assert_wandb_agrees
from trainables.result import TrialState


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))


def show(study: StudyFolder) -> None:
    """Brings tables, Optuna's study and the trackers up to date, as a session does at its end."""
    config, history = study.read_config(), study.read_history()
    write_tables(study, history, config.searched_fields)
    mirror = OptunaMirror(study, config)
    mirror.sync(history)
    assert mirror.trouble is None
    track(study, ["tensorboard", "wandb"], False, lambda line: None)


def test_tables_optuna_and_trackers_agree_on_a_study_that_was_changed(tmp_path: Path) -> None:
    study = new_study(tmp_path / "small")
    run(study, 5)
    show(study)
    change(study, "space.lam.high=10", "space.family=[none, RS, RE]")
    for number in (3, 5, 40):
        enqueue(study, ["family=RE", f"num_levels={number}", "lam=0.5"])
    driver = Driver(study.path, study.read_config())
    desk = Desk(study, study.read_config(), driver.ledger, pytest.fail)
    desk.look()
    numbers = [driver.ask()["number"] for _ in range(5)]
    for number in numbers[:-1]:
        driver.end(number)
    driver.train(numbers[-1], 2)
    send(study, Request(kind="stop", number=numbers[-1]))
    desk.look()
    driver.die()
    show(study)
    change(study, "space.family=[RE, RM]")  # the trial that was stopped ends
    run(study, 4)
    show(study)
    assert_optuna_agrees(study)
    assert_tensorboard_agrees(study)
    assert_wandb_agrees(study)
    table = load_trials(study.path).set_index("number")
    assert table["space_version"].value_counts().to_dict() == {1: 5, 2: 5, 3: 4}
    assert list(table.index[table["enqueued"]]) == [5, 6, 7]
    assert list(table.index[table["stopped_by"].notna()]) == numbers[-1:]
    assert table.loc[numbers[-1], "state"] == TrialState.PRUNED
