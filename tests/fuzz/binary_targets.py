"""Fuzzing targets that are binary: checkpoints, exported files and prepared data sets."""

import hashlib
import os
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from study.ledger.facts import BASELINE_WRITTEN
from study.ledger.ledger import Ledger
from study.storage.folder import StudyFolder
from tests.fuzz.target import Target
from tests.support.example_studies import start_session, study_config
from trainables.codebooks import artifact_file as artifacts
from trainables.codebooks import asymmetric
from trainables.codebooks.artifact import Artifact
from trainables.codebooks.artifact_file import read_artifact, write_artifact
from trainables.codebooks.bits import ASYMMETRIC, COMPACT
from trainables.config import TrialConfig
from trainables.data.datasets import load_dataset
from trainables.data.npz import read_npz
from trainables.data.prepared import ARRAYS
from trainables.errors import DamagedFileError
from trainables.files.checkpoint import CHECKPOINT_FILE, CHECKSUM_FILE, read_checkpoint, read_weights, write_checkpoint
from trainables.run import CompressionRun


def _small_run() -> CompressionRun:
    return CompressionRun(TrialConfig(family="RM", num_levels=4, lam=0.01, width=0.1, subset=100))


def _seal(path: Path) -> None:
    """Write the checksum of a damaged checkpoint anew."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (path.parent / CHECKSUM_FILE).write_text(f"{digest}  {CHECKPOINT_FILE}\n")


def _digest(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()


class CheckpointTarget(Target):
    """`trial.pt` beside its checksum."""

    errors = (DamagedFileError,)

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True)
        write_checkpoint(folder, _small_run().state_dict())
        return folder / CHECKPOINT_FILE

    def read(self, path: Path) -> Any:
        state = read_checkpoint(path.parent)
        return {name: _digest(tensor) for name, tensor in state["model"].items()}


class SealedCheckpointTarget(CheckpointTarget):
    """`trial.pt` of a trial whose checksum was made anew after the damage: the ledger holds the right one.

    The trial may lie in a folder or in a bucket: its actor states the checksum to the driver in both.
    """

    recorded: str

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True)
        self.recorded = write_checkpoint(folder, _small_run().state_dict())
        return folder / CHECKPOINT_FILE

    def read(self, path: Path) -> Any:
        _seal(path)
        state = read_checkpoint(path.parent, expected=self.recorded)
        return {name: _digest(tensor) for name, tensor in state["model"].items()}


class SealedBaselineTarget(Target):
    """`trial.pt` of a study's float network, sealed in the same way, as `qar reproduce` reads it."""

    errors = (DamagedFileError,)

    def write(self, folder: Path) -> Path:
        study = StudyFolder(folder)
        study.create(study_config(trial={"init": "pretrained"}, baseline_epochs=1))
        study.baseline(0).mkdir(parents=True)
        digest = write_checkpoint(study.baseline(0), _small_run().state_dict())
        with closing(Ledger(study.ledger)) as ledger:
            start_session(ledger)
            ledger.record(BASELINE_WRITTEN, seed=0, sha256=digest)
        return study.baseline(0) / CHECKPOINT_FILE

    def read(self, path: Path) -> Any:
        _seal(path)
        expected = StudyFolder(path.parents[2]).read_history().baseline_sums[0]
        return {name: _digest(tensor) for name, tensor in read_weights(path.parent, expected=expected).items()}


class UnrecordedCheckpointTarget(CheckpointTarget):
    """The same of a study of an earlier version, whose ledger holds no checksum, or of a float network in training.

    Such a file is by definition another valid checkpoint: nothing else holds the values of its tensors, so another
    value can't be noticed. It must still be harmless and hold a dictionary.
    """

    def read(self, path: Path) -> Any:
        _seal(path)
        return read_checkpoint(path.parent)

    def accepts(self, damage: str, sound: Any, result: Any) -> bool:
        return isinstance(result, dict)


class ArtifactTarget(Target):
    """A file that `qar export` writes."""

    errors = (DamagedFileError,)

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True)
        write_artifact(folder / "network.qar", self.artifact())
        return folder / "network.qar"

    def artifact(self) -> Artifact:
        return _small_run().artifact({"val_accuracy": 0.5})

    def read(self, path: Path) -> Any:
        artifact = read_artifact(path)
        return artifact.config, {name: _digest(tensor) for name, tensor in artifact.state_dict().items()}


class SealedArtifactTarget(ArtifactTarget):
    """The same with a checksum that was made anew after the damage.

    Such a file is by definition another valid artifact. It travels alone, without the study that it comes from, so
    nothing else holds its values. It must still be harmless, and describe a network that can be built.
    """

    def read(self, path: Path) -> Any:
        content = path.read_bytes()
        if place := artifacts._CHECKSUM.search(content):
            path.write_bytes(artifacts._with_checksum(content, place, artifacts._checksum(content, place)))
        artifact = read_artifact(path)
        assert artifact.build() is not None
        return artifact

    def accepts(self, damage: str, sound: Any, result: Any) -> bool:
        return isinstance(result, Artifact)


def _uneven_levels(shape: torch.Size, num_levels: int) -> torch.Tensor:
    """Levels, nine in ten of which are the first: Huffman would give each a whole bit."""
    rng = np.random.default_rng(0)
    return torch.from_numpy(np.minimum(rng.geometric(0.9, tuple(shape)) - 1, num_levels - 1).astype(np.int32))


class EntropyCodedArtifactTarget(ArtifactTarget):
    """A file all of whose large layers are coded by an asymmetric numeral system."""

    coding, code = "entropy", ASYMMETRIC

    def values(self, trained: torch.Tensor) -> torch.Tensor:
        """Representatives of a layer."""
        return trained

    def artifact(self) -> Artifact:
        artifact = super().artifact()
        codebooks = {
            name: (self.values(values), _uneven_levels(levels.shape, len(self.values(values))))
            for name, (values, levels) in artifact.codebooks.items()
        }
        artifact = replace(artifact, codebooks=codebooks, coding=self.coding)
        assert self.code in {layer.code for layer in artifact.bits.layers.values()}
        return artifact


class SealedEntropyCodedArtifactTarget(SealedArtifactTarget, EntropyCodedArtifactTarget):
    """The same with a right checksum whatever it holds."""


class CompactArtifactTarget(EntropyCodedArtifactTarget):
    """The same with 64 levels and short tables."""

    coding, code = "compact", COMPACT

    def values(self, trained: torch.Tensor) -> torch.Tensor:
        return torch.linspace(-1, 1, 64)  # a table of a byte a level is long


class SealedCompactArtifactTarget(SealedArtifactTarget, CompactArtifactTarget):
    """The same with a right checksum whatever it holds."""


class StreamTarget(Target):
    """The table and the stream of an asymmetric numeral system, which have no checksum of their own."""

    errors = (ValueError,)
    num_levels, num_weights = 6, 5000

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True)
        levels = _uneven_levels(torch.Size([self.num_weights]), self.num_levels).numpy()
        counts = np.bincount(levels, minlength=self.num_levels).tolist()
        costs = asymmetric.code_costs(counts)
        (folder / "stream").write_bytes(bytes(costs) + asymmetric.encode(levels, counts, costs).tobytes())
        return folder / "stream"

    def read(self, path: Path) -> Any:
        content = np.frombuffer(path.read_bytes(), np.uint8)
        costs = content[: self.num_levels].tolist()
        levels = asymmetric.decode(content[self.num_levels :], costs, self.num_weights)
        assert len(levels) == self.num_weights
        assert levels.min() >= 0
        assert levels.max() < self.num_levels
        return levels

    def accepts(self, damage: str, sound: Any, result: Any) -> bool:
        return isinstance(result, np.ndarray)


class PreparedTarget(Target):
    """A prepared data set, whose archive has checksums; each case is unpacked anew."""

    errors = (ValueError,)
    _times = count(10**18)

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True)
        images, labels = np.arange(8 * 48, dtype=np.uint16).astype(np.uint8).reshape(8, 4, 4, 3), np.arange(8) % 2
        np.savez_compressed(folder / "small.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
        assert set(read_npz(folder / "small.npz", ARRAYS, ())) == set(ARRAYS)
        return folder / "small.npz"

    def read(self, path: Path) -> Any:
        os.utime(path, ns=(0, next(self._times)))
        dataset = load_dataset(f"npz:{path}")
        return [getattr(dataset, name).tobytes() for name in ARRAYS]
