"""Checkpoint files of a trial, with a checksum that reveals truncated or altered files. No Ray."""

import hashlib
import re
from pathlib import Path
from typing import Any

import torch

from trainables.errors import DamagedFileError, IrregularFileError
from trainables.files.checkpoint_inspection import inspect_checkpoint
from trainables.files.regular import open_regular, read_regular

CHECKPOINT_FILE = "trial.pt"
MOST_CHECKSUM_BYTES = 1024
CHECKSUM_FILE = "trial.pt.sha256"
"""Name of the checksum file; `sha256sum --check trial.pt.sha256` verifies it."""

_SHA256 = re.compile("[0-9a-f]{64}")


def write_checkpoint(folder: Path, state: dict[str, Any]) -> str:
    """Write the state of a trial and its checksum into a folder.

    Args:
        folder: an existing folder.
        state: as `CompressionRun.state_dict` returns it.

    Returns:
        The checksum of the file, by which the ledger knows it.

    Raises:
        OSError: the disk is full or permission is missing; the error names the file.
    """
    path = folder / CHECKPOINT_FILE
    try:
        # Given a path in place of an open file, PyTorch raises an error without an errno when the disk is full.
        with path.open("wb") as file:
            torch.save(state, file)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    digest = _sha256(path)
    (folder / CHECKSUM_FILE).write_text(f"{digest}  {CHECKPOINT_FILE}\n")
    return digest


def read_checkpoint(folder: Path, device: str | torch.device = "cpu", expected: str | None = None) -> dict[str, Any]:
    """Return the state that `write_checkpoint` wrote into a folder.

    Args:
        folder: folder of the checkpoint.
        device: device of the tensors that are returned.
        expected: checksum that the ledger holds of the file; None if it holds none.

    Raises:
        DamagedFileError: a file is missing, damaged, or not the checkpoint of a trial, or not the one that is expected.
    """
    path = folder / CHECKPOINT_FILE
    try:
        stated = read_regular(folder / CHECKSUM_FILE, MOST_CHECKSUM_BYTES).decode().split()
        content = _sha256(path)
        if stated != [content, CHECKPOINT_FILE]:
            raise DamagedFileError(f"{path} is damaged: its content does not match the checksum in {CHECKSUM_FILE}")
        if expected is not None and content != expected:
            raise DamagedFileError(f"{path} is not the checkpoint that the ledger has recorded: its checksum differs")
    except (OSError, UnicodeDecodeError, IrregularFileError) as error:
        raise DamagedFileError(f"{folder} holds no complete checkpoint: {error}") from None
    try:
        inspect_checkpoint(path)
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a file with a valid checksum and hostile content may raise anything
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise DamagedFileError(f"{path} is not a checkpoint of a trial: {reason}") from None
    return state


def read_sum(folder: Path) -> str | None:
    """Return the checksum that a checkpoint states of its file; None if it can't be read."""
    try:
        digest, _ = read_regular(folder / CHECKSUM_FILE, MOST_CHECKSUM_BYTES).decode("ascii").split()
    except (OSError, ValueError):
        return None
    return digest if _SHA256.fullmatch(digest) else None


def read_weights(
    folder: Path, device: str | torch.device = "cpu", expected: str | None = None
) -> dict[str, torch.Tensor]:
    """Return the network's tensors, by name, of a checkpoint; arguments and errors are those of `read_checkpoint`."""
    weights = read_checkpoint(folder, device, expected).get("model")
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in weights.items()
    ):
        raise DamagedFileError(f"{folder / CHECKPOINT_FILE} is no checkpoint of a trial: it holds no network")
    return weights


def _sha256(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
