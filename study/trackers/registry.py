"""The trackers by name, and their start for a study."""

import os
from collections.abc import Callable, Collection
from importlib.util import find_spec
from pathlib import Path

from study.config import StudyConfig
from study.storage.folder import StudyFolder
from study.storage.study_storage import TRACKERS as FOLDER
from study.trackers.tracker import Tracker

MLFLOW_URI = "MLFLOW_TRACKING_URI"
"""Environment variable with the address of the MLflow server, as MLflow's own tools read it."""


def trackers_root(folder: StudyFolder) -> Path:
    """Return the folder of the trackers' files of a study, on this machine."""
    return folder.path / FOLDER


def _tensorboard(name: str, address: str, root: Path) -> Tracker:
    from study.trackers.tensorboard import TensorBoard

    return TensorBoard(root / "tensorboard")


def _mlflow(name: str, address: str, root: Path) -> Tracker:
    from study.trackers.mlflow import MLflow

    return MLflow(name, address)


def _wandb(name: str, address: str, root: Path) -> Tracker:
    from study.trackers.wandb import WandB

    return WandB(name, address, root / "wandb")


TRACKERS: dict[str, Callable[[str, str, Path], Tracker]] = {
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
    "wandb": _wandb,
}
"""Start of each tracker, given the study's name, its path or URI, and a folder for the tracker's files."""


def check_trackers(config: StudyConfig) -> None:
    """Refuse a study whose trackers can't be used from here.

    Raises:
        ValueError: a client library isn't installed, or the address of a server isn't set.
    """
    for logger in config.loggers:
        if find_spec(logger) is None:
            raise ValueError(f"loggers must be installed, got {logger!r}, which is not; pip install 'qar[{logger}]'")
    if "mlflow" in config.loggers and not os.environ.get(MLFLOW_URI):
        raise ValueError(f"{MLFLOW_URI} must be set to a server's address for the logger mlflow, got none; export it")


def open_trackers(
    loggers: Collection[str], notify: str | None, *, name: str, address: str, root: Path
) -> dict[str, Tracker]:
    """Return the trackers of a study, by name.

    Args:
        loggers: keys of `TRACKERS`.
        notify: URL of a web hook; None for none.
        name: name of the study.
        address: path or URI of the study, as trackers show it.
        root: folder for files of the trackers.

    """
    from study.trackers.notification import Notifier

    trackers = {logger: TRACKERS[logger](name, address, root) for logger in loggers}
    return trackers | ({"notify": Notifier(notify, address, root)} if notify else {})
