"""Ray's side of a trial, outside a cluster: stepping, saving, the two phases apart, and actors that are used again."""

import pickle
import weakref
from collections.abc import Generator, Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pyarrow.fs import FileSystem, LocalFileSystem, SubTreeFileSystem
from ray.train._internal.storage import StorageContext
from ray.tune import PlacementGroupFactory
from ray.tune.result import TRIAL_INFO

from tests.support.example_trials import quick
from trainables.config import Recipe, TrialConfig
from trainables.errors import DamagedFileError
from trainables.families import FAMILIES
from trainables.files.checkpoint import CHECKPOINT_FILE, read_checkpoint, read_sum, write_checkpoint
from trainables.run import CompressionRun, Metrics
from trainables.trainable import CompressionTrial, Finetuning, RegularizedTraining, train_baseline

pytestmark = pytest.mark.usefixtures("quick_names")


@pytest.fixture(autouse=True)
def _same_number_of_threads() -> Iterator[None]:
    """Trainables set it; runs that are compared with them must have the same."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def ray_config(trial: TrialConfig, *restore_from: Path) -> dict[str, Any]:
    """Return a configuration as Ray passes it to a trainable."""
    return {"trial": trial.to_dict(), "restore_from": [str(folder) for folder in restore_from]}


def comparable(metrics: Metrics) -> Metrics:
    """All metrics but the clock."""
    return {name: value for name, value in metrics.items() if name != "train_seconds"}


def steps(trainable: CompressionTrial) -> list[Metrics]:
    """Results up to the one that says it is done."""
    results = [comparable(trainable.step())]
    while not results[-1]["done"]:
        results.append(comparable(trainable.step()))
    return results


def checkpoint(trainable: CompressionTrial, folder: Path) -> Path:
    """Saves as Ray would, and says where."""
    folder.mkdir()
    trainable.save_checkpoint(str(folder))
    return folder


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_trial_reports_every_epoch_of_its_run(family: str) -> None:
    run = CompressionRun(quick(family))
    results = steps(CompressionTrial(config=ray_config(quick(family))))
    assert [result["done"] for result in results] == [False, False, False, True]
    for result in results:
        assert result | {"device": None, "done": None} == comparable(run.run_epoch()) | {"device": None, "done": None}


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_trial_goes_on_from_a_checkpoint(epochs: int, tmp_path: Path) -> None:
    trial = CompressionTrial(config=ray_config(quick()))
    for _ in range(epochs):
        trial.step()
    folder = checkpoint(trial, tmp_path / "checkpoint")
    following = steps(trial)

    loaded = CompressionTrial(config=ray_config(quick()))
    loaded.load_checkpoint(str(folder))
    assert steps(loaded) == following
    assert steps(CompressionTrial(config=ray_config(quick(), folder))) == following


def test_damaged_checkpoint_is_passed_over_for_the_one_before_it(tmp_path: Path) -> None:
    trial = CompressionTrial(config=ray_config(quick()))
    trial.step()
    older = checkpoint(trial, tmp_path / "older")
    following = steps(trial)
    newer = checkpoint(trial, tmp_path / "newer")
    (newer / CHECKPOINT_FILE).write_bytes((newer / CHECKPOINT_FILE).read_bytes()[:-1])
    assert steps(CompressionTrial(config=ray_config(quick(), newer, older))) == following


def test_checkpoint_with_a_forged_checksum_is_passed_over_where_the_ledger_holds_the_right_one(tmp_path: Path) -> None:
    trial = CompressionTrial(config=ray_config(quick()))
    folders = []
    for epoch in (1, 2):
        trial.step()
        folders.append(checkpoint(trial, tmp_path / str(epoch)))
    sums = {str(folder): read_sum(folder) for folder in folders}
    write_checkpoint(folders[1], read_checkpoint(folders[0]))  # another sound checkpoint in its place
    config = ray_config(quick(), folders[1], folders[0]) | {"checksums": sums}
    assert CompressionTrial(config=config).run.epoch == 1
    forged = {str(folders[1]): "0" * 64}
    assert CompressionTrial(config=ray_config(quick(), folders[1]) | {"checksums": forged}).run.epoch == 0
    assert CompressionTrial(config=ray_config(quick(), folders[1])).run.epoch == 1, "nothing else knows"


def test_trial_begins_anew_when_every_checkpoint_is_damaged(tmp_path: Path) -> None:
    trial = CompressionTrial(config=ray_config(quick()))
    trial.step()
    folder = checkpoint(trial, tmp_path / "only")
    (folder / CHECKPOINT_FILE).unlink()
    assert CompressionTrial(config=ray_config(quick(), folder)).run.epoch == 0


def test_trial_goes_on_after_ray_saves_and_restores_it(tmp_path: Path) -> None:
    trial = CompressionTrial(config=ray_config(quick()))
    trial.train()
    saved = trial.save(str(tmp_path / "saved"))
    following = steps(trial)
    other = CompressionTrial(config=ray_config(quick()))
    other.restore(saved.checkpoint.path)
    assert steps(other) == following


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_two_phases_apart_equal_one_trial(family: str, tmp_path: Path) -> None:
    expected = steps(CompressionTrial(config=ray_config(quick(family))))
    training = RegularizedTraining(config=ray_config(quick(family)))
    first = steps(training)
    finetuning = Finetuning(config=ray_config(quick(family), checkpoint(training, tmp_path / "first")))
    second = steps(finetuning)
    assert [result["epoch"] for result in first] == [1, 2]
    assert [result["epoch"] for result in second] == [3, 4]
    assert first[-1]["done"]
    assert second[-1]["done"]
    assert [result | {"done": None} for result in first + second] == [result | {"done": None} for result in expected]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        *((quick(one), quick(other)) for one, other in pairwise([*FAMILIES, *FAMILIES])),
        (quick("RM"), quick("RM", num_levels=8, lam=0.1, seed=3)),
        (quick("none", num_levels=None), quick("RE")),
        (quick("RS"), quick("RS", placement="own", recipe=Recipe(batch_size=50, optimizer="sgd"))),
    ],
)
def test_reset_config_leaves_no_trace_of_the_last_trial(before: TrialConfig, after: TrialConfig) -> None:
    short = {"regularize_epochs": 1, "finetune_epochs": 1}
    before, after = (TrialConfig.from_dict(config.to_dict() | short) for config in (before, after))
    used = CompressionTrial(config=ray_config(before))
    steps(used)
    assert used.reset_config(ray_config(after))
    assert steps(used) == steps(CompressionTrial(config=ray_config(after)))


def test_reset_config_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    trial = CompressionTrial(config=ray_config(quick()))
    trial.step()
    folder = checkpoint(trial, tmp_path / "checkpoint")
    used = CompressionTrial(config=ray_config(quick("RS")))
    used.step()
    used.reset_config(ray_config(quick(), folder))
    assert steps(used) == steps(trial)


@pytest.mark.parametrize("rate", [{"learning_rate": 1e30}, {"representative_learning_rate": 1e36}])
def test_trial_ends_with_its_failure_when_the_loss_is_not_finite(rate: dict[str, Any]) -> None:
    # Family `none` has no representatives before the finetune phase: the second trial fails there.
    trial = CompressionTrial(config=ray_config(quick("none", recipe=Recipe(batch_size=40, **rate))))
    results = steps(trial)
    failed = results[-1]
    assert failed["done"]
    assert "not finite" in failed["failure"]
    assert failed["epoch"] == len(results) - 1  # the last that was trained to its end
    assert all("failure" not in result for result in results[:-1])


@pytest.mark.parametrize("restore_from", [{}, {"restore_from": None}, {"restore_from": []}])
def test_finetuning_raises_when_there_is_no_checkpoint(restore_from: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"restore_from must hold .*checkpoint"):
        Finetuning(config=ray_config(quick()) | restore_from)


def test_finetuning_raises_when_the_first_phase_is_unfinished(tmp_path: Path) -> None:
    training = RegularizedTraining(config=ray_config(quick()))
    training.step()
    folder = checkpoint(training, tmp_path / "unfinished")
    with pytest.raises(ValueError, match=r"restore_from .*epoch 1 of 2"):
        Finetuning(config=ray_config(quick(), folder))


def test_finetuning_raises_when_no_epochs_follow(tmp_path: Path) -> None:
    training = RegularizedTraining(config=ray_config(quick(finetune_epochs=0)))
    steps(training)
    folder = checkpoint(training, tmp_path / "finished")
    with pytest.raises(ValueError, match="finetune_epochs"):
        Finetuning(config=ray_config(quick(finetune_epochs=0), folder))


def test_trial_names_the_field_when_its_configuration_is_bad() -> None:
    values = quick().to_dict() | {"lam": -1.0}
    with pytest.raises(ValueError, match=r"lam must be .*, got -1\.0"):
        CompressionTrial(config={"trial": values})


def test_pretrained_trial_begins_with_the_weights_of_the_float_network(tmp_path: Path) -> None:
    baseline = quick("none", num_levels=None)
    *told, last = train_baseline(baseline.to_dict(), 1, str(tmp_path / "baseline"))
    assert [metrics["epoch"] for metrics in told] == list(range(1, baseline.regularize_epochs + 1))
    assert all(0 <= metrics["val_accuracy"] <= 1 < 1 + metrics["train_seconds"] for metrics in told)
    saved = read_checkpoint(tmp_path / "baseline", expected=last["sha256"])
    assert saved["epoch"] == baseline.regularize_epochs
    trial = quick("RS", init="pretrained")
    trainable = CompressionTrial(config=ray_config(trial) | {"initial_weights": str(tmp_path / "baseline")})
    for name, tensor in trainable.run.model.state_dict().items():
        assert torch.equal(tensor, saved["model"][name]), name


def test_float_network_that_was_interrupted_goes_on_from_its_last_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    baseline = quick("none", num_levels=None, regularize_epochs=4)
    *expected, _ = train_baseline(baseline.to_dict(), 1, str(tmp_path / "undisturbed"))
    first = train_baseline(baseline.to_dict(), 1, str(tmp_path / "killed"))
    before = [next(first), next(first), next(first)]
    assert isinstance(first, Generator)
    first.close()
    assert not (tmp_path / "killed").exists()
    # Killed while the last of the three took the place of the one before.
    (tmp_path / "killed.so-far").rename(tmp_path / "killed.so-far.0123456789ab.draft")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "killed.so-far.draft").symlink_to(tmp_path / "theirs")

    trained = []
    run_epoch = CompressionRun.run_epoch

    def counted(run: CompressionRun) -> dict[str, Any]:
        trained.append(run.epoch)
        return run_epoch(run)

    monkeypatch.setattr(CompressionRun, "run_epoch", counted)
    *after, _ = train_baseline(baseline.to_dict(), 1, str(tmp_path / "killed"))
    assert after[:3] == before
    assert [metrics["val_accuracy"] for metrics in after] == [metrics["val_accuracy"] for metrics in expected]
    assert trained == [3]
    one, other = (read_checkpoint(tmp_path / name)["model"] for name in ("undisturbed", "killed"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert sorted(path.name for path in tmp_path.glob("killed*")) == ["killed", "killed.so-far.draft"]
    assert list((tmp_path / "theirs").iterdir()) == []


def test_pretrained_trial_refuses_another_baseline_than_the_recorded_one(tmp_path: Path) -> None:
    *_, last = train_baseline(quick("none", num_levels=None).to_dict(), 1, str(tmp_path / "baseline"))
    address = str(tmp_path / "baseline")
    config = ray_config(quick("RS", init="pretrained")) | {"initial_weights": address}
    CompressionTrial(config=config | {"checksums": {address: last["sha256"]}})
    state = read_checkpoint(tmp_path / "baseline")
    next(iter(state["model"].values())).zero_()
    write_checkpoint(tmp_path / "baseline", state)
    with pytest.raises(DamagedFileError, match="not the checkpoint that the ledger has recorded"):
        CompressionTrial(config=config | {"checksums": {address: last["sha256"]}})


def test_saved_checkpoint_carries_its_checksum_to_the_driver(tmp_path: Path) -> None:
    """The driver could compute the checksum of a checkpoint in a bucket only by a request."""
    training = CompressionTrial(config=ray_config(quick()))
    training.step()
    saved = pickle.loads(pickle.dumps(training.save(str(tmp_path))))
    assert saved.checkpoint.sha256 == read_sum(tmp_path)


@pytest.fixture
def _session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Ray's storage work without Ray, whose session has a folder for logs."""
    monkeypatch.setattr("ray.train._internal.storage._get_ray_train_session_dir", lambda: str(tmp_path / "session"))


def in_storage(folder: Path, files: FileSystem | None = None) -> CompressionTrial:
    """Return a trial whose checkpoints lie in Ray's storage in a folder, trained for an epoch."""
    storage = StorageContext(str(folder), "session-001", storage_filesystem=files, trial_dir_name="small-00000-0")
    trial = CompressionTrial(config=ray_config(quick()), storage=storage)
    trial.step()
    return trial


@pytest.mark.usefixtures("_session")
@pytest.mark.parametrize("files", [None, SubTreeFileSystem("/", LocalFileSystem())], ids=["folder", "bucket"])
def test_trial_writes_one_file_to_the_storage_and_no_other(
    files: FileSystem | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = in_storage(tmp_path, files)
    expected = [steps(CompressionTrial(config=ray_config(quick())))[1:]] * 2
    with monkeypatch.context() as patch:
        patch.setattr("tempfile.mkdtemp", lambda *_, **__: pytest.fail("a temporary folder was made"))
        patch.setattr("tempfile.mkstemp", lambda *_, **__: pytest.fail("a temporary file was made"))
        saved = [pickle.loads(pickle.dumps(trial.save())).checkpoint for _ in range(2)]
    place = tmp_path / "session-001" / "small-00000-0"
    written = sorted(path.relative_to(place) for path in place.rglob("*") if path.is_file())
    assert written == [Path(f"checkpoint_00000{number}") / CHECKPOINT_FILE for number in (0, 1)]
    folders = [place / checkpoint.path.rpartition("/")[2] for checkpoint in saved]
    assert [checkpoint.sha256 for checkpoint in saved] == [read_sum(folder) for folder in folders]
    assert [steps(CompressionTrial(config=ray_config(quick(), folder))) for folder in folders] == expected


@pytest.mark.usefixtures("_session")
def test_node_that_does_not_see_the_storage_is_refused(tmp_path: Path) -> None:
    trial = in_storage(tmp_path)
    for marker in (tmp_path / "session-001").iterdir():
        marker.unlink()
    with pytest.raises(RuntimeError, match="Unable to set up cluster storage"):
        trial.save()


def test_pretrained_trial_refuses_to_begin_without_the_baseline() -> None:
    with pytest.raises(ValueError, match="pretrained"):
        CompressionRun(quick("RS", init="pretrained"))


class Watched(CompressionTrial):
    """Notes, whenever a trial is set up, what is left of the one before."""

    of_the_last: tuple[weakref.ref[Any], ...] = ()

    def setup(self, config: dict[str, Any]) -> None:
        self.left = [reference() for reference in self.of_the_last if reference() is not None]
        super().setup(config)
        held = (self.run, self.run.phase, self.run.train_split.pool, *self.run.model.parameters())
        self.of_the_last = tuple(weakref.ref(thing) for thing in held)


@pytest.mark.parametrize("epochs", [0, 1, 3, 4])
def test_nothing_of_a_trial_is_left_when_its_actor_sets_up_the_next(epochs: int) -> None:
    trial = Watched(config=ray_config(quick("RE")))
    for _ in range(epochs):
        trial.step()
    assert len(trial.of_the_last) > 3
    assert trial.reset_config(ray_config(quick("RM")))
    assert trial.left == []


def test_threads_of_a_trial_are_its_cpus() -> None:
    told_by_ray = SimpleNamespace(trial_resources=PlacementGroupFactory([{"CPU": 3.0}]))
    CompressionTrial(config=ray_config(quick()) | {TRIAL_INFO: told_by_ray})
    assert torch.get_num_threads() == 3
