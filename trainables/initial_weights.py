"""Float weights from which trials begin: those of a float network, or of a user's file with a `state_dict`."""

import hashlib
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile, is_zipfile

import torch
from torch import Tensor, nn

from trainables.data.fetched import fetched, is_uri
from trainables.errors import IrregularFileError, message_of
from trainables.files.checkpoint_inspection import check_archive
from trainables.files.regular import open_regular

KEY = "trial.initial_weights"
MOST_KEYS_SHOWN = 3
MOST_CHARACTERS_OF_A_KEY = 100
WRAPPERS = ("state_dict", "model")
"""Keys under which training scripts usually store the `state_dict` beside other values."""

_FOREIGN = re.compile(r"(?:unsupported|global:) GLOBAL ([\w.]+)")
"""Name of an object other than a tensor in PyTorch's message."""

_SAVE = "save it with torch.save(model.state_dict(), path)"


def load_float_network(model: nn.Module, weights: Mapping[str, Tensor], name: str) -> None:
    """Load the tensors of a float network into a network.

    Args:
        model: the network.
        weights: tensors of the float network, by name.
        name: name of the model, for error messages.

    Raises:
        ValueError: the tensors are another network's; one line.
    """
    try:
        model.load_state_dict(weights)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = message_of(error)[:300]
        raise ValueError(
            f"the float network must hold the tensors of model {name!r}, got others: {reason}; restore it from a copy"
        ) from None


def load_initial_weights(model: nn.Module, path: str, name: str, fetch: bool = True) -> None:
    """Load the weights of a file into a network.

    Args:
        model: the network.
        path: path or URI of the file. Only tensors and plain values are read (`weights_only`).
        name: name of the model, for error messages.
        fetch: whether a file at a URI may be fetched.

    Raises:
        ValueError: the file can't be read, or holds another network's tensors; one line that names the first keys.
    """
    weights = _read(path, fetch)
    expected = model.state_dict()
    counters = {key for key in expected if key.endswith("num_batches_tracked")}
    differences = {
        "lacks": [key for key in expected if key not in weights and key not in counters],
        "also holds": [key for key in weights if key not in expected],
        "has the wrong shape for": [
            f"{key} {tuple(weights[key].shape)} instead of {tuple(expected[key].shape)}"
            for key in expected
            if key in weights and weights[key].shape != expected[key].shape
        ],
        "has the wrong kind of tensor for": [
            f"{key} {_kind(weights[key])} instead of {_kind(expected[key])}"
            for key in expected
            if key in weights and _kind(weights[key]) != _kind(expected[key])
        ],
    }
    if any(differences.values()):
        text = "; ".join(f"it {kind} {_first(keys)}" for kind, keys in differences.items() if keys)
        raise ValueError(
            f"{KEY} {path!r} must hold the tensors of model {name!r}, got others: {text}; "
            "name another file, or the model and the options that it was trained with"
        )
    if infinite := [key for key, tensor in weights.items() if not tensor.to(expected[key].dtype).isfinite().all()]:
        raise ValueError(f"{KEY} {path!r} must hold finite numbers, got others in {_first(infinite)}; train them again")
    model.load_state_dict({key: expected[key] for key in counters - set(weights)} | weights)


def checksum_of_file(path: str, fetch: bool = True) -> str:
    """Return the SHA-256 of the file at a path or URI in hexadecimal; raises as `load_initial_weights` does."""
    with _opened(path, fetch) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _opened(path: str, fetch: bool) -> Any:
    if is_uri(path) and not fetch:
        raise ValueError(f"{KEY} at {path} must not be fetched, since a file names it; allow it with --trust-addresses")
    try:
        return open_regular(fetched(path) if is_uri(path) else Path(path).expanduser())
    except OSError as error:
        raise ValueError(
            f"{KEY} must be the path of a file on every node that trains, got {path!r} ({error.strerror}); correct it"
        ) from None
    except IrregularFileError as error:
        raise ValueError(f"{KEY} must be the path of a file, got {path!r} ({error}); correct it") from None


def _read(path: str, fetch: bool) -> dict[str, Tensor]:
    with _opened(path, fetch) as file:
        try:
            with warnings.catch_warnings(action="ignore"):  # of tensors that are refused below
                if is_zipfile(file):
                    check_archive(ZipFile(file), os.fstat(file.fileno()).st_size)
                file.seek(0)
                content = torch.load(file, map_location="cpu", weights_only=True)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a damaged or hostile file raises errors of many types
            reason = _reason(error)
            raise ValueError(
                f"{KEY} must be a file of tensors that torch.load reads with weights_only=True, got {path!r} "
                f"({reason}); {_SAVE}"
            ) from None
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise ValueError(f"{KEY} must hold a state_dict, got {type(content).__name__} in {path!r}; {_SAVE}")
    return dict(content)


def _reason(error: Exception) -> str:
    """Return why PyTorch can't read a file, without its advice to run the code that the file holds."""
    text = message_of(error)
    if match := _FOREIGN.search(text):
        return f"it holds {match[1]}, which is no tensor"
    return text.rpartition("WeightsUnpickler error: ")[2][:200] or type(error).__name__


def _kind(tensor: Tensor) -> str:
    """Return what a tensor must have in common with one that it is copied to."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        return "a meta tensor" if tensor.is_meta else "quantized" if tensor.is_quantized else "sparse"
    return "complex" if tensor.is_complex() else "floats" if tensor.is_floating_point() else "integers"


def _first(keys: list[str]) -> str:
    keys = [
        key[:MOST_CHARACTERS_OF_A_KEY] if key.isprintable() else repr(key)[:MOST_CHARACTERS_OF_A_KEY] for key in keys
    ]
    more = f" and {len(keys) - MOST_KEYS_SHOWN} more" if len(keys) > MOST_KEYS_SHOWN else ""
    return ", ".join(keys[:MOST_KEYS_SHOWN]) + more
