"""Count the files and bytes that a trial writes for its checkpoints, and its time, before and after.

    python benchmarks/bench_checkpoints.py [--study NAME] [--repeats N] [--set KEY=VALUE …]

A trial of a study's configuration is trained to its full budget, as its actor does, with Ray's storage in a folder. The
alternatives are trained in turn. `every epoch, copied` is what versions before did: two files for each epoch, written
to a temporary folder, read for the checksum and copied. Bytes are those that the process passes to the kernel
(`/proc/self/io`), without those of a training that writes no checkpoint.
"""

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Sequence
from hashlib import file_digest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from measure import print_table, spread
from ray import tune
from ray.train._internal.storage import StorageContext

from study.config import StudyConfig, load_study
from study.ledger.facts import Asked, Checkpointed, Epoch
from study.ledger.history import History
from study.records.checkpoints import CheckpointRule
from study.records.recorder import REPORTED
from study.search.rungs import Rungs
from trainables.files.checkpoint import CHECKPOINT_FILE, CHECKSUM_FILE
from trainables.trainable import CompressionTrial


class Copied(CompressionTrial):
    """Trial that writes its checkpoints as versions before did; `files` counts the temporary ones."""

    files = 0

    def save(self, checkpoint_dir: str | None = None) -> Any:
        """Let Ray save: into a temporary folder, which it copies."""
        return tune.Trainable.save(self, checkpoint_dir)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write the state, read it for its checksum, and write that."""
        path = Path(checkpoint_dir) / CHECKPOINT_FILE
        with path.open("wb") as file:
            torch.save(self.run.state_dict(), file)
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
        (path.parent / CHECKSUM_FILE).write_text(f"{digest}  {CHECKPOINT_FILE}\n")
        self.files += 2


def trained(kind: type[CompressionTrial], config: StudyConfig, rule: CheckpointRule | None) -> tuple[float, ...]:
    """Train a trial; return its checkpoints, files, bytes, seconds in all and seconds of saving.

    Args:
        kind: class of the trial.
        config: configuration of the study.
        rule: rule by which checkpoints are written; None for no checkpoint.
    """
    trial_config = config.trial_config({"family": "RS", "num_levels": 8, "lam": 2.0, "placement": "own"})
    history = History()
    history.apply(
        Asked(
            time=0.0,
            number=0,
            trial_id="small-00000",
            anchor=False,
            params={},
            distributions={},
            config=trial_config.to_dict(),
            config_hash=trial_config.hash,
        )
    )
    saving, checkpoints = 0.0, 0
    with TemporaryDirectory() as folder:
        storage = StorageContext(folder, "session-001", trial_dir_name="small-00000-0")
        trial = kind(config={"trial": trial_config.to_dict()}, storage=storage)
        before, began = _written(), time.perf_counter()
        for epoch in range(1, config.epochs + 1):
            metrics = {name: value for name, value in trial.train().items() if name in REPORTED}
            history.apply(Epoch(time=float(epoch), number=0, metrics=metrics))
            if rule is not None and rule.is_due(history.trials[0], ends=epoch == config.epochs):
                began_to_save = time.perf_counter()
                trial.save()
                saving += time.perf_counter() - began_to_save
                checkpoints += 1
                path = f"ray/session-001/0/checkpoint_{epoch:06}"
                history.apply(Checkpointed(time=float(epoch), number=0, epoch=epoch, path=path, sha256=None))
        seconds, written = time.perf_counter() - began, _written() - before
        files = sum(path.is_file() for path in Path(folder, "session-001", "small-00000-0").rglob("*"))
        files += getattr(trial, "files", 0)
    del trial
    gc.collect()
    return checkpoints, files, written, seconds, saving


def _written() -> int:
    """Return the bytes that this process has written so far."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["wchar"])


def main() -> None:
    """Parse the command line, run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", default="digits")
    parser.add_argument("--set", action="append", default=[], help="override of the configuration, as in qar launch")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    config = load_study(arguments.study, ["trial.init=scratch", *arguments.set])
    needed = CheckpointRule.of(config, Rungs(config).epochs)
    every_epoch = CheckpointRule(every_epoch=True)
    works: dict[str, Callable[[], tuple[float, ...]]] = {
        "none": lambda: trained(CompressionTrial, config, None),
        "every epoch, copied (before)": lambda: trained(Copied, config, every_epoch),
        "every epoch, one file": lambda: trained(CompressionTrial, config, every_epoch),
        "needed, one file (now)": lambda: trained(CompressionTrial, config, needed),
    }
    results: dict[str, list[tuple[float, ...]]] = {name: [] for name in works}
    with (
        TemporaryDirectory() as session,
        patch("ray.train._internal.storage._get_ray_train_session_dir", lambda: session),
    ):
        works["none"]()  # warms up
        for _ in range(arguments.repeats):
            for name, work in works.items():
                results[name].append(work())
    print_table(
        f"a trial of {arguments.study}, {config.epochs} epochs",
        ["checkpoints", "n", "number", "files", "MB written", "seconds", "of these, saving"],
        [[name, len(runs), *_row(runs, results["none"])] for name, runs in results.items()],
    )


def _row(runs: Sequence[tuple[float, ...]], without: Sequence[tuple[float, ...]]) -> list[str]:
    number, files, written, seconds, saving = zip(*runs, strict=True)
    others = statistics.median(run[2] for run in without)
    megabytes = max(0.0, statistics.median(written) - others) / 1e6
    return [f"{number[0]:.0f}", f"{files[0]:.0f}", f"{megabytes:.1f}", spread(seconds, 2), spread(saving, 3)]


if __name__ == "__main__":
    main()
