"""The float baselines that trials begin from (`trial.init: pretrained`): one for each seed, trained once and shared."""

import time

from rich.console import Console

from study.config import StudyConfig
from study.durations import duration
from study.interruption import interruption
from study.ledger.facts import BASELINE
from study.ledger.ledger import Ledger
from study.storage.folder import StudyFolder

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_CHECKS = 0.5
"""Time after which a signal that asks the study to end is noticed."""


def float_baselines(folder: StudyFolder, config: StudyConfig, ledger: Ledger, console: Console) -> dict[int, str]:
    """Paths, by seed, of the checkpoints that trials begin from; those that are not there yet are trained now.

    Ray must be connected to. What is trained so far is told on the console now and then, since it may take an hour.

    Raises:
        ValueError: a baseline diverges.
        StudyInterrupted: the ledger can't be written, a node lacks the data set, or training fails there.
    """
    import ray
    from ray.exceptions import RayError

    from study.records.failures import baseline_failure
    from trainables.trainable import train_baseline

    missing = [seed for seed in config.baseline_seeds if not folder.has_baseline(seed)]
    resources = {"num_cpus": config.resources.cpus, "num_gpus": config.resources.gpus}
    task = ray.remote(train_baseline).options(num_returns="streaming", **resources)
    trials = {seed: config.baseline_config(seed) for seed in missing}
    training = {
        task.remote(trial.to_dict(), config.resources.cpus, folder.baseline_address(seed)): seed
        for seed, trial in trials.items()
    }
    trained = ledger.history.baseline_seconds
    progress = BaselineProgress({seed: trial.regularize_epochs for seed, trial in trials.items()}, console)
    try:
        while training:
            told, _ = ray.wait(list(training), num_returns=1, timeout=SECONDS_BETWEEN_CHECKS)
            interruption.check()
            for stream in told:
                reference = next(stream, None)
                if reference is None:
                    del training[stream]
                    continue
                seed, metrics = training[stream], ray.get(reference)
                if metrics["epoch"] not in trained.get(seed, {}):  # a baseline that goes on tells all from its first
                    ledger.record(BASELINE, seed=seed, **metrics)
                progress.tell(seed, metrics["val_accuracy"])
    except RayError as error:
        raise baseline_failure(error, folder) from None
    return {seed: folder.baseline_address(seed) for seed in config.baseline_seeds}


class BaselineProgress:
    """Lines that say how far the baselines are, all of them together."""

    def __init__(self, epochs: dict[int, int], console: Console) -> None:
        """Says what is to be trained; `epochs` is the full budget by seed."""
        self._console = console
        self._total = sum(epochs.values())
        self._accuracies: dict[int, float] = {}
        self._done = 0
        self._started = self._shown = time.monotonic()
        if epochs:
            plural = "s"[: len(epochs) != 1]
            console.print(f"training the float baseline{plural} that all trials begin from, {len(epochs)} seed{plural}")

    def tell(self, seed: int, val_accuracy: float) -> None:
        """Takes the end of an epoch of a seed's baseline in; says so if the last line is old, or all are trained."""
        self._done += 1
        self._accuracies[seed] = val_accuracy
        now = time.monotonic()
        if self._done < self._total and now - self._shown < SECONDS_BETWEEN_LINES:
            return
        self._shown = now
        elapsed = now - self._started
        left = elapsed / self._done * (self._total - self._done)
        times = f"{duration(elapsed)} elapsed" + (f", about {duration(left)} to go" if left else "")
        accuracy = sum(self._accuracies.values()) / len(self._accuracies)
        line = f"float baseline: {self._done} of {self._total} epochs, val_accuracy {accuracy:.4f}; {times}"
        self._console.print(line, soft_wrap=True, highlight=False)
