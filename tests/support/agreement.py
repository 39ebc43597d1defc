"""Checks that tables, Optuna's study and the trackers say the same of every trial of a study."""

from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from analysis.load import load_epochs, load_trials
from study.storage.folder import StudyFolder
from tests.support.live_studies import LiveRun
from tests.support.mlflow_server import mlflow_server
from tests.support.wandb_files import rows_of
from trainables.result import TrialState


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
