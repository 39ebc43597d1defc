"""Files written from histories made by hand; the recorder is fed with Ray's own trial objects."""

import errno
import hashlib
import json
import shlex
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import optuna
import pyarrow.parquet as pq
import pytest
from ray.exceptions import ActorDiedError, RayTaskError
from ray.train._internal.storage import StorageContext
from ray.tune import Checkpoint
from ray.tune.experiment import Trial

from analysis.load import load_epochs, load_trials
from study.errors import NodeLacksDataset, NodeUnusable, StorageNotShared, StorageUnwritable
from study.ledger.facts import ASKED, ENDED, EPOCH, LOST
from study.ledger.history import CheckpointRecord
from study.ledger.ledger import Ledger
from study.ledger.reading import read_file, read_history
from study.records.epoch_table import epoch_rows
from study.records.failures import MOST_LOSSES
from study.records.optuna_mirror import OptunaMirror
from study.records.provenance import provenance
from study.records.recorder import Recorder
from study.records.tables import TableWriter, write_tables
from study.records.trial_table import trial_row
from study.storage.folder import StudyFolder
from tests.support.example_studies import (
    ARROW_TYPES,
    Unwritten,
    asked,
    make_study,
    metrics,
    start_session,
    study_config,
    train,
)
from trainables.data.datasets import DatasetError
from trainables.errors import DamagedFileError
from trainables.files.checkpoint import write_checkpoint
from trainables.result import EPOCH_COLUMNS, SCHEMA_VERSION, TRIAL_COLUMNS, TrialState

EPOCHS = 4
TABLES = [("trials.parquet", TRIAL_COLUMNS), ("epochs.parquet", EPOCH_COLUMNS)]


def rows_of(study: StudyFolder) -> list[dict[str, Any]]:
    return pq.read_table(study.trials).to_pylist()


@pytest.mark.parametrize(("name", "columns"), TABLES, ids=["trials", "epochs"])
def test_table_has_exactly_the_columns_and_types_of_the_schema(name: str, columns: Any, tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    schema = pq.read_schema(study.path / name)
    assert [(field.name, field.type) for field in schema] == [(c.name, ARROW_TYPES[c.type]) for c in columns]
    assert schema.metadata[b"qar_schema_version"] == str(SCHEMA_VERSION).encode()
    assert [field.metadata[b"meaning"].decode() for field in schema] == [column.meaning for column in columns]


@pytest.mark.parametrize(("name", "columns"), TABLES, ids=["trials", "epochs"])
def test_table_of_an_empty_study_has_the_schema_too(name: str, columns: Any, tmp_path: Path) -> None:
    study = StudyFolder(tmp_path)
    write_tables(study, read_history(study.ledger))
    table = pq.read_table(tmp_path / name)
    assert table.num_rows == 0
    assert table.column_names == [column.name for column in columns]


def test_rows_hold_every_column() -> None:
    ledger = Unwritten()
    ledger.record(ASKED, **asked(0, study_config().trial_config({"family": "none", "num_levels": None})))
    train(ledger, 0, 1)
    trial = ledger.history.trials[0]
    assert list(trial_row(trial)) == [column.name for column in TRIAL_COLUMNS]
    assert [set(row) for row in epoch_rows(trial)] == [{column.name for column in EPOCH_COLUMNS}]


def test_trial_rows_tell_the_history(tmp_path: Path) -> None:
    rows = rows_of(make_study(tmp_path / "small"))
    assert [row["number"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["trial_id"] for row in rows] == [f"small-{number:05d}" for number in range(5)]
    assert [row["state"] for row in rows] == [
        TrialState.COMPLETE,
        TrialState.COMPLETE,
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAIL,
    ]
    assert [row["epochs"] for row in rows] == [4, 4, 4, 1, 0]
    assert [row["anchor"] for row in rows] == [True, True, False, False, False]
    assert [row["family"] for row in rows] == ["none", "none", "RE", "RS", "RC"]
    complete = rows[2]
    assert (complete["val_accuracy"], complete["bits_per_weight"], complete["artifact_bytes"]) == (0.95, 3.3, 1000)
    assert (complete["num_levels"], complete["lam"], complete["placement"]) == (8, 1e-3, "own")
    assert complete["train_seconds"] == pytest.approx(0.125 * (1 + 2 + 3 + 4))
    assert (complete["model"], complete["dataset"], complete["seed"]) == ("small_cnn", "digits", 0)
    assert (complete["device"], complete["hostname"]) == ("cpu", "node-1")


def test_trial_rows_are_null_where_there_is_nothing_to_tell(tmp_path: Path) -> None:
    baseline, plain, regularized, pruned, failed = rows_of(make_study(tmp_path / "small"))
    assert [row["num_levels"] for row in (baseline, plain)] == [None, 2]
    assert [row["lam"] for row in (baseline, plain, regularized)] == [None, None, 1e-3]
    assert [row["placement"] for row in (baseline, plain)] == [None, "kmeans"]
    assert [row["val_accuracy_pre_tuning"] for row in (regularized, pruned, failed)] == [0.4, None, None]
    assert [row["failure"] for row in (regularized, pruned, failed)] == [None, None, "it [broke]"]
    assert {row["test_accuracy"] for row in (baseline, plain, regularized, pruned, failed)} == {None}
    unknown = ("val_accuracy", "float_val_accuracy", "bits_per_weight", "artifact_bytes", "device", "hostname")
    assert [failed[name] for name in unknown] == [None] * len(unknown)
    assert (failed["epochs"], failed["train_seconds"]) == (0, 0.0)


def test_lam_0_of_a_family_with_a_penalty_is_no_null(tmp_path: Path) -> None:
    config = study_config().trial_config({"family": "RS", "num_levels": 4, "lam": 0.0, "placement": "own"})
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.record(ASKED, **asked(0, config))
    write_tables(StudyFolder(tmp_path), ledger.history)
    ledger.close()
    assert rows_of(StudyFolder(tmp_path))[0]["lam"] == 0.0


def test_running_trial_is_in_the_tables_with_what_it_has_done(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small", ended=False)
    row = rows_of(study)[4]
    assert (row["state"], row["epochs"], row["failure"]) == (TrialState.RUNNING, 0, None)


def test_epoch_rows_tell_every_epoch_once_and_in_order(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    rows = pq.read_table(study.epochs).to_pylist()
    assert [(row["number"], row["epoch"]) for row in rows] == [
        *[(number, epoch) for number in (0, 1, 2) for epoch in (1, 2, 3, 4)],
        (3, 1),
    ]
    assert all(row["trial_id"] == f"small-{row['number']:05d}" for row in rows)
    first, *_, last = [row for row in rows if row["number"] == 2]
    assert (first["phase"], first["penalty"]) == ("regularize", 0.25)
    assert (last["phase"], last["penalty"]) == ("finetune", None)


def test_epoch_trained_again_is_counted_once(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small", ended=False)
    ledger = Ledger(study.ledger)
    train(ledger, 4, 2)
    ledger.record(LOST, number=4, reason="the node is gone")
    train(ledger, 4, 3, accuracy=0.75)  # after a crash, from the beginning
    write_tables(study, ledger.history)
    ledger.close()
    row = rows_of(study)[4]
    assert (row["epochs"], row["val_accuracy"]) == (3, 0.75)
    assert row["train_seconds"] == pytest.approx(0.125 * (1 + 2 + 3))
    epochs = [row["epoch"] for row in pq.read_table(study.epochs).to_pylist() if row["number"] == 4]
    assert epochs == [1, 2, 3]


def test_tables_tell_the_session_of_every_epoch_and_the_newest_checkpoint(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small", ended=False)
    ledger = Ledger(study.ledger)
    train(ledger, 4, 2)
    start_session(ledger)
    train(ledger, 4, 1)  # the first one again, after a crash
    write_tables(study, ledger.history)
    ledger.close()
    sessions = {row["epoch"]: row["session"] for row in pq.read_table(study.epochs).to_pylist() if row["number"] == 4}
    assert sessions == {1: 2, 2: 1}
    checkpoints = [row["checkpoint"] for row in rows_of(study)]
    assert checkpoints[2] == "ray/session-001/2/checkpoint_000003"
    assert checkpoints[4] == "ray/session-001/4/checkpoint_000000"


def test_tables_are_replaced_whole_and_no_draft_is_left(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small", ended=False)
    with open(study.trials, "rb") as reader:  # one who reads while the tables are written anew
        before = reader.read(10)
        ledger = Ledger(study.ledger)
        ledger.record(ENDED, number=4, state=TrialState.FAIL, failure="late")
        write_tables(study, ledger.history)
        ledger.close()
        rest = reader.read()
    whole = tmp_path / "as-read.parquet"
    whole.write_bytes(before + rest)
    assert pq.read_table(whole).to_pylist()[4]["state"] == TrialState.RUNNING
    assert rows_of(study)[4]["state"] == TrialState.FAIL
    files = {path.name for path in study.path.iterdir()}
    assert files == {"study.yaml", "study.json", "derived.json", "ledger.jsonl", "trials.parquet", "epochs.parquet"}


def test_table_that_cant_be_written_leaves_the_last_one(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    before = study.trials.read_bytes()
    history = read_history(study.ledger)
    study.derived_json.unlink()  # else the table would stay as it is, for the ledger has not grown
    row = history.epochs.append(1, 1, history.trials[1].epochs[4] | {"val_accuracy": "high"})
    history.trials[1].epochs.record(4, row)
    with pytest.raises(Exception, match="high"):
        write_tables(study, history)
    assert study.trials.read_bytes() == before


def test_tables_are_what_analysis_reads(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    trials, epochs = load_trials(study.path), load_epochs(study.path)
    assert (len(trials), len(epochs)) == (5, 13)
    last = epochs.groupby("trial_id")["epoch"].max()
    trained = trials[trials["epochs"] > 0].set_index("trial_id")["epochs"]
    assert last.to_dict() == trained.to_dict()


def test_same_history_gives_the_same_files(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    before = {path.name: path.read_bytes() for path in (study.trials, study.epochs, study.study_json)}
    write_tables(study, read_history(study.ledger))
    assert {path.name: path.read_bytes() for path in (study.trials, study.epochs, study.study_json)} == before


def test_study_json_says_where_the_results_come_from(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    content = json.loads(study.study_json.read_text())
    assert content["schema_version"] == SCHEMA_VERSION
    assert content["seeds"] == [0]
    assert content["hosts"] == ["node-1"]
    (session,) = content["sessions"]
    assert session["outcome"] == "finished"
    assert session["driver"] == "head"
    assert session["started"] <= session["latest"]
    assert session["versions"] == {"python": "3.11"}
    assert content["wall_seconds"] >= 0


def test_study_json_tells_of_each_session(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small", ended=False)
    ledger = Ledger(study.ledger)
    start_session(ledger)
    write_tables(study, ledger.history)
    ledger.close()
    assert [session["outcome"] for session in json.loads(study.study_json.read_text())["sessions"]] == [None, None]


def test_provenance_holds_versions_and_commit() -> None:
    content = provenance()
    for package in ("qar", "ray", "torch", "optuna", "numpy", "pandas"):
        assert content["versions"][package] == version(package)
    root = Path(__file__).parents[3]
    commit = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    assert content["git_sha"] == (commit.stdout.strip() or None)
    assert content["git_dirty"] in (True, False, None)
    assert content["command"].endswith(shlex.join(sys.argv[1:]))
    json.dumps(content)


def test_package_inside_of_another_repository_has_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package may be installed in the virtual environment of another project."""
    installed = tmp_path / ".venv" / "provenance.py"
    installed.parent.mkdir()
    installed.touch()
    (tmp_path / "paper.tex").touch()
    for command in (("init", "-q"), ("add", "paper.tex"), ("commit", "-qm", "begin")):
        author = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", "-C", str(tmp_path), *author, *command], check=True)
    monkeypatch.setattr("study.records.provenance.__file__", str(installed))
    content = provenance()
    assert (content["git_sha"], content["git_dirty"]) == (None, None)


class Storage(StorageContext):
    """Ray's, with the driver's own files beside the rest: their usual place is made when Ray starts."""

    @property
    def trial_driver_staging_path(self) -> str:
        return str(Path(self.trial_fs_path).with_name("of-the-driver"))


class Recording:
    """A recorder, its ledger, and one trial of Ray's."""

    def __init__(self, folder: Path) -> None:
        self.study = StudyFolder(folder)
        self.ledger = Ledger(self.study.ledger)
        start_session(self.ledger)
        config = study_config().trial_config({"family": "RE", "num_levels": 8, "lam": 1e-3, "placement": "own"})
        self.ledger.record(ASKED, **asked(0, replace(config, seed=3)))
        self.mirror = OptunaMirror(self.study, study_config())
        self.recorder = Recorder(self.study, self.ledger, self.mirror, EPOCHS, seconds_between_tables=0.0)
        storage = Storage(str(self.study.ray), "session-001", trial_dir_name="small-00000-0")
        self.trial = Trial("trial", stub=True, trial_id="ray-id", config={"number": 0}, storage=storage)
        Path(self.trial.local_path).mkdir(parents=True)

    def report(self, result: dict[str, Any]) -> None:
        self.trial.update_last_result(result)
        self.recorder.on_trial_result(0, [self.trial], self.trial, result)

    def strike(self, error: Exception) -> None:
        """Ends the trial by an error, as Ray does."""
        self.trial.handle_error(error)
        self.recorder.on_trial_error(0, [], self.trial)

    @property
    def recorded_trial(self) -> Any:
        return read_history(self.study.ledger).trials[0]


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return Recording(tmp_path)


def test_recorder_keeps_the_metrics_and_drops_what_is_about_ray(recording: Recording) -> None:
    about_ray = {"pid": 7, "time_total_s": 1.0, "config": {"trial": {}}, "done": False, "training_iteration": 1}
    recording.report(metrics(1) | about_ray)
    assert recording.recorded_trial.epochs == {1: metrics(1)}


def test_recorder_writes_a_snapshot_of_a_long_ledger(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.ledger.ledger.LINES_WORTH_A_SNAPSHOT", 1)
    recording.report(metrics(1))
    recording.recorder.on_step_end(0, [])
    reading = read_file(recording.study.ledger)
    assert (reading.lines_in_snapshot, reading.history) == (3, recording.ledger.history)


def test_recorder_ends_a_trial_as_it_ended(recording: Recording) -> None:
    for epoch in range(1, EPOCHS + 1):
        recording.report(metrics(epoch))
    recording.recorder.on_trial_complete(0, [], recording.trial)
    assert (recording.recorded_trial.state, recording.recorded_trial.failure) == (TrialState.COMPLETE, None)


def test_recorder_tells_a_stopped_trial_from_a_complete_one(recording: Recording) -> None:
    recording.report(metrics(1))
    recording.recorder.on_trial_complete(0, [], recording.trial)
    assert recording.recorded_trial.state == TrialState.PRUNED


def test_recorder_keeps_the_reason_of_a_divergence_and_no_epoch_of_it(recording: Recording) -> None:
    recording.report(metrics(1))
    recording.report({"epoch": 1, "failure": "the loss is not finite (nan) in epoch 2", "done": True})
    recording.recorder.on_trial_complete(0, [], recording.trial)
    assert (recording.recorded_trial.state, recording.recorded_trial.failure) == (
        TrialState.FAIL,
        "the loss is not finite (nan) in epoch 2",
    )
    assert list(recording.recorded_trial.epochs) == [1]


def test_recorder_writes_checkpoints_relative_to_the_study(recording: Recording) -> None:
    folder = recording.study.ray / "session-001" / "small-00000" / "checkpoint_000000"
    folder.mkdir(parents=True)
    recording.report(metrics(1))
    recording.recorder.on_checkpoint(0, [], recording.trial, Checkpoint.from_directory(str(folder)))
    assert recording.recorded_trial.checkpoint == CheckpointRecord(1, "ray/session-001/small-00000/checkpoint_000000")


def test_recorder_keeps_the_checksum_of_a_checkpoint(recording: Recording) -> None:
    folder = recording.study.ray / "session-001" / "small-00000" / "checkpoint_000000"
    folder.mkdir(parents=True)
    saved = Checkpoint.from_directory(str(folder))
    saved.sha256 = digest = write_checkpoint(folder, {"model": {}})
    recording.report(metrics(1))
    recording.recorder.on_checkpoint(0, [], recording.trial, saved)
    trial = recording.recorded_trial
    assert digest == hashlib.sha256((folder / "trial.pt").read_bytes()).hexdigest()
    assert trial.checkpoint.sha256 == digest
    assert recording.study.checkpoint_sums(trial) == dict.fromkeys(recording.study.checkpoints_of(trial), digest)


def test_recorder_keeps_no_checkpoint_of_an_epoch_that_diverged(recording: Recording) -> None:
    """Ray saves one for every result; its weights are those of half an epoch."""
    recording.report(metrics(1))
    recording.report({"epoch": 1, "failure": "the loss is not finite (nan) in epoch 2", "done": True})
    recording.recorder.on_checkpoint(0, [], recording.trial, Checkpoint.from_directory(str(recording.study.path)))
    assert recording.recorded_trial.checkpoint is None


def test_recorder_writes_the_tables_while_the_study_runs(recording: Recording) -> None:
    recording.report(metrics(1))
    recording.recorder.on_step_end(0, [])
    assert rows_of(recording.study)[0]["epochs"] == 1
    shown = optuna.load_study(study_name="small", storage=recording.mirror.uri)
    assert [trial.state.name for trial in shown.trials] == [TrialState.RUNNING]


def task_error(cause: Exception) -> RayTaskError:
    """Return the error in which Ray wraps an exception of a trial."""
    return RayTaskError("step", "Traceback …", cause)


OF_A_STORE = OSError("When uploading part for key 'x' in bucket 'b': AWS Error NETWORK_CONNECTION during UploadPart")


def test_trial_whose_bucket_was_out_of_reach_goes_on_from_its_checkpoint(recording: Recording) -> None:
    for losses in range(1, MOST_LOSSES + 1):
        recording.strike(task_error(OF_A_STORE))
        assert (recording.recorded_trial.state, recording.recorded_trial.losses) == (TrialState.RUNNING, losses)
    with pytest.raises(StorageUnwritable, match=r"can't be reached.*AWS Error.*qar resume"):
        recording.strike(task_error(OF_A_STORE))
    assert recording.recorded_trial.state == TrialState.RUNNING


def test_exception_in_a_trial_fails_it_at_once(recording: Recording) -> None:
    recording.report(metrics(1))
    recording.strike(task_error(ValueError("the reason\nand advice")))
    assert (recording.recorded_trial.state, recording.recorded_trial.failure) == (TrialState.FAIL, "the reason")


def test_exception_without_words_is_named(recording: Recording) -> None:
    recording.strike(task_error(MemoryError()))
    assert (recording.recorded_trial.state, recording.recorded_trial.failure) == (TrialState.FAIL, "MemoryError")


def test_lost_actor_is_no_failure_until_it_is_lost_too_often(recording: Recording) -> None:
    for losses in range(1, MOST_LOSSES + 1):
        recording.strike(ActorDiedError())
        assert (recording.recorded_trial.state, recording.recorded_trial.losses) == (TrialState.RUNNING, losses)
    recording.strike(ActorDiedError())
    assert recording.recorded_trial.state == TrialState.FAIL
    assert recording.recorded_trial.failure.startswith(
        f"its actor was lost {MOST_LOSSES + 1} times, at last: The actor"
    )


def test_disk_that_is_full_is_no_failure_of_the_trial(recording: Recording) -> None:
    with pytest.raises(StorageUnwritable, match=r"can't be written: No space left on device; free space"):
        recording.strike(task_error(OSError(errno.ENOSPC, "No space left on device")))
    assert recording.recorded_trial.state == TrialState.RUNNING


def test_disk_of_a_node_that_is_full_is_no_failure_of_the_storage(recording: Recording) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/tmp/tmp4_1x/trial.pt")
    for losses in range(1, MOST_LOSSES + 1):
        recording.strike(task_error(full))
        assert (recording.recorded_trial.state, recording.recorded_trial.losses) == (TrialState.RUNNING, losses)
    # By then it is no passing trouble: the next trials would meet the same.
    with pytest.raises(NodeUnusable, match=r"^/tmp/tmp4_1x/trial.pt on .* can't be used: No space left on device;"):
        recording.strike(task_error(full))
    assert recording.recorded_trial.state == TrialState.RUNNING


def test_node_that_lacks_the_storage_ends_the_study_and_fails_no_trial(recording: Recording) -> None:
    with pytest.raises(StorageNotShared, match=r"must be seen by all nodes, but is not by .*; mount it there"):
        recording.strike(task_error(RuntimeError("Unable to set up cluster storage with the following settings:\n…")))
    assert recording.recorded_trial.state == TrialState.RUNNING


def test_node_that_lacks_the_data_set_ends_the_study_and_fails_no_trial(recording: Recording) -> None:
    """The actor is used again here; test_cluster.py covers one that begins on such a node."""
    missing = "/data/digits.npz: there must be this file, or /data/digits/*.npy, found neither; put one there"
    with pytest.raises(
        NodeLacksDataset, match=r"can't load the data set: /data/digits.npz: .*; or take that node away"
    ):
        recording.strike(task_error(DatasetError(missing)))
    assert recording.recorded_trial.state == TrialState.RUNNING


def test_data_set_in_a_bucket_that_is_out_of_reach_is_asked_for_again(recording: Recording) -> None:
    away = DatasetError(f"s3://bucket/digits.npz can't be fetched: {OF_A_STORE}; check the URI")
    for losses in range(1, MOST_LOSSES + 1):
        recording.strike(task_error(away))
        assert (recording.recorded_trial.state, recording.recorded_trial.losses) == (TrialState.RUNNING, losses)
    with pytest.raises(NodeLacksDataset, match=r"can't load the data set: s3://bucket/digits.npz can't be fetched"):
        recording.strike(task_error(away))
    assert recording.recorded_trial.state == TrialState.RUNNING


def test_node_that_lacks_the_float_network_ends_the_study_and_fails_no_trial(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = "/shared/studies/digits/baseline/seed-0"
    recording.trial.config |= {"initial_weights": weights, "trial": {"seed": 0}}
    unseen = DamagedFileError(f"{weights} holds no complete checkpoint: [Errno 2] No such file or directory")
    monkeypatch.setattr(StudyFolder, "has_baseline", lambda *arguments: True)
    with pytest.raises(StorageNotShared, match=r"must be seen by all nodes, but is not by .*; mount it there"):
        recording.strike(task_error(unseen))
    assert recording.recorded_trial.state == TrialState.RUNNING
    monkeypatch.setattr(StudyFolder, "has_baseline", lambda *arguments: False)
    recording.strike(task_error(unseen))
    assert recording.recorded_trial.state == TrialState.FAIL, "here it is damaged, too"


def test_file_that_is_missing_is_a_failure_of_the_trial(recording: Recording) -> None:
    recording.strike(task_error(FileNotFoundError(errno.ENOENT, "No such file or directory", "data.npz")))
    assert recording.recorded_trial.state == TrialState.FAIL


def test_error_that_cant_be_read_counts_as_a_lost_actor(recording: Recording) -> None:
    recording.trial.handle_error(ActorDiedError())
    Path(recording.trial.pickled_error_file).write_bytes(b"no pickle")
    recording.recorder.on_trial_error(0, [], recording.trial)
    assert (recording.recorded_trial.state, recording.recorded_trial.losses) == (TrialState.RUNNING, 1)


def test_recorder_survives_pickling_by_ray_as_nothing(recording: Recording) -> None:
    assert recording.recorder.__getstate__() == {}


def test_tables_written_as_a_study_grows_equal_those_written_once(tmp_path: Path) -> None:
    """Rows of trials that have ended are kept between two writings; trials end in another order than they begin."""
    study = StudyFolder(tmp_path / "small")
    study.create(study_config())
    ledger = Ledger(study.ledger)
    start_session(ledger)
    writer, config = TableWriter(study), study_config().trial_config({"family": "none", "num_levels": 2})
    for number in range(6):
        ledger.record(ASKED, **asked(number, config))
        train(ledger, number, 1)
    for number in (4, 1, 0, 5):
        writer.write(ledger.history)
        ledger.record(EPOCH, number=number, metrics=metrics(2))
        ledger.record(ENDED, number=number, state=TrialState.PRUNED, failure=None)
    writer.write(ledger.history)
    written = {path.name: pq.read_table(path) for path in (study.trials, study.epochs)}
    write_tables(study, ledger.history)
    ledger.close()
    for path in (study.trials, study.epochs):
        once = pq.read_table(path)
        assert written[path.name].equals(once, check_metadata=True)
    assert written["trials.parquet"]["number"].to_pylist() == list(range(6))


@pytest.mark.parametrize("earlier_session", [False, True])
def test_rows_that_are_converted_before_the_tables_are_due_are_not_converted_again(
    earlier_session: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = StudyFolder(tmp_path / "small")
    study.create(study_config())
    ledger = Ledger(study.ledger)
    start_session(ledger)
    config = study_config().trial_config({"family": "none", "num_levels": 2})
    for number in range(6):
        ledger.record(ASKED, **asked(number, config))
        train(ledger, number, 1)
        if number in (1, 3, 4):
            ledger.record(ENDED, number=number, state=TrialState.PRUNED, failure=None)
    converted: list[int] = []

    def counted(trial: Any) -> dict[str, Any]:
        converted.append(trial.number)
        return trial_row(trial)

    monkeypatch.setattr("study.records.trial_table.trial_row", counted)
    if earlier_session:
        write_tables(study, ledger.history)
        converted.clear()
    writer = TableWriter(study)
    writer.convert(ledger.history, [3, 1])
    assert converted == ([] if earlier_session else [3, 1])
    writer.write(ledger.history)
    written = pq.read_table(study.trials)
    if not earlier_session:  # otherwise the files hold all that the ledger says
        assert sorted(converted) == [0, 1, 2, 3, 4, 5]
    study.derived_json.unlink()
    write_tables(study, ledger.history)
    ledger.close()
    assert written.equals(pq.read_table(study.trials), check_metadata=True)


def test_recorder_converts_rows_before_the_tables_are_due(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.records.recorder.CONVERTED_TOGETHER", 1)
    together: list[list[int]] = []
    monkeypatch.setattr(TableWriter, "convert", lambda self, history, ended: together.append([*ended]))
    recording.recorder._tables_due = float("inf")
    recording.report(metrics(1))
    recording.recorder.on_step_end(0, [])
    recording.recorder.on_trial_complete(0, [], recording.trial)
    recording.recorder.on_step_end(1, [])
    recording.recorder.on_step_end(2, [])
    assert together == [[0]]
