"""Float networks, from which trials begin (`trial.init: pretrained`): one for each seed, trained once and shared.

Keys and files call a float network `baseline`. The float baseline, by contrast, is a trial that is never quantized.

A float network is no trial of the study. Its length, `baseline_epochs`, differs from that of the trials, whereas
rungs, tables and early stopping compare trials of one length. It must exist before the first trial is proposed, so the
searcher would have to hold back all other trials until it has ended, and keep its checkpoint after all others are
removed. It must not count as one of the `trials` that the user asked for, and if it fails, the study ends, whereas a
failed trial lets the others go on. An anchor with these four exceptions would be longer than this module.
"""

import time
from collections.abc import Callable

import ray
from ray.exceptions import RayError
from rich.console import Console

from study.config import StudyConfig
from study.durations import duration
from study.interruption import interruption
from study.ledger.facts import BASELINE, BASELINE_WRITTEN
from study.ledger.ledger import Ledger
from study.records.failures import baseline_failure
from study.run.progress.stall import StallDetector
from study.storage.folder import StudyFolder
from trainables import trainable
from trainables.files.checkpoint import read_sum

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_CHECKS = 0.5
"""Longest time until a signal that asks the study to end is noticed."""


def float_networks(
    folder: StudyFolder,
    config: StudyConfig,
    ledger: Ledger,
    console: Console,
    between: Callable[[], None] = lambda: None,
) -> dict[int, str]:
    """Train the float networks that are missing, and return the paths of the checkpoints of all.

    Ray must be connected.

    Args:
        folder: folder of the study.
        config: configuration of the study.
        ledger: records each epoch.
        console: shows the progress, since the training may take an hour.
        between: function that is called again and again while the training goes on.

    Returns:
        Path or URI of the checkpoint that trials begin from, by seed.

    Raises:
        ValueError: a float network diverges.
        StudyInterrupted: the ledger can't be written, a node lacks the data set, or training fails there.
    """
    sums = ledger.history.baseline_sums
    missing = [seed for seed in config.baseline_seeds if not folder.has_baseline(seed, sums.get(seed))]
    for seed in sorted(set(config.baseline_seeds) - set(missing) - set(sums)):
        # Trained by an earlier version, or by a driver that was killed before it recorded the end.
        ledger.record(BASELINE_WRITTEN, seed=seed, sha256=read_sum(folder.baseline(seed)))
    resources = {"num_cpus": config.resources.cpus, "num_gpus": config.resources.gpus}
    task = ray.remote(trainable.train_baseline).options(num_returns="streaming", **resources)
    trials = {seed: config.baseline_config(seed) for seed in missing}
    training = {
        task.remote(trial.to_dict(), config.resources.cpus, folder.baseline_address(seed)): seed
        for seed, trial in trials.items()
    }
    trained = ledger.history.baseline_seconds
    progress = BaselineProgress({seed: trial.regularize_epochs for seed, trial in trials.items()}, console)
    try:
        while training:
            ready, _ = ray.wait(list(training), num_returns=1, timeout=SECONDS_BETWEEN_CHECKS)
            between()
            interruption.check()
            progress.check_stall()
            for stream in ready:
                reference = next(stream, None)
                if reference is None:
                    del training[stream]
                    continue
                seed, metrics = training[stream], ray.get(reference)
                if "sha256" in metrics:
                    ledger.record(BASELINE_WRITTEN, seed=seed, **metrics)
                    continue
                if metrics["epoch"] not in trained.get(seed, {}):  # a resumed one reports its earlier epochs too
                    ledger.record(BASELINE, seed=seed, **metrics)
                progress.end_epoch(seed, metrics["val_accuracy"], metrics["train_seconds"])
    except RayError as error:
        raise baseline_failure(error, folder) from None
    return {seed: folder.baseline_address(seed) for seed in config.baseline_seeds}


class BaselineProgress:
    """Progress of all float networks together, as lines on a console."""

    def __init__(self, epochs: dict[int, int], console: Console) -> None:
        """Announce the training; `epochs` is the full budget by seed."""
        self._console = console
        self._total = sum(epochs.values())
        self._accuracies: dict[int, float] = {}
        self._done = 0
        self._started = self._shown = time.monotonic()
        self._stall = StallDetector(None, self._started)
        if epochs:
            plural = "s"[: len(epochs) != 1]
            console.print(f"training the float network{plural} that all trials begin from, {len(epochs)} seed{plural}")

    def check_stall(self) -> None:
        """Print a notice if the training has come to a standstill."""
        if notice := self._stall.notice(time.monotonic()):
            self._console.print(notice, soft_wrap=True, highlight=False)

    def end_epoch(self, seed: int, val_accuracy: float, train_seconds: float) -> None:
        """Count an epoch of a seed; print a line if the last one is old, or all epochs are trained."""
        self._done += 1
        self._accuracies[seed] = val_accuracy
        now = time.monotonic()
        self._stall.progress(now, train_seconds)
        if self._done < self._total and now - self._shown < SECONDS_BETWEEN_LINES:
            return
        self._shown = now
        elapsed = now - self._started
        left = elapsed / self._done * (self._total - self._done)
        times = f"{duration(elapsed)} elapsed" + (f", about {duration(left)} to go" if left else "")
        accuracy = sum(self._accuracies.values()) / len(self._accuracies)
        line = f"float network: {self._done} of {self._total} epochs, val_accuracy {accuracy:.4f}; {times}"
        self._console.print(line, soft_wrap=True, highlight=False)
