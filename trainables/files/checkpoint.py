"""Checkpoint file of a trial, with a checksum that reveals a truncated or altered file. No Ray."""

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from trainables.errors import DamagedFileError, IrregularFileError, message_of
from trainables.files.checkpoint_inspection import inspect_checkpoint
from trainables.files.regular import open_regular, read_regular
from trainables.files.seal import SealingWriter, Sink, sealed_sum

CHECKPOINT_FILE = "trial.pt"
MOST_CHECKSUM_BYTES = 1024
CHECKSUM_FILE = "trial.pt.sha256"
"""Name of the checksum file beside a checkpoint of an earlier version; the present one holds its own checksum."""


def write_checkpoint(folder: Path, state: dict[str, Any]) -> str:
    """Write the state of a trial into a folder, as one file.

    Args:
        folder: an existing folder.
        state: as `CompressionRun.state_dict` returns it.

    Returns:
        The checksum of the file, by which the ledger knows it.

    Raises:
        OSError: the disk is full or permission is missing; the error names the file, which is removed.
    """
    path = folder / CHECKPOINT_FILE
    try:
        # Given a path in place of an open file, PyTorch raises an error without an errno when the disk is full.
        with path.open("wb") as file:
            digest = write_state(file, state)
    except OSError as error:
        with suppress(OSError):
            path.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from None
    with suppress(FileNotFoundError):
        (folder / CHECKSUM_FILE).unlink()  # of a checkpoint of an earlier version, which the new one has replaced
    return digest


def write_state(sink: Sink, state: dict[str, Any]) -> str:
    """Write the state of a trial to an open file, from its beginning to its end; return the file's checksum."""
    writer = SealingWriter(sink)
    torch.save(state, writer)  # type: ignore[arg-type]  # PyTorch calls `write` and `flush` alone
    return writer.seal()


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
        content = _checked_sum(folder)
        if content is None:
            raise DamagedFileError(f"{path} is damaged: its content does not match its checksum")
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
        reason = message_of(error)[:300]
        raise DamagedFileError(f"{path} is not a checkpoint of a trial: {reason}") from None
    return state


def read_sum(folder: Path) -> str | None:
    """Return the checksum of a checkpoint's file; None if it can't be read or is damaged."""
    try:
        return _checked_sum(folder)
    except (OSError, ValueError, IrregularFileError):
        return None


def _checked_sum(folder: Path) -> str | None:
    """Return the checksum of a checkpoint's file; None if the file does not match the checksum beside it or in it."""
    path = folder / CHECKPOINT_FILE
    try:
        stated = read_regular(folder / CHECKSUM_FILE, MOST_CHECKSUM_BYTES).decode().split()
    except FileNotFoundError:
        return sealed_sum(path)
    content = _sha256(path)
    return content if stated == [content, CHECKPOINT_FILE] else None


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
