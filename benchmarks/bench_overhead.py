"""Measure the overhead of a trial, with no-op trials through searcher, scheduler, records and checkpoints on Ray.

    python benchmarks/bench_overhead.py [--trials N …] [--window N]

The same run measures Ray Tune alone, with and without reuse of actors.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from measure import print_table, seconds
from ray import tune
from ray.tune.search import Searcher
from rich.console import Console

from study.cluster.connect import start_ray
from study.config import load_study
from study.ledger.facts import ENDED
from study.ledger.reading import read_history
from study.run.options import RunOptions
from study.run.session import run_study
from study.run.study_run import StudyRun
from study.storage.folder import StudyFolder
from trainables.files.checkpoint import write_checkpoint

CPUS = 2


class NoOp(tune.Trainable):
    """Trainable that does no work: its only step returns at once, with metrics like those of a real trial."""

    def setup(self, config: dict[str, Any]) -> None:
        """Keep the configuration of the trial."""
        self._trial = config["trial"]

    def step(self) -> dict[str, Any]:
        """Return synthetic metrics of the only epoch."""
        levels = self._trial["num_levels"] or 2**32
        bits = float(torch.tensor(float(levels)).log2())
        names = ("penalty", "val_accuracy_pre_tuning", "entropy_bits_per_weight", "conv_bits_per_weight")
        return dict.fromkeys(names) | {
            "epoch": 1,
            "phase": "regularize",
            "train_loss": 1.0,
            "val_accuracy": 1 - 0.5 / levels,
            "float_val_accuracy": 1.0,
            "bits_per_weight": bits,
            "index_bits_per_weight": bits,
            "train_seconds": 0.0,
            "device": "cpu",
            "done": True,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write a minimal checkpoint."""
        write_checkpoint(Path(checkpoint_dir), {"epoch": 1})

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        """Do nothing: there is no state to restore."""

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the configuration of the next trial, and allow Ray to reuse the actor."""
        self.setup(new_config)
        return True


class Bare(tune.Trainable):
    """Trainable for the measurement of Ray alone: no checkpoint and no metrics."""

    def step(self) -> dict[str, Any]:
        """End the trial."""
        return {"done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Allow Ray to reuse the actor."""
        return True


class EmptySearcher(Searcher):
    """Searcher of empty configurations; Ray reuses actors only if trials come from a searcher, as this project's do."""

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """Return an empty configuration."""
        return {}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Ignore the result."""


def ours(trials: int, window: int) -> tuple[float, list[float]]:
    """Return the trials per second of a whole study, and of each window of `window` ended trials."""
    with tempfile.TemporaryDirectory() as storage:
        settings = ["trial.regularize_epochs=1", "trial.finetune_epochs=0", f"trials={trials}"]
        settings += ["early_stopping.grace_period=1", "space.num_levels.high=65536"]
        config = load_study("digits", settings)
        folder = StudyFolder(Path(storage) / "no-op")
        folder.create(config)
        with open("/dev/null", "w") as nowhere:
            run = StudyRun(folder=folder, config=config, options=RunOptions(console=Console(file=nowhere)))
            took = seconds(lambda: run_study(run, trainable=NoOp))
        assert read_history(folder.ledger).num_ended == trials
        facts = (json.loads(line) for line in folder.ledger.read_text().splitlines())
        ends = [fact["time"] for fact in facts if fact["fact"] == ENDED]
    rates = [window / (late - early) for early, late in zip(ends[:-window:window], ends[window::window], strict=False)]
    return trials / took, rates


def bare(trials: int, reuse_actors: bool) -> float:
    """Return the trials per second of Ray Tune alone."""
    with tempfile.TemporaryDirectory() as storage:
        tuner = tune.Tuner(
            tune.with_resources(Bare, {"cpu": 1}),
            tune_config=tune.TuneConfig(
                search_alg=EmptySearcher(metric="done", mode="max"),
                num_samples=trials,
                reuse_actors=reuse_actors,
                max_concurrent_trials=CPUS,
            ),
            run_config=tune.RunConfig(storage_path=storage, verbose=0),
        )
        return trials / seconds(tuner.fit)


def main() -> None:
    """Parse the command line, run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument(
        "--window", type=int, default=50, help="number of ended trials over which each rate is measured"
    )
    arguments = parser.parse_args()
    start_ray(address=None, verbose=False)
    rows: list[list[object]] = [
        ["Ray alone, a new actor for each trial", 20, f"{bare(20, reuse_actors=False):.1f}", "", ""],
        ["Ray alone, actors reused", 100, f"{bare(100, reuse_actors=True):.1f}", "", ""],
    ]
    for trials in arguments.trials:
        whole, rates = ours(trials, min(arguments.window, trials // 4))
        spread = f"{statistics.median(rates):.1f} [{min(rates):.1f}, {max(rates):.1f}], n = {len(rates)}"
        tenth = max(1, len(rates) // 10)
        drift = f"{statistics.mean(rates[:tenth]):.1f} → {statistics.mean(rates[-tenth:]):.1f}"
        rows.append(["qar, complete", trials, f"{whole:.1f}", spread, drift])
    print_table(
        f"no-op trials a second, {CPUS} at a time",
        ["stack", "trials", "rate of the whole run", "median of windows [least, greatest]", "first tenth → last tenth"],
        rows,
    )


if __name__ == "__main__":
    main()
