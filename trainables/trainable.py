"""Ray's side of a trial: thin adapters around `CompressionRun`. The only module here that imports Ray."""

import gc
import glob
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pyarrow.fs import FileSystem, copy_files
from ray import tune

from trainables.checkpoint import read_checkpoint, read_weights, write_checkpoint
from trainables.config import TrialConfig
from trainables.errors import DamagedFileError
from trainables.process import give_back_memory, prepare_process
from trainables.result import FINETUNE
from trainables.run import CompressionRun, NonFiniteLossError

DRAFT = ".draft"
"""End of the name of a folder where a checkpoint is written before it takes its place."""


class CompressionTrial(tune.Trainable):
    """Both phases of a trial, one epoch a step: what sweeps run.

    Ray's `config` holds `trial`, a `TrialConfig` as a dictionary, and optionally paths or URIs of checkpoints:
    `restore_from`, a list of which the first undamaged one is gone on from (from the beginning if there is none), and
    `initial_weights`, to begin with the weights of the float baseline. A result is what `CompressionRun.run_epoch`
    returns, and `device`; a trial whose loss is not finite ends with `failure`, the reason, which no retry would mend.
    """

    def setup(self, config: dict[str, Any]) -> None:
        resources = self.trial_resources.required_resources if self.trial_resources else {}
        prepare_process(int(resources.get("CPU", 1)))
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device_name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
        weights = None
        if checkpoint := config.get("initial_weights"):
            with tune.Checkpoint(checkpoint).as_directory() as folder:
                weights = read_weights(Path(folder), device)
        self.run = CompressionRun(TrialConfig.from_dict(config["trial"]), device, weights)
        if (state := _first_whole(config.get("restore_from", []), self.run.device)) is not None:
            self._load(state)

    @property
    def last_epoch(self) -> int:
        """The epoch after which the trial is done."""
        return self.run.config.epochs

    def step(self) -> dict[str, Any]:
        try:
            metrics = self.run.run_epoch()
        except NonFiniteLossError as error:
            return {"epoch": self.run.epoch, "failure": str(error), "done": True}
        return metrics | {"device": self.device_name, "done": self.run.epoch >= self.last_epoch}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        write_checkpoint(Path(checkpoint_dir), self.run.state_dict())

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        self._load(read_checkpoint(Path(checkpoint_dir), self.run.device))

    def _load(self, state: dict[str, Any]) -> None:
        state["generator"] = state["generator"].cpu()
        self.run.load_state_dict(state)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        # Everything is built anew: a tensor left over from the actor's last trial would be a silent error. And the old
        # goes first, with what is kept of its memory: other trials may share the GPU, or the machine.
        del self.run
        gc.collect()
        give_back_memory()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.setup(new_config)
        return True


class RegularizedTraining(CompressionTrial):
    """The first phase alone: ends with float weights drawn to their representatives."""

    @property
    def last_epoch(self) -> int:
        return self.run.config.regularize_epochs


class Finetuning(CompressionTrial):
    """The second phase alone: `restore_from` must hold a checkpoint of a finished `RegularizedTraining`.

    Raises:
        ValueError: there is no such checkpoint, or its first phase was not finished.
    """

    def setup(self, config: dict[str, Any]) -> None:
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
    """Trains the float baseline for the length of the first phase, and leaves a checkpoint in `folder`.

    Each epoch leaves one too, beside it: what was interrupted goes on from there.

    Args:
        trial: a `TrialConfig` of the float baseline, as a dictionary.
        cpus: threads.
        folder: of the checkpoint, a path or a URI; a path appears when all of it is there.

    Yields:
        `epoch`, `val_accuracy` and `train_seconds` of each epoch, also of those that were trained before, as
        `CompressionRun.run_epoch` returns them. The checkpoint is there when no more comes.

    Raises:
        NonFiniteLossError: it diverges.
    """
    prepare_process(cpus)
    run = CompressionRun(TrialConfig.from_dict(trial), "cuda" if torch.cuda.is_available() else "cpu")
    so_far = _beside(folder, ".so-far")
    told: list[dict[str, Any]] = []
    if (state := _first_whole([so_far, *_drafts(so_far)], run.device)) and "told" in state:
        state["generator"] = state["generator"].cpu()
        run.load_state_dict(state)
        told = state["told"]
    # All of them: Ray, which begins a task anew when its node is lost, passes over as many as have come. Ray sends to
    # what yields, which a list's iterator can't take.
    yield from (metrics for metrics in told)
    while run.epoch < run.config.regularize_epochs:
        metrics = run.run_epoch()
        told.append({name: metrics[name] for name in ("epoch", "val_accuracy", "train_seconds")})
        _leave_checkpoint(so_far, run.state_dict() | {"told": told})
        yield told[-1]
    _leave_checkpoint(folder, run.state_dict())
    _remove(so_far)
    for draft in _drafts(so_far):
        shutil.rmtree(draft, ignore_errors=True)
    # Ray may keep this process beside those that train trials.
    del run, state
    gc.collect()
    give_back_memory()


def _first_whole(checkpoints: Iterable[str], device: torch.device) -> dict[str, Any] | None:
    """The state in the first of these paths or URIs that holds a whole one.

    The training of those before it is done again, with the same result.
    """
    for checkpoint in checkpoints:
        try:
            with tune.Checkpoint(checkpoint).as_directory() as folder:
                return read_checkpoint(Path(folder), device)
        except (DamagedFileError, FileNotFoundError):
            continue
    return None


def _beside(folder: str, suffix: str) -> str:
    """The path or URI of that name with a suffix; a URI may have options behind its path."""
    path, mark, options = folder.partition("?") if "://" in folder else (folder, "", "")
    return f"{path}{suffix}{mark}{options}"


def _leave_checkpoint(folder: str, state: dict[str, Any]) -> None:
    """Write a state to a path, where it appears when all of it is there, or to a URI."""
    if "://" in folder:
        with TemporaryDirectory() as scratch:
            write_checkpoint(Path(scratch), state)
            copy_files(scratch, folder)
        return
    # A name of its own, and a folder that must not exist: nothing that lies there, as a link, is written through.
    draft = Path(f"{folder}.{uuid.uuid4().hex[:12]}{DRAFT}")
    draft.parent.mkdir(parents=True, exist_ok=True)
    draft.mkdir()
    write_checkpoint(draft, state)
    shutil.rmtree(folder, ignore_errors=True)  # of the epoch before, or a damaged one
    draft.rename(folder)


def _drafts(folder: str) -> list[str]:
    """Return the drafts of a folder that killed processes have left, newest first; there are none at a URI."""
    if "://" in folder:
        return []
    path = Path(folder)
    drafts = [draft for draft in path.parent.glob(f"{glob.escape(path.name)}*{DRAFT}") if not draft.is_symlink()]
    return [str(draft) for draft in sorted(drafts, key=lambda draft: draft.stat().st_mtime, reverse=True)]


def _remove(folder: str) -> None:
    if "://" in folder:
        store, path = FileSystem.from_uri(folder)
        store.delete_dir(path)
    else:
        shutil.rmtree(folder)
