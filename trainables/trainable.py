"""Ray's side of a trial: thin adapters around `CompressionRun`. The only module here that imports Ray."""

import gc
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pyarrow.fs import copy_files
from ray import tune

from trainables.checkpoint import read_checkpoint, write_checkpoint
from trainables.config import TrialConfig
from trainables.process import give_back_memory, prepare_process
from trainables.result import FINETUNE, DamagedFileError
from trainables.run import CompressionRun, NonFiniteLossError


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
                weights = read_checkpoint(Path(folder), device)["model"]
        self.run = CompressionRun(TrialConfig.from_dict(config["trial"]), device, weights)
        for checkpoint in config.get("restore_from", []):
            try:
                with tune.Checkpoint(checkpoint).as_directory() as folder:
                    self.load_checkpoint(folder)
                break
            except (DamagedFileError, FileNotFoundError):
                continue  # its training is done again, with the same result

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
        state = read_checkpoint(Path(checkpoint_dir), self.run.device)
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


def train_baseline(trial: dict[str, Any], cpus: int, folder: str) -> Iterator[float]:
    """Trains the float baseline for the length of the first phase, and leaves a checkpoint in `folder`.

    Args:
        trial: a `TrialConfig` of the float baseline, as a dictionary.
        cpus: threads.
        folder: of the checkpoint, a path or a URI; a path appears when all of it is there.

    Yields:
        The validation accuracy after each epoch, in [0, 1]. The checkpoint is there when no more comes.

    Raises:
        NonFiniteLossError: it diverges.
    """
    prepare_process(cpus)
    run = CompressionRun(TrialConfig.from_dict(trial), "cuda" if torch.cuda.is_available() else "cpu")
    while run.epoch < run.config.regularize_epochs:
        yield run.run_epoch()["val_accuracy"]
    _leave_checkpoint(folder, run)
    # Ray may keep this process beside those that train trials.
    del run
    gc.collect()
    give_back_memory()


def _leave_checkpoint(folder: str, run: CompressionRun) -> None:
    """Writes the state of a run to a path, where it appears when all of it is there, or to a URI."""
    if "://" in folder:
        with TemporaryDirectory() as scratch:
            write_checkpoint(Path(scratch), run.state_dict())
            copy_files(scratch, folder)
        return
    draft = Path(f"{folder}.draft")
    draft.mkdir(parents=True, exist_ok=True)
    write_checkpoint(draft, run.state_dict())
    shutil.rmtree(folder, ignore_errors=True)  # a damaged one
    draft.rename(folder)
