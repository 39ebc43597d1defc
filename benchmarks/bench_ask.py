"""Time a proposal in a study with many finished trials, for this project's searcher and for Optuna's samplers.

    python benchmarks/bench_ask.py [--finished N] [--asks N] [--samplers NAME …] [--stacks NAME …]
                                   [--dimensions N] [--cpu]

Each searcher receives results from the same noisy formula of K, λ and family until `--finished` trials have ended.
Then proposals are timed, each followed by its result. The time of this project's searcher includes recording the fact
in the ledger (without disk access), choosing a new window at every 50th trial, and rebuilding the history that Optuna
receives.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import optuna
from bench_search import UnwrittenLedger
from measure import print_table
from optuna.samplers import GPSampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler

from study.config import StudyConfig, load_study
from study.ledger.facts import ENDED, EPOCH
from study.ledger.ledger import Ledger
from study.search.searcher import OptunaSearcher
from study.search.space import suggest
from trainables.result import TrialState

STOCK = {
    "tpe": TPESampler,
    "optuna-tpe": TPESampler,
    "nsga2": NSGAIISampler,
    "gp": GPSampler,
    "qmc": QMCSampler,
    "random": RandomSampler,
}

FIELDS = {
    "recipe.learning_rate": "{low: 1.0e-4, high: 1.0e-1, log: true}",
    "penalty.temperature": "{low: 0.01, high: 0.3, log: true, when: {family: RE}}",
    "recipe.weight_decay": "{low: 0.0, high: 0.1}",
    "recipe.finetune_learning_rate": "{low: 1.0e-4, high: 1.0e-1, log: true}",
    "penalty.squared": "[true, false]",
    "recipe.batch_size": "{low: 16, high: 256, log: true}",
}
"""Further dimensions of the search space, besides the family, K, λ and the placement."""

CLOCKS = {False: time.perf_counter, True: time.process_time}
"""Clock of the measurement, by whether it counts the processor's time, where other work shares the machine."""

Ask = Callable[[], float]
"""Function that requests one proposal, reports its result, and returns the seconds that the proposal took."""


def result_of(trial: dict[str, Any], rng: np.random.Generator) -> tuple[float, float]:
    """Return synthetic accuracy and bits per weight of a configuration."""
    levels = trial["num_levels"] or 2**32
    best_lam = -3 if trial["family"] in ("RS", "RC") else -4
    miss = abs(math.log10(trial["lam"]) - best_lam) if trial.get("lam") else 1.5
    accuracy = 1 - 0.6 / levels - 0.03 * miss + 0.01 * rng.standard_normal()
    return min(1.0, max(0.0, accuracy)), math.log2(levels) + 0.01 * rng.random()


def ours(config: StudyConfig, clock: Callable[[], float]) -> Ask:
    """Return the function that times a proposal of this project's searcher."""
    ledger = UnwrittenLedger()
    searcher = OptunaSearcher(config, cast(Ledger, ledger))
    rng = np.random.default_rng(0)

    def ask() -> float:
        name = f"ray-{len(ledger.history.trials)}"
        began = clock()
        suggestion = searcher.suggest(name)
        took = clock() - began
        assert isinstance(suggestion, dict)
        accuracy, bits = result_of(suggestion["trial"], rng)
        number = suggestion["number"]
        metrics = {"epoch": config.epochs, "val_accuracy": accuracy, "bits_per_weight": bits, "train_seconds": 1.0}
        ledger.record(EPOCH, number=number, metrics=metrics)
        ledger.record(ENDED, number=number, state=TrialState.COMPLETE, failure=None)
        searcher.on_trial_complete(name)
        return took

    return ask


def stock(config: StudyConfig, clock: Callable[[], float]) -> Ask:
    """Return the function that times a proposal of Optuna's sampler, with its defaults, on a study in memory."""
    sampler = STOCK[config.sampler](seed=config.seed)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    rng = np.random.default_rng(0)

    def ask() -> float:
        began = clock()
        trial = study.ask()
        searched = suggest(trial, config.space)
        took = clock() - began
        study.tell(trial, result_of(searched, rng))
        return took

    return ask


def main() -> None:
    """Parse the command line, run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finished", type=int, default=2000)
    parser.add_argument("--asks", type=int, default=200)
    parser.add_argument("--dimensions", type=int, default=4, choices=range(4, 5 + len(FIELDS)))
    parser.add_argument("--samplers", nargs="+", default=["tpe", "optuna-tpe"], help="tpe-1: rules of version 1")
    parser.add_argument("--stacks", nargs="+", default=["ours", "Optuna"], choices=["ours", "Optuna"])
    parser.add_argument("--cpu", action="store_true", help="count the processor's time")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rows: list[list[object]] = []
    for sampler in arguments.samplers:
        further = [f"space.{name}={text}" for name, text in list(FIELDS.items())[: arguments.dimensions - 4]]
        name = sampler.removesuffix("-1")
        version = [f"sampler_version={1 if sampler != name else 2}"]
        config = load_study("digits", [f"sampler={name}", *version, "trials=1000000", *further])
        clock = CLOCKS[arguments.cpu]
        makers = {"ours": ours, "Optuna": stock}
        stacks = {name: makers[name](config, clock) for name in arguments.stacks}
        for ask in stacks.values():
            for _ in range(arguments.finished):
                ask()
        times: dict[str, list[float]] = {name: [] for name in stacks}
        for _ in range(arguments.asks):
            for name, ask in stacks.items():
                times[name].append(ask() * 1e3)
        for name, taken in times.items():
            p95, worst = np.quantile(taken, 0.95), max(taken)
            rows.append([sampler, name, len(taken), f"{statistics.median(taken):.1f}", f"{p95:.1f}", f"{worst:.1f}"])
    print_table(
        f"a proposal after {arguments.finished} finished trials in {arguments.dimensions} dimensions, ms",
        ["sampler", "stack", "n", "median", "95th percentile", "maximum"],
        rows,
    )


if __name__ == "__main__":
    main()
