"""A study that lives: widened twice, given trials by hand, ended in every way, resumed each time, and followed.

Afterwards its tables, Optuna's study and the trackers say the same of every trial.
"""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from analysis.load import load_epochs, load_trials
from study.ledger.history import History
from study.storage.folder import StudyFolder
from tests.support.live_studies import LiveRun, qar
from tests.support.mlflow_server import SERVER, mlflow_server
from tests.support.promises import assert_no_epoch_but_one_is_repeated
from tests.support.wandb_files import rows_of
from trainables.result import TrialState

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
PLATEAU = ("--set", "stop={plateau: {trials: 12, hypervolume: 0.05}}")
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

    with running(tmp_path, *resume, *WIDEST) as run:
        run.wait_until(study.ledger, ended(32))
        run.kill_driver()
        assert run.finish().status == -9

    last = qar(*resume, *PLATEAU, cwd=tmp_path)
    assert last.status == 0, last
    history = study.read_history()
    assert history.stopped is not None, "its plateau ends it"
    assert len(history.sessions) == 4
    assert (stopped_trial.status == 0) == (history.trials[int(victim)].stopped_by is not None)

    assert_no_epoch_but_one_is_repeated(study)
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


def assert_optuna_agrees(study: StudyFolder) -> None:
    config, table = study.read_config(), load_trials(study.path).set_index("number")
    shown = optuna.load_study(study_name=config.name, storage=f"sqlite:///{study.optuna_db}")
    own = [trial for trial in shown.trials if trial.user_attrs.get("repeated_of") is None]
    assert [trial.user_attrs["number"] for trial in own] == list(table.index)
    for number, trial in enumerate(own):
        assert trial.state.name == table.loc[number, "state"]
        if trial.state.name == TrialState.COMPLETE:
            assert trial.values == [table.loc[number, "val_accuracy"], table.loc[number, "bits_per_weight"]]


def accuracies(study: StudyFolder) -> dict[str, dict[int, float]]:
    """Return val_accuracy by epoch of each trial, by its name."""
    return {
        str(name): dict(zip(rows["epoch"].tolist(), rows["val_accuracy"].tolist(), strict=True))
        for name, rows in load_epochs(study.path).groupby("trial_id")
    }


def assert_tensorboard_agrees(study: StudyFolder) -> None:
    states = load_trials(study.path).set_index("trial_id")["state"]
    for name, by_epoch in accuracies(study).items():
        read = EventAccumulator(str(study.path / "trackers" / "tensorboard" / name), size_guidance={"scalars": 0})
        read.Reload()
        events = [(event.step, event.value) for event in read.Scalars("val_accuracy")]
        assert [step for step, _ in events] == sorted(by_epoch), name
        assert [value for _, value in events] == pytest.approx([by_epoch[step] for step, _ in events])
        assert states[name].encode() in read.Tensors("state")[-1].tensor_proto.string_val[0]


def assert_wandb_agrees(study: StudyFolder) -> None:
    rows = rows_of(study.path / "trackers" / "wandb")
    for name, by_epoch in accuracies(study).items():
        (sent,) = (found for run, found in rows.items() if run == name or run.endswith(f"-{name}"))
        assert {row["_step"]: row["val_accuracy"] for row in sent} == pytest.approx(by_epoch), name
        assert len(sent) == len(by_epoch)


def assert_mlflow_agrees(study: StudyFolder, folder: Path) -> None:
    (folder / "mlflow").mkdir()
    with mlflow_server(folder / "mlflow") as address:
        command = ("track", str(study.path), "--logger", "mlflow")
        run = LiveRun(command, folder, environment={"MLFLOW_TRACKING_URI": address})
        assert run.finish().status == 0
        client = MlflowClient(address)
        experiment = client.get_experiment_by_name("digits")
        assert experiment is not None
        runs = {run.data.tags.get("qar.trial_id"): run for run in client.search_runs([experiment.experiment_id])}
        states = load_trials(study.path).set_index("trial_id")["state"]
        for name, by_epoch in accuracies(study).items():
            metrics = client.get_metric_history(runs[name].info.run_id, "val_accuracy")
            assert {metric.step: metric.value for metric in metrics} == pytest.approx(by_epoch), name
            assert len(metrics) == len(by_epoch)
            assert runs[name].data.tags["qar.state"] == states[name]
