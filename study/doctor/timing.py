"""Durations of a trial on one node, for the expected time of a study."""

import gc
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BATCHES_TIMED = 8
"""Batches of the shortened epoch that is timed."""


@dataclass(frozen=True, kw_only=True)
class TrialTiming:
    """Durations of a trial on a node, in seconds.

    Attributes:
        epoch_seconds: duration of an epoch, training and evaluation included.
        start_seconds: time from the start of the process until the first epoch: imports, data set and network.
    """

    epoch_seconds: float
    start_seconds: float


def process_age() -> float:
    """Return the seconds since this process started; 0 on systems without /proc."""
    with suppress(OSError):
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # the 22nd field, in ticks since the system started
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started)
    return 0.0


def time_trial(trial: dict[str, Any], cpus: int) -> TrialTiming:
    """Return the durations of a trial on this node; call it in a new process.

    A shortened epoch of `BATCHES_TIMED` batches is trained twice; the second one is timed and scaled up.

    Args:
        trial: configuration of the trial, as a dictionary.
        cpus: number of threads.
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
    start_seconds = process_age()
    run.run_epoch()
    took = float(run.run_epoch()["train_seconds"])
    del run
    gc.collect()
    give_back_memory()  # Ray may keep this process alive while others train trials
    return TrialTiming(epoch_seconds=took * images / some, start_seconds=start_seconds)
