"""Sensitivities of the float networks that trials begin from: measured once for each seed, and kept in the ledger."""

from collections.abc import Mapping

import ray
from ray.exceptions import RayError
from rich.console import Console

from study.config import StudyConfig
from study.interruption import interruption
from study.ledger.facts import MEASURED
from study.ledger.ledger import Ledger
from study.records.failures import baseline_failure
from study.run.baselines import SECONDS_BETWEEN_CHECKS
from study.storage.folder import StudyFolder
from trainables import trainable


def measure_sensitivities(
    folder: StudyFolder, config: StudyConfig, ledger: Ledger, baselines: Mapping[int, str], console: Console
) -> None:
    """Measure what the ledger lacks, where bits are allocated to layers. Ray must be connected.

    Args:
        folder: folder of the study.
        config: configuration of the study.
        ledger: records each sensitivity.
        baselines: addresses of the float networks by seed; empty where trials begin from given weights.
        console: shows that it takes a while.

    Raises:
        StudyInterrupted: the ledger can't be written, or the measurement fails.
    """
    seeds = [seed for seed in config.sensitivity_seeds if seed not in ledger.history.sensitivities]
    if not seeds:
        return
    plural = "s"[: len(seeds) != 1]
    console.print(f"measuring what quantizing each layer costs, {len(seeds)} seed{plural}", highlight=False)
    resources = {"num_cpus": config.resources.cpus, "num_gpus": config.resources.gpus}
    task = ray.remote(trainable.measure_sensitivity).options(**resources)
    measuring = {
        task.remote(config.measured_config(seed).to_dict(), config.resources.cpus, baselines.get(seed)): seed
        for seed in seeds
    }
    try:
        while measuring:
            ready, _ = ray.wait(list(measuring), num_returns=1, timeout=SECONDS_BETWEEN_CHECKS)
            interruption.check()
            for reference in ready:
                ledger.record(MEASURED, seed=measuring.pop(reference), sensitivity=ray.get(reference))
    except RayError as error:
        raise baseline_failure(error, folder) from None
