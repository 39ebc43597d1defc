"""MLflow: a run for each trial in an experiment of the study's name, and one run for the study.

The server's own records say which epochs it has. Its address is `MLFLOW_TRACKING_URI`, as for MLflow's own tools.
"""

import hashlib
import os
import time
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunStatus, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from study.config import StudyConfig
from study.ledger.history import History, Trial
from study.storage.liveliness import is_complete
from study.trackers.tracker import epochs_after, front_rows, numbers_of, settings_of
from trainables.result import TrialState

TRIAL_TAG = "qar.trial_id"
"""Tag of a trial's run; unique over studies."""
STUDY_TAG = "qar.study"
"""Tag of a study's run: a checksum of its address, since filters of MLflow can't quote every path."""
ADDRESS_TAG = "qar.address"
EPOCH_METRIC = "epoch"
"""Metric whose history says which epochs the server has."""
FRONT_FILE = "front.json"
MOST_METRICS_A_BATCH = 1000
"""Source: https://mlflow.org/docs/latest/rest-api.html, request limits of log-batch."""
MOST_CHARACTERS_A_PARAMETER = 500

_STATUS = {
    TrialState.COMPLETE: RunStatus.to_string(RunStatus.FINISHED),
    TrialState.PRUNED: RunStatus.to_string(RunStatus.KILLED),
    TrialState.FAIL: RunStatus.to_string(RunStatus.FAILED),
}


class MLflow:
    """An experiment on an MLflow server."""

    def __init__(self, name: str, address: str) -> None:
        """Name the experiment; the server is asked with the first update.

        Args:
            name: name of the study, and of the experiment.
            address: path or URI of the study.
        """
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # else two lines for each trial
        self._client = MlflowClient()  # of the server that MLFLOW_TRACKING_URI names
        self._name, self._address = name, address
        self._experiment: str | None = None
        self._study_run: str | None = None
        self._runs: dict[str, tuple[str, int]] = {}  # id of the run and last epoch there, by trial_id
        self._ended: set[str] = set()
        self._shown = -1

    def update_trial(self, trial: Trial) -> None:
        """Send the epochs that the server lacks in batches of whole epochs, then the state."""
        if trial.trial_id in self._ended:
            return
        run_id, last = self._runs.get(trial.trial_id) or self._begin(trial)
        if trial.trial_id in self._ended:
            return
        batch: list[Metric] = []
        now = int(time.time() * 1000)
        for metrics in epochs_after(trial, last):
            numbers = numbers_of(metrics) | {EPOCH_METRIC: float(metrics["epoch"])}
            if len(batch) + len(numbers) > MOST_METRICS_A_BATCH:
                self._client.log_batch(run_id, metrics=batch)
                batch = []
            batch += [Metric(name, value, now, metrics["epoch"]) for name, value in numbers.items()]
            last = metrics["epoch"]
        if batch:
            self._client.log_batch(run_id, metrics=batch)
        self._runs[trial.trial_id] = run_id, last
        if trial.state != TrialState.RUNNING:
            self._end(run_id, trial)

    def _begin(self, trial: Trial) -> tuple[str, int]:
        """Return the run of a trial on the server, created if missing, and the last epoch that it holds."""
        found = self._find(TRIAL_TAG, trial.trial_id)
        if found is None:
            parent = self._run_of_study()
            tags = {TRIAL_TAG: trial.trial_id, "qar.number": str(trial.number), MLFLOW_PARENT_RUN_ID: parent}
            created = self._client.create_run(self._experiment_id(), tags=tags, run_name=trial.trial_id)
            return self._with_settings(created.info.run_id, trial), 0
        run_id = found.info.run_id
        if not found.data.params:  # a crash came between the run and its settings
            self._with_settings(run_id, trial)
        if found.info.status != RunStatus.to_string(RunStatus.RUNNING):
            self._ended.add(trial.trial_id)
        history = self._client.get_metric_history(run_id, EPOCH_METRIC)
        return run_id, max((metric.step for metric in history), default=0)

    def _with_settings(self, run_id: str, trial: Trial) -> str:
        settings = settings_of(trial).items()
        params = [Param(name, str(value)[:MOST_CHARACTERS_A_PARAMETER]) for name, value in settings]
        self._client.log_batch(run_id, params=params)
        return run_id

    def _end(self, run_id: str, trial: Trial) -> None:
        tags = {"qar.state": trial.state, "qar.failure": trial.failure}
        if trial.checkpoint is not None:
            tags["qar.checkpoint"] = f"{self._address}/{trial.checkpoint.path}"
        self._client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items() if value])
        self._client.set_terminated(run_id, _STATUS[trial.state])
        self._ended.add(trial.trial_id)

    def update_study(self, config: StudyConfig, history: History) -> None:
        """Replace the front, which is an artifact of the study's run."""
        if history.num_ended == self._shown:
            return
        run_id = self._run_of_study()
        self._client.log_dict(run_id, _table(front_rows(history)), FRONT_FILE)
        done = is_complete(history, config)
        self._client.set_tag(run_id, "qar.trials_ended", history.num_ended)
        self._client.update_run(run_id, RunStatus.to_string(RunStatus.FINISHED if done else RunStatus.RUNNING))
        self._shown = history.num_ended

    def close(self) -> None:
        """Do nothing: every call of the client ends with the server's answer."""

    def _experiment_id(self) -> str:
        if self._experiment is None:
            known = self._client.get_experiment_by_name(self._name)
            self._experiment = known.experiment_id if known else self._client.create_experiment(self._name)
        return self._experiment

    def _run_of_study(self) -> str:
        if self._study_run is None:
            checksum = hashlib.sha256(self._address.encode()).hexdigest()[:16]
            known = self._find(STUDY_TAG, checksum)
            tags = {STUDY_TAG: checksum, ADDRESS_TAG: self._address}
            run = known or self._client.create_run(self._experiment_id(), tags=tags, run_name=self._name)
            self._study_run = run.info.run_id
        return self._study_run

    def _find(self, tag: str, value: str) -> Run | None:
        runs = self._client.search_runs([self._experiment_id()], f"tags.`{tag}` = '{value}'", max_results=1)
        return runs[0] if runs else None


def _table(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return rows in the form that MLflow shows as a table: pandas' `split` orientation."""
    columns = list(rows[0]) if rows else []
    return {"columns": columns, "data": [list(row.values()) for row in rows]}
