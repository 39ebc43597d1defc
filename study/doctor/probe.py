"""Functions that a Ray task runs on one node of a cluster to measure its state; they return plain values."""

import ast
import hashlib
import os
import platform
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.cluster.cores import available_cores
from study.records.provenance import code_checksum, version_of

PACKAGES = ("qar", "ray", "torch", "torchvision", "numpy", "optuna")
"""Packages that must have the same version on all nodes: they affect results, or exchange pickled objects."""

GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Device files of the drivers of NVIDIA, AMD and WSL. Without one of them torch sees no GPU and isn't imported."""

SAMPLE = 1000
"""Images of each split that go into a data set's checksum, evenly spaced."""


@dataclass(frozen=True)
class NodeProbe:
    """Values measured on a node.

    Attributes:
        hostname: name of the node, as trials report it.
        versions: versions of Python and of `PACKAGES`, and `code`, a checksum of this package's own files; None for
            a missing package.
        cores: number of cores that processes may use.
        gpus: names of the GPUs that torch sees.
        disk_free: free bytes on the disk of Ray's temporary folder.
        shm_total: size of /dev/shm in bytes; None where it doesn't exist.
        open_files: number of files that a process may open.
        token: whether Ray requires a token.
        dataset: checksum of the study's data set; None if none was requested or it can't be loaded.
        dataset_error: reason why the data set can't be loaded, in one line; None if it can.
        parts: number of the study's parts by import path that were imported.
        parts_error: reason why one can't be imported, in one line; None if all can.
        kernels_error: reason why Triton can't launch kernels on a GPU, in one line; None if it can, or there is no GPU.
    """

    hostname: str
    versions: dict[str, str | None]
    cores: int
    gpus: list[str]
    disk_free: int
    shm_total: int | None
    open_files: int
    token: bool
    dataset: str | None = None
    dataset_error: str | None = None
    parts: int = 0
    parts_error: str | None = None
    kernels_error: str | None = None


def probe_node(
    trial: dict[str, Any] | None, temporary: str | None = None, parts: Mapping[str, Sequence[str]] | None = None
) -> NodeProbe:
    """Measure the state of the node on which this runs.

    Args:
        trial: configuration of a trial whose data set is loaded; None to load none.
        temporary: Ray's temporary folder; None for Python's.
        parts: import paths of the study's parts, by kind.
    """
    shm = Path("/dev/shm")
    dataset, dataset_error = _dataset(trial) if trial else (None, None)
    versions = {package: version_of(package) for package in PACKAGES}
    gpus = _gpus()
    return NodeProbe(
        hostname=socket.gethostname(),
        versions={"python": platform.python_version(), **versions, "code": code_checksum()[:8]},
        cores=available_cores(),
        gpus=gpus,
        kernels_error=_kernels_error() if gpus else None,
        disk_free=shutil.disk_usage(temporary or tempfile.gettempdir()).free,
        shm_total=shutil.disk_usage(shm).total if shm.is_dir() else None,
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        token=os.environ.get("RAY_AUTH_MODE") == "token",
        dataset=dataset,
        dataset_error=dataset_error,
        parts=sum(len(names) for names in (parts or {}).values()),
        parts_error=_parts_error(parts or {}),
    )


def clock() -> float:
    """Return the time of this node's clock, in seconds since 1970."""
    return time.time()


_NAME_GPUS = """
import torch
print([torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())])
"""

_TRY_KERNELS = """
from trainables.fused.launching import why_not
print([why_not()])
"""

_SECONDS_OF_SCRIPT = 120.0
"""Seconds after which a script that asks a GPU counts as stuck."""


def _gpus() -> list[str]:
    """Return the names of the GPUs that torch sees."""
    if not any(Path(device).exists() for device in GPU_DEVICES):
        return []
    try:
        return _list_from(_NAME_GPUS)
    except (OSError, subprocess.SubprocessError):
        return []


def _kernels_error() -> str | None:
    """Return why Triton can't launch kernels on the GPUs of this node; None if it can."""
    try:
        (reason,) = _list_from(_TRY_KERNELS)
    except subprocess.CalledProcessError as error:
        return (error.stderr.splitlines() or [f"exit status {error.returncode}"])[-1]
    except subprocess.TimeoutExpired:
        return f"no answer within {_SECONDS_OF_SCRIPT:g} seconds"
    return reason


def _list_from(script: str) -> list[Any]:
    """Return the list that a script prints last, in a new process: Ray hides GPUs from tasks without them."""
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))  # Ray has added the package's folder to it
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=_SECONDS_OF_SCRIPT
    )
    printed: list[Any] = ast.literal_eval(done.stdout.splitlines()[-1])
    return printed


def _parts_error(parts: Mapping[str, Sequence[str]]) -> str | None:
    from trainables.import_path import PartError, resolve

    try:
        for kind, names in parts.items():
            for name in names:
                resolve(kind, name)
    except PartError as error:
        return str(error)
    return None


def _dataset(trial: dict[str, Any]) -> tuple[str | None, str | None]:
    from trainables.data.datasets import load_dataset

    try:
        dataset = load_dataset(trial["dataset"], trial["data_dir"])
    except Exception as error:  # a damaged file raises errors of many types
        return None, str(error).splitlines()[0]
    digest = hashlib.sha256()
    for images, labels in ((dataset.x_train, dataset.y_train), (dataset.x_test, dataset.y_test)):
        digest.update(f"{images.shape} {labels.shape}".encode())
        every = max(1, len(images) // SAMPLE)
        digest.update(images[::every].tobytes())
        digest.update(labels.tobytes())
    return digest.hexdigest()[:12], None
