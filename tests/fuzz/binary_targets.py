"""Fuzzing targets that are binary: checkpoints, exported files and prepared data sets."""

import hashlib
import os
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.fuzz.target import Target
from trainables.checkpoint import CHECKPOINT_FILE, CHECKSUM_FILE, read_checkpoint, write_checkpoint
from trainables.codebooks import artifact as artifacts
from trainables.codebooks.artifact import Artifact, read_artifact, write_artifact
from trainables.config import TrialConfig
from trainables.data.datasets import load_dataset
from trainables.data.npz import read_npz
from trainables.data.prepared import ARRAYS
from trainables.errors import DamagedFileError
from trainables.run import CompressionRun


def _small_run() -> CompressionRun:
    return CompressionRun(TrialConfig(family="RM", num_levels=4, lam=0.01, width=0.1, subset=100))


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
    """`trial.pt` whose checksum is right whatever it holds: another value of a tensor can't be noticed."""

    def read(self, path: Path) -> Any:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        (path.parent / CHECKSUM_FILE).write_text(f"{digest}  {CHECKPOINT_FILE}\n")
        return read_checkpoint(path.parent)

    def accepts(self, damage: str, sound: Any, result: Any) -> bool:
        return isinstance(result, dict)


class ArtifactTarget(Target):
    """A file that `qar export` writes."""

    errors = (DamagedFileError,)

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True)
        write_artifact(folder / "network.qar", replace(_small_run().artifact({"val_accuracy": 0.5})))
        return folder / "network.qar"

    def read(self, path: Path) -> Any:
        artifact = read_artifact(path)
        return artifact.config, {name: _digest(tensor) for name, tensor in artifact.state_dict().items()}


class SealedArtifactTarget(ArtifactTarget):
    """The same with a right checksum whatever it holds."""

    def read(self, path: Path) -> Any:
        content = path.read_bytes()
        if place := artifacts._CHECKSUM.search(content):
            path.write_bytes(artifacts._with_checksum(content, place, artifacts._checksum(content, place)))
        artifact = read_artifact(path)
        assert artifact.build() is not None
        return artifact

    def accepts(self, damage: str, sound: Any, result: Any) -> bool:
        return isinstance(result, Artifact)


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
