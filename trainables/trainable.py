"""Ray Trainables: thin adapters around `CompressionRun`. Besides `pack_member`, the only module that imports Ray."""

import gc
import glob
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pyarrow.fs import FileSystem, LocalFileSystem, copy_files
from ray import tune
from ray.train._internal.checkpoint_manager import _TrainingResult

from trainables.config import TrialConfig
from trainables.errors import DamagedFileError, NonFiniteLossError
from trainables.files.checkpoint import (
    CHECKPOINT_FILE,
    read_checkpoint,
    read_weights,
    write_checkpoint,
    write_state,
)
from trainables.process import give_back_memory, prepare_process
from trainables.result import FINETUNE
from trainables.run import CompressionRun
from trainables.sensitivity import measure

DRAFT = ".draft"
"""Suffix of the folder in which a checkpoint is written before it is renamed to its final name."""

METRICS_KEY = "told"
"""Key of the metrics of past epochs in the checkpoint of an unfinished float network; kept from earlier versions."""


def device_name() -> str:
    """Return the name of the device that this process trains on."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def begun_run(config: dict[str, Any]) -> CompressionRun:
    """Return the run of a trial, at the epoch where it goes on.

    Args:
        config: configuration as Ray passes it; see `CompressionTrial`.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    weights = None
    if checkpoint := config.get("initial_weights"):
        with tune.Checkpoint(checkpoint).as_directory() as folder:
            weights = read_weights(Path(folder), device, config.get("checksums", {}).get(checkpoint))
    run = CompressionRun(TrialConfig.from_stored(config["trial"]), device, weights)
    if (state := _restored(config, run.device)) is not None:
        load(run, state)
    return run


def load(run: CompressionRun, state: dict[str, Any]) -> None:
    """Let a run go on from the state that a checkpoint holds."""
    state["generator"] = state["generator"].cpu()
    run.load_state_dict(state)


def free_memory() -> None:
    """Free what an earlier run has left, since other trials may share the GPU or the machine."""
    gc.collect()
    give_back_memory()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class CompressionTrial(tune.Trainable):
    """Ray Trainable that runs both phases of a trial, one epoch per step.

    Ray's `config` holds `trial`, a `TrialConfig` as the ledger stores it. It may also hold paths or URIs of
    checkpoints: `restore_from` is a list, and training resumes from the first undamaged one, or starts from scratch if
    there is none; `initial_weights` is that of the float network to start from. `checksums` may hold the checksums of
    all these files by path or URI, and then they must match. A result consists of the metrics that
    `CompressionRun.run_epoch` returns, and of `device`. If the loss is not finite, the trial ends with a result that
    holds the reason in `failure`; a retry would fail in the same way.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Build the run of `config`, and restore its checkpoint if there is one."""
        resources = self.trial_resources.required_resources if self.trial_resources else {}
        prepare_process(int(resources.get("CPU", 1)))
        self.device_name = device_name()
        self.run = begun_run(config)

    @property
    def last_epoch(self) -> int:
        """Last epoch of the trial, counted from 1 across both phases."""
        return self.run.config.epochs

    def step(self) -> dict[str, Any]:
        """Train one epoch and return its metrics, or the reason of a failure."""
        try:
            metrics = self.run.run_epoch()
        except NonFiniteLossError as error:
            return {"epoch": self.run.epoch, "failure": str(error), "done": True}
        return metrics | {"device": self.device_name, "done": self.run.epoch >= self.last_epoch}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write the state of the run into `checkpoint_dir`."""
        self._checksum = write_checkpoint(Path(checkpoint_dir), self.run.state_dict())

    def save(self, checkpoint_dir: str | None = None) -> Any:
        """Save a checkpoint; Ray's object for it carries the checksum to the driver in the attribute `sha256`.

        The checkpoint is written directly to the study's storage. Ray itself would write it to a temporary folder and
        copy that folder.
        """
        if checkpoint_dir is not None or self._storage is None:
            result = super().save(checkpoint_dir)
        else:
            result = self._save_in_storage(self._storage)
        result.checkpoint.sha256 = self._checksum
        return result

    def _save_in_storage(self, storage: Any) -> _TrainingResult:
        """Write the state of the run to the place of the next checkpoint in Ray's storage."""
        metrics = dict(self._last_result or {})
        storage._update_checkpoint_index(metrics)
        storage._check_validation_file()  # raises an error if this node does not see the files of the others
        files, folder = storage.storage_filesystem, storage.checkpoint_fs_path
        files.create_dir(folder)
        if isinstance(files, LocalFileSystem):
            self.save_checkpoint(folder)
        else:
            content = BytesIO()  # serialized first: an error while the stream is open would leave a partial file
            self._checksum = write_state(content, self.run.state_dict())
            with files.open_output_stream(f"{folder}/{CHECKPOINT_FILE}") as file:
                file.write(content.getbuffer())
        return _TrainingResult(checkpoint=tune.Checkpoint(folder, filesystem=files), metrics=metrics)

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        """Restore the state of the run from `checkpoint_dir`; raise DamagedFileError if it cannot be read."""
        load(self.run, read_checkpoint(Path(checkpoint_dir), self.run.device))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Replace the run by a new one of `new_config`, so that Ray can reuse the actor; return True."""
        # The run is rebuilt completely: a tensor left over from the previous trial would be a silent error. The old run
        # and its memory are freed first, since other trials may share the GPU or the machine.
        del self.run
        free_memory()
        self.setup(new_config)
        return True


class RegularizedTraining(CompressionTrial):
    """Ray Trainable that runs the regularize phase alone; it ends with regularized float weights."""

    @property
    def last_epoch(self) -> int:
        """Last epoch of the regularize phase."""
        return self.run.config.regularize_epochs


class Finetuning(CompressionTrial):
    """Ray Trainable that runs the finetune phase alone.

    `restore_from` must hold a checkpoint of a finished `RegularizedTraining`.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Build the run and restore the end of its regularize phase.

        Raises:
            ValueError: `restore_from` is empty, or its checkpoint is not at the end of the regularize phase.
        """
        if not config.get("restore_from"):
            raise ValueError("restore_from must hold the path of a checkpoint of RegularizedTraining, got none; set it")
        super().setup(config)
        if self.run.epoch < self.run.config.regularize_epochs or self.run.config.finetune_epochs == 0:
            raise ValueError(
                f"restore_from must hold a finished {self.run.phase.name} phase to follow with {FINETUNE}, got epoch "
                f"{self.run.epoch} of {self.run.config.regularize_epochs} and {self.run.config.finetune_epochs} epochs "
                "to follow; train the first phase to its end and set finetune_epochs"
            )


def train_baseline(trial: dict[str, Any], cpus: int, folder: str) -> Iterator[dict[str, Any]]:
    """Train the float network for the length of the regularize phase, and write its checkpoint to `folder`.

    After each epoch a temporary checkpoint is written beside `folder`; an interrupted training resumes from it.

    Args:
        trial: a `TrialConfig` of the float network, as a dictionary.
        cpus: number of threads.
        folder: path or URI of the checkpoint. A path comes into existence only once the checkpoint is complete.

    Yields:
        `epoch`, `val_accuracy` and `train_seconds` of each epoch, as `CompressionRun.run_epoch` returns them. Epochs
        that were trained before an interruption are repeated. The last item, `sha256` alone, is the checksum of the
        checkpoint, which is complete then.

    Raises:
        NonFiniteLossError: the loss is not finite.
    """
    prepare_process(cpus)
    run = CompressionRun(TrialConfig.from_dict(trial), "cuda" if torch.cuda.is_available() else "cpu")
    unfinished = _with_suffix(folder, ".so-far")
    past_metrics: list[dict[str, Any]] = []
    if (state := _first_undamaged([unfinished, *_drafts(unfinished)], run.device, {})) and METRICS_KEY in state:
        state["generator"] = state["generator"].cpu()
        run.load_state_dict(state)
        past_metrics = state[METRICS_KEY]
    # Past epochs are repeated: when Ray restarts a task whose node was lost, it skips as many items as it has received.
    # A generator expression is needed here, since Ray calls `send`, which the iterator of a list does not have.
    yield from (metrics for metrics in past_metrics)
    while run.epoch < run.config.regularize_epochs:
        metrics = run.run_epoch()
        past_metrics.append({name: metrics[name] for name in ("epoch", "val_accuracy", "train_seconds")})
        _write_whole_checkpoint(unfinished, run.state_dict() | {METRICS_KEY: past_metrics})
        yield past_metrics[-1]
    yield {"sha256": _write_whole_checkpoint(folder, run.state_dict())}
    _remove(unfinished)
    for draft in _drafts(unfinished):
        shutil.rmtree(draft, ignore_errors=True)
    # Ray may keep this idle process alive while others train trials.
    del run, state
    gc.collect()
    give_back_memory()


def measure_sensitivity(trial: dict[str, Any], cpus: int, checkpoint: str | None) -> dict[str, Any]:
    """Return the sensitivity of the float network that a trial begins from (`trainables.groups.sensitivity`).

    Args:
        trial: a `TrialConfig` with `init: pretrained`, as a dictionary.
        cpus: number of threads.
        checkpoint: path or URI of the float network; None where the trial names its initial weights.
    """
    prepare_process(cpus)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    weights = None
    if checkpoint is not None:
        with tune.Checkpoint(checkpoint).as_directory() as folder:
            weights = read_weights(Path(folder), device)
    result = measure(CompressionRun(TrialConfig.from_dict(trial), device, weights)).to_dict()
    gc.collect()
    give_back_memory()
    return result


def _restored(config: dict[str, Any], device: torch.device) -> dict[str, Any] | None:
    """Return the state from which a trial continues; None if it starts from epoch 0."""
    return _first_undamaged(config.get("restore_from", []), device, config.get("checksums", {}))


def _first_undamaged(
    checkpoints: Iterable[str], device: torch.device, checksums: Mapping[str, str]
) -> dict[str, Any] | None:
    """Return the state in the first of these paths or URIs whose checkpoint can be read; None if there is none.

    Epochs that only a damaged, newer checkpoint covered are trained again, with the same result.
    """
    for checkpoint in checkpoints:
        try:
            with tune.Checkpoint(checkpoint).as_directory() as folder:
                return read_checkpoint(Path(folder), device, checksums.get(checkpoint))
        except (DamagedFileError, FileNotFoundError):
            continue
    return None


def _with_suffix(folder: str, suffix: str) -> str:
    """Return a path or URI with a suffix appended to its name; the options of a URI stay at its end."""
    path, mark, options = folder.partition("?") if "://" in folder else (folder, "", "")
    return f"{path}{suffix}{mark}{options}"


def _write_whole_checkpoint(folder: str, state: dict[str, Any]) -> str:
    """Write a checkpoint to a path or URI, and return its checksum.

    A path appears only when the checkpoint is complete; an earlier checkpoint there is deleted just before.
    """
    if "://" in folder:
        with TemporaryDirectory() as scratch:
            digest = write_checkpoint(Path(scratch), state)
            copy_files(scratch, folder)
        return digest
    # A unique name, and a folder that must not exist yet: nothing is written through a link that somebody put there.
    draft = Path(f"{folder}.{uuid.uuid4().hex[:12]}{DRAFT}")
    draft.parent.mkdir(parents=True, exist_ok=True)
    draft.mkdir()
    digest = write_checkpoint(draft, state)
    shutil.rmtree(folder, ignore_errors=True)  # the checkpoint of the previous epoch, or a damaged one
    draft.rename(folder)
    return digest


def _drafts(folder: str) -> list[str]:
    """Return the drafts of a folder that killed processes have left, newest first; there are none at a URI."""
    if "://" in folder:
        return []
    path = Path(folder)
    drafts = [draft for draft in path.parent.glob(f"{glob.escape(path.name)}*{DRAFT}") if not draft.is_symlink()]
    return [str(draft) for draft in sorted(drafts, key=lambda draft: draft.stat().st_mtime, reverse=True)]


def _remove(folder: str) -> None:
    """Delete the folder of a path or URI with its content."""
    if "://" in folder:
        store, path = FileSystem.from_uri(folder)
        store.delete_dir(path)
    else:
        shutil.rmtree(folder)
