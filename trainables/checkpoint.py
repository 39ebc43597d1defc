"""A trial's state on disk, with a checksum: a file that was cut off or altered is told from a good one. No Ray."""

import hashlib
from pathlib import Path
from typing import Any

import torch

from trainables.checkpoint_inspection import inspect_checkpoint
from trainables.errors import DamagedFileError, IrregularFileError
from trainables.files import open_regular, read_regular

CHECKPOINT_FILE = "trial.pt"
MOST_CHECKSUM_BYTES = 1024
CHECKSUM_FILE = "trial.pt.sha256"
"""In the form of the command sha256sum, which can check it: `sha256sum --check trial.pt.sha256`."""


def write_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Writes a state, as `CompressionRun.state_dict` gives it, into a folder that exists.

    Raises:
        OSError: there is no room or no right to; with the file's name.
    """
    path = folder / CHECKPOINT_FILE
    try:
        # Given a path, PyTorch opens it itself, and has an error of its own, without a number, for a full disk.
        with path.open("wb") as file:
            torch.save(state, file)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    (folder / CHECKSUM_FILE).write_text(f"{_sha256(path)}  {CHECKPOINT_FILE}\n")


def read_checkpoint(folder: Path, device: str | torch.device = "cpu") -> dict[str, Any]:
    """The state that `write_checkpoint` has left in a folder, its tensors on `device`.

    Raises:
        DamagedFileError: a file is missing, or what is there is not what was written.
    """
    path = folder / CHECKPOINT_FILE
    try:
        expected = read_regular(folder / CHECKSUM_FILE, MOST_CHECKSUM_BYTES).decode().split()
        if expected != [_sha256(path), CHECKPOINT_FILE]:
            raise DamagedFileError(f"{path} is damaged: it is not what its checksum {CHECKSUM_FILE} was made of")
    except (OSError, UnicodeDecodeError, IrregularFileError) as error:
        raise DamagedFileError(f"{folder} holds no whole checkpoint: {error}") from None
    try:
        inspect_checkpoint(path)
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever a file with a right checksum and hostile content leads to
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise DamagedFileError(f"{path} is no checkpoint of a trial: {reason}") from None
    return state


def read_weights(folder: Path, device: str | torch.device = "cpu") -> dict[str, torch.Tensor]:
    """Return the network's tensors, by name, of a checkpoint; raises as `read_checkpoint` does."""
    weights = read_checkpoint(folder, device).get("model")
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in weights.items()
    ):
        raise DamagedFileError(f"{folder / CHECKPOINT_FILE} is no checkpoint of a trial: it holds no network")
    return weights


def _sha256(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
