"""A real MLflow server on loopback, with its records in SQLite; `make test-trackers` installs it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from study.ledger.facts import ASKED, ENDED
from study.trackers.mlflow import FRONT_FILE, STUDY_TAG, TRIAL_TAG, MLflow
from tests.support.example_studies import Unwritten, asked, history_of, study_config, train
from tests.support.mlflow_server import SERVER, mlflow_server
from trainables.result import TrialState

pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.skipif(not SERVER.exists(), reason="needs an MLflow server in .venv/mlflow: make test-trackers"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server; yield its address."""
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as address:
        yield address


@pytest.fixture
def client(server: str, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    return MlflowClient(server)


def runs_of(client: MlflowClient, name: str) -> list[Run]:
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def steps_of(client: MlflowClient, run: Run) -> list[int]:
    return [metric.step for metric in client.get_metric_history(run.info.run_id, "val_accuracy")]


def a_trial(name: str, state: str | None, epochs: int, failure: str | None = None) -> Unwritten:
    ledger = Unwritten()
    config = study_config().trial_config({"family": "RM", "num_levels": 4, "lam": 8.0})
    ledger.record(ASKED, **asked(0, config, trial_id=name))
    train(ledger, 0, epochs)
    if state:
        ledger.record(ENDED, number=0, state=state, failure=failure)
    return ledger


def test_a_second_process_sends_only_what_lacks(client: MlflowClient) -> None:
    first = MLflow("again", "/studies/again")
    for epochs in (0, 1, 2, 2):
        first.update_trial(a_trial("again-00000", None, epochs).history.trials[0])
    for _ in range(2):  # the second time, everything is there
        again = MLflow("again", "/studies/again")
        again.update_trial(a_trial("again-00000", TrialState.COMPLETE, 4).history.trials[0])
    (run,) = [run for run in runs_of(client, "again") if TRIAL_TAG in run.data.tags]
    assert steps_of(client, run) == [1, 2, 3, 4]
    assert run.info.status == "FINISHED"
    assert run.data.params["lam"] == "8.0"
    assert run.data.tags["qar.checkpoint"] == "/studies/again/ray/session-001/0/checkpoint_000003"


def test_a_failure_is_told(client: MlflowClient) -> None:
    trial = a_trial("failed-00000", TrialState.FAIL, 1, "the loss is not finite").history.trials[0]
    MLflow("failed", "/studies/failed").update_trial(trial)
    (run,) = [run for run in runs_of(client, "failed") if TRIAL_TAG in run.data.tags]
    assert run.info.status == "FAILED"
    assert run.data.tags["qar.failure"] == "the loss is not finite"


def test_front_is_an_artifact_of_the_run_of_the_study(client: MlflowClient, tmp_path: Path) -> None:
    history = history_of((0.5, 2.0, TrialState.COMPLETE, 4), (0.75, 3.0, TrialState.COMPLETE, 8))
    for _ in range(2):
        MLflow("front", "/studies/it's here").update_study(study_config(trials=2), history)
    (run,) = [run for run in runs_of(client, "front") if STUDY_TAG in run.data.tags]
    assert run.info.status == "FINISHED"
    text = Path(client.download_artifacts(run.info.run_id, FRONT_FILE, str(tmp_path))).read_text()
    assert '"val_accuracy"' in text
    assert text.count("small-0000") == 2
