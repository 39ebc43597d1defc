"""W&B: a run for each trial, with an id of its own, and one run for the study.

W&B's client can't be asked in offline mode what it has sent. So a trial is sent whole when it has ended, and a marker
file says so; what a crash has cut off is removed and sent again under the same id.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import wandb

from study.config import StudyConfig
from study.ledger.history import History, Trial
from study.storage.liveliness import is_complete
from study.trackers.tracker import front_rows, numbers_of, settings_of
from trainables.files.atomic import replacing
from trainables.result import TrialState

PROJECT = "WANDB_PROJECT"
SENT = "sent"
"""Folder of the markers, below the tracker's own."""


class WandB:
    """Runs in the W&B project that `WANDB_PROJECT` names, or that has the study's name."""

    def __init__(self, name: str, address: str, root: Path) -> None:
        """Name the project.

        Args:
            name: name of the study.
            address: path or URI of the study.
            root: folder for the client's files and for the markers.
        """
        self._name, self._address, self._root = name, address, root
        self._project = os.environ.get(PROJECT) or name

    def update_trial(self, trial: Trial) -> None:
        """Send a trial that has ended, unless its marker is there."""
        if trial.state == TrialState.RUNNING:
            return
        settings = settings_of(trial) | {"number": trial.number}
        with self._sending(trial.trial_id, settings, tag=trial.state, failed=trial.state == TrialState.FAIL) as run:
            if run is None:
                return
            for epoch, metrics in sorted(trial.epochs.items()):
                run.log(numbers_of(metrics), step=epoch)
            checkpoint = f"{self._address}/{trial.checkpoint.path}" if trial.checkpoint else None
            run.summary.update({"state": trial.state, "failure": trial.failure, "checkpoint": checkpoint})

    def update_study(self, config: StudyConfig, history: History) -> None:
        """Send the front as a table once all trials have ended."""
        rows = front_rows(history)
        if not is_complete(history, config) or not rows:
            return
        name = f"{self._name}-front-{history.num_ended}"
        with self._sending(name, {"study": self._address}, tag="front") as run:
            if run is not None:
                table = wandb.Table(columns=list(rows[0]), data=[list(row.values()) for row in rows])
                run.log({"front": table})

    def close(self) -> None:
        """Do nothing: every run is finished when it is sent."""

    @contextmanager
    def _sending(self, name: str, config: dict[str, Any], *, tag: str, failed: bool = False) -> Iterator[Any]:
        """Enter with a run of W&B, or with None if its marker is there; write the marker at the end.

        The client works in a temporary folder, since it makes symbolic links, which a study must not hold.
        """
        marker = self._root / SENT / name
        if marker.exists():
            yield None
            return
        for rest in self._root.glob(f"wandb/*run-*-{name}"):  # of a bridge that was killed before the marker
            shutil.rmtree(rest)
        with tempfile.TemporaryDirectory(prefix="qar-wandb-") as scratch:
            settings = wandb.Settings(silent=True, console="off", disable_git=True, x_disable_stats=True)
            run = wandb.init(
                project=self._project,
                id=name,
                name=name,
                group=self._name,
                config=config,
                tags=[tag],
                dir=scratch,
                reinit="create_new",
                settings=settings,
            )
            yield run
            run.finish(exit_code=int(failed))
            self._keep_for_sync(Path(scratch))
        marker.parent.mkdir(parents=True, exist_ok=True)
        with replacing(marker) as file:
            file.write(b"")

    def _keep_for_sync(self, scratch: Path) -> None:
        """Move the runs that the client has written in offline mode to where `wandb sync` is called."""
        kept = self._root / "wandb"
        kept.mkdir(parents=True, exist_ok=True)
        for folder in scratch.glob("wandb/offline-run-*"):
            for path in folder.rglob("*"):
                if path.is_symlink():
                    path.unlink()
            shutil.move(folder, kept / folder.name)
