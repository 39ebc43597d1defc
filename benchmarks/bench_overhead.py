"""What the stack costs a trial: no-op trials through searcher, scheduler, records and checkpoints on a real Ray.

    python benchmarks/bench_overhead.py [--trials N …] [--window N]

Beside it, in the same run: bare Ray Tune with and without the reuse of actors, on no-op trials of its own.
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

from study.cluster.connect import connect
from study.config import load_study
from study.ledger.facts import ENDED
from study.ledger.ledger import read_history
from study.run.tuner import run_study
from study.storage.folder import StudyFolder
from trainables.checkpoint import write_checkpoint

CPUS = 2


class NoOp(tune.Trainable):
    """Takes no time: reports at once that its only epoch is over, with a result that a real trial might have."""

    def setup(self, config: dict[str, Any]) -> None:
        self._trial = config["trial"]

    def step(self) -> dict[str, Any]:
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
        write_checkpoint(Path(checkpoint_dir), {"epoch": 1})

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        pass

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True


class Bare(tune.Trainable):
    """The same for Ray alone: no checkpoint, and nothing to report but an end."""

    def step(self) -> dict[str, Any]:
        return {"done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        return True


class Anything(Searcher):
    """Ray reuses actors only for searchers that are asked for one trial after another, as ours is."""

    def suggest(self, trial_id: str) -> dict[str, Any]:
        return {}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Learns nothing."""


def ours(trials: int, window: int) -> tuple[float, list[float]]:
    """Trials a second of a whole study, and by windows of so many ends."""
    with tempfile.TemporaryDirectory() as storage:
        settings = ["trial.regularize_epochs=1", "trial.finetune_epochs=0", f"trials={trials}"]
        settings += ["early_stopping.grace_period=1", "space.num_levels.high=65536"]
        config = load_study("digits", settings)
        folder = StudyFolder(Path(storage) / "no-op")
        folder.create(config)
        with open("/dev/null", "w") as nowhere:
            took = seconds(lambda: run_study(folder, config, Console(file=nowhere), trainable=NoOp))
        assert read_history(folder.ledger).num_ended == trials
        facts = (json.loads(line) for line in folder.ledger.read_text().splitlines())
        ends = [fact["time"] for fact in facts if fact["fact"] == ENDED]
    rates = [window / (late - early) for early, late in zip(ends[:-window:window], ends[window::window], strict=False)]
    return trials / took, rates


def bare(trials: int, reuse_actors: bool) -> float:
    """Trials a second of Ray Tune by itself."""
    with tempfile.TemporaryDirectory() as storage:
        tuner = tune.Tuner(
            tune.with_resources(Bare, {"cpu": 1}),
            tune_config=tune.TuneConfig(
                search_alg=Anything(metric="done", mode="max"),
                num_samples=trials,
                reuse_actors=reuse_actors,
                max_concurrent_trials=CPUS,
            ),
            run_config=tune.RunConfig(storage_path=storage, verbose=0),
        )
        return trials / seconds(tuner.fit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--window", type=int, default=50, help="ends over which a rate is taken")
    arguments = parser.parse_args()
    connect(load_study("digits"), address=None, verbose=False)
    rows: list[list[object]] = [
        ["bare Ray, a new actor a trial", 20, f"{bare(20, reuse_actors=False):.1f}", "", ""],
        ["bare Ray, actors reused", 100, f"{bare(100, reuse_actors=True):.1f}", "", ""],
    ]
    for trials in arguments.trials:
        whole, rates = ours(trials, min(arguments.window, trials // 4))
        spread = f"{statistics.median(rates):.1f} [{min(rates):.1f}, {max(rates):.1f}], n = {len(rates)}"
        tenth = max(1, len(rates) // 10)
        drift = f"{statistics.mean(rates[:tenth]):.1f} → {statistics.mean(rates[-tenth:]):.1f}"
        rows.append(["qar, everything on", trials, f"{whole:.1f}", spread, drift])
    print_table(
        f"no-op trials a second, {CPUS} at a time",
        ["stack", "trials", "of the whole run", "median of windows [least, greatest]", "first tenth → last tenth"],
        rows,
    )


if __name__ == "__main__":
    main()
