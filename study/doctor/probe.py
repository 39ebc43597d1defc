"""What one node of a cluster is like: looked at there, in a task of Ray's, and sent back as plain values."""

import fcntl
import gc
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
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.cluster.cores import available_cores
from study.errors import StorageError
from study.records.provenance import version_of
from study.storage.object_store import BucketFolder, is_uri

PACKAGES = ("qar", "ray", "torch", "torchvision", "numpy", "optuna")
"""Of which all nodes must have the same version: what decides the numbers, and what must understand each other."""

GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Of NVIDIA's driver, AMD's, and Windows' for Linux: without one of them torch sees no GPU, and need not be asked."""

BATCHES_TIMED = 8
SAMPLE = 1000
"""Images of each split that go into a data set's checksum, spread evenly: enough to tell data sets apart."""


@dataclass(frozen=True)
class NodeProbe:
    """What was seen on a node.

    Attributes:
        hostname: as trials report it.
        versions: of Python, of `PACKAGES`, and of this package's own files; None for one that is missing.
        cores: that processes may use.
        gpus: names of those that torch sees.
        disk_free: bytes, where Ray keeps its temporary files.
        shm_total: bytes of /dev/shm, where Ray keeps its objects; None where there is none.
        open_files: limit of a process.
        token: whether Ray asks for one there.
        dataset: checksum of the study's data set, if one was asked for.
        dataset_error: why that can't be had, in one line.
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


def probe_node(trial: dict[str, Any] | None, temporary: str | None = None) -> NodeProbe:
    """Looks at the node that this runs on.

    Args:
        trial: configuration of a trial whose data set to load; None for none.
        temporary: where Ray keeps its files; None where Python does.
    """
    shm = Path("/dev/shm")
    dataset, dataset_error = _dataset(trial) if trial else (None, None)
    versions = {package: version_of(package) for package in PACKAGES}
    return NodeProbe(
        hostname=socket.gethostname(),
        versions={"python": platform.python_version(), **versions, "code": _code()},
        cores=available_cores(),
        gpus=_gpus(),
        disk_free=shutil.disk_usage(temporary or tempfile.gettempdir()).free,
        shm_total=shutil.disk_usage(shm).total if shm.is_dir() else None,
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        token=os.environ.get("RAY_AUTH_MODE") == "token",
        dataset=dataset,
        dataset_error=dataset_error,
    )


def clock() -> float:
    """Seconds since 1970, there."""
    return time.time()


def write_mark(folder: str, name: str) -> str | None:
    """Writes a file for other nodes to find; returns why that can't be, in one line."""
    try:
        if is_uri(folder):
            BucketFolder.open(folder).write(name, name.encode())
        else:
            Path(folder).mkdir(parents=True, exist_ok=True)
            with (Path(folder) / name).open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as a driver will
                file.write(name)
    except OSError as error:
        return error.strerror or str(error)
    except (ValueError, StorageError) as error:  # of an object store, in one line
        return str(error)
    return None


def unseen_marks(folder: str, names: list[str]) -> list[str]:
    """Those of the files that can't be read here."""

    def seen(name: str) -> bool:
        try:
            if is_uri(folder):
                return BucketFolder.open(folder).read(name) == name.encode()
            return (Path(folder) / name).read_text() == name
        except (OSError, ValueError, StorageError):
            return False

    return [name for name in names if not seen(name)]


def remove_marks(folder: str) -> None:
    """Removes what `write_mark` has written, as far as that can be."""
    if not is_uri(folder):
        shutil.rmtree(folder, ignore_errors=True)
        return
    with suppress(ValueError, StorageError):
        marks = BucketFolder.open(folder)
        for name in marks.names():
            marks.remove(name)


_NAME_GPUS = "import torch; [print(torch.cuda.get_device_name(index)) for index in range(torch.cuda.device_count())]"


def _gpus() -> list[str]:
    """Names of those that torch sees; asked of another process, as Ray hides them from one that asked for none."""
    if not any(Path(device).exists() for device in GPU_DEVICES):
        return []
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    told = subprocess.run(
        [sys.executable, "-c", _NAME_GPUS], env=environment, capture_output=True, text=True, check=False
    )
    return told.stdout.splitlines()


def _code() -> str:
    """Checksum of the packages that run on nodes: a version's number may stay the same while they are worked on."""
    digest = hashlib.sha256()
    for package in ("study", "trainables"):
        folder = Path(__file__).parents[2] / package
        for file in sorted(folder.glob("*.py")):
            digest.update(f"{package}/{file.name}".encode() + file.read_bytes())
    return digest.hexdigest()[:8]


def _dataset(trial: dict[str, Any]) -> tuple[str | None, str | None]:
    from trainables.data.datasets import load_dataset

    try:
        dataset = load_dataset(trial["dataset"], trial["data_dir"])
    except Exception as error:  # whatever a damaged file leads to
        return None, str(error).splitlines()[0]
    digest = hashlib.sha256()
    for images, labels in ((dataset.x_train, dataset.y_train), (dataset.x_test, dataset.y_test)):
        digest.update(f"{images.shape} {labels.shape}".encode())
        every = max(1, len(images) // SAMPLE)
        digest.update(images[::every].tobytes())
        digest.update(labels.tobytes())
    return digest.hexdigest()[:12], None


def epoch_seconds(trial: dict[str, Any], cpus: int) -> float:
    """What an epoch of a trial takes here, training and evaluation: some batches, after as many to warm up, scaled up.

    Args:
        trial: its configuration.
        cpus: threads.
    """
    import torch

    from trainables.config import TrialConfig
    from trainables.data.datasets import load_dataset
    from trainables.process import give_back_memory, prepare_process
    from trainables.run import CompressionRun

    prepare_process(cpus)
    config = TrialConfig.from_dict(trial)
    images = config.subset or len(load_dataset(config.dataset, config.data_dir).y_train)
    some = min(images, round(BATCHES_TIMED * config.recipe.batch_size / (1 - config.validation_fraction)))
    run = CompressionRun(
        TrialConfig.from_dict(trial | {"subset": some}), "cuda" if torch.cuda.is_available() else "cpu"
    )
    run.run_epoch()
    took = float(run.run_epoch()["train_seconds"])
    del run
    gc.collect()
    give_back_memory()  # Ray may keep this process beside those that train trials
    return took * images / some
