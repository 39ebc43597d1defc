"""Compare searches at equal numbers of epochs, on recorded learning curves.

The searches are this project's, Ray's OptunaSearch with ASHA (the stock pair), and random search.

    python benchmarks/bench_search.py [--epochs N] [--seeds N] [--workers N] [--curves FILE]
    python benchmarks/bench_search.py --record DIR --curves FILE

The curves come from a study that trained every trial to its full budget. A proposed configuration gets the curve of
the recorded trial of its family and placement that is nearest in log K and log λ. Time is simulated, one unit per epoch
and worker, so the real searchers and schedulers process thousands of trials in minutes. Fronts consist of quantized
trials with the full budget. The area of a front is its hypervolume over accuracy and log2 of the bits, with the
reference point at accuracy 0 and 32 bits, as a share of the area of all recorded trials. The low-bit half is the same
area up to the middle of the recorded front on the axis of bits.
"""

import argparse
import heapq
import itertools
import statistics
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol, cast

import moocore
import numpy as np
import optuna
import pandas as pd
from measure import print_table
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from study.config import StudyConfig, load_study
from study.ledger.facts import ENDED, EPOCH, FACTS
from study.ledger.history import History
from study.ledger.ledger import Ledger
from study.search.optuna_trials import OBJECTIVES
from study.search.outcomes import outcome
from study.search.scheduler import make_scheduler
from study.search.searcher import OptunaSearcher
from study.search.space import suggest
from trainables.result import TrialState

CURVES = Path(__file__).parent / "data" / "curves-digits.parquet"
STUDY = CURVES.with_suffix(".yaml")
SEARCHED = ["family", "num_levels", "lam", "placement"]
FINEST = {"family": "none", "num_levels": 64, "lam": 0.0, "placement": "kmeans"}
MOST_BITS = 32.0
Point = tuple[float, float]


class Curves:
    """Recorded learning curves, by configuration.

    Attributes:
        best: accuracy and bits of all recorded trials after the full budget.
    """

    def __init__(self, path: Path) -> None:
        """Read the curves that `record` wrote to `path`."""
        table = pd.read_parquet(path)
        first = table.drop_duplicates("number")
        self._curves = {
            number: rows.sort_values("epoch")[["epoch", *OBJECTIVES]].to_dict("records")
            for number, rows in table.groupby("number")
        }
        self._places = {
            key: (rows["number"].to_numpy(), self._place(rows["num_levels"], rows["lam"].fillna(1.0)))
            for key, rows in first.groupby(["family", "placement"])
        }
        ends = [curve[-1] for curve in self._curves.values()]
        self.best = [(end["val_accuracy"], end["bits_per_weight"]) for end in ends]

    @staticmethod
    def _place(num_levels: Any, lam: Any) -> np.ndarray:
        """Return coordinates for distances, (n, 2): a factor 2 in K counts as much as a factor 10 in λ."""
        return np.column_stack([np.log2(np.asarray(num_levels, float)), np.log10(np.asarray(lam, float))])

    def nearest(self, config: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the results of the recorded trial nearest to a configuration, one for each epoch."""
        numbers, places = self._places[config["family"], config["placement"]]
        lam = config["lam"] if config["family"] != "none" else 1.0
        distances = ((places - self._place([config["num_levels"]], [lam])) ** 2).sum(1)
        return cast(list[dict[str, Any]], self._curves[numbers[distances.argmin()]])


class Search(Protocol):
    """A searcher with its scheduler."""

    def suggest(self, name: str) -> dict[str, Any]:
        """Return the next configuration."""

    def goes_on(self, name: str, result: dict[str, Any]) -> bool:
        """Report an epoch other than the last; return whether the trial continues."""

    def end(self, name: str, result: dict[str, Any]) -> None:
        """Report the last result of a trial."""


class UnwrittenLedger:
    """Ledger that keeps facts in memory and writes no file."""

    durable = 0
    is_quick = True

    def __init__(self) -> None:
        """Create an empty ledger."""
        self.history = History()
        self.path = Path("unwritten/ledger.jsonl")
        self._time = itertools.count()

    def record(self, fact: str, **content: Any) -> None:
        """Apply a fact to the history."""
        self.history.apply(FACTS[fact](time=float(next(self._time)), **content))

    def submit(self, fact: str, **content: Any) -> int:
        """Apply a fact to the history, and return a number that counts as durable."""
        self.record(fact, **content)
        return 0

    def commit(self) -> None:
        """Do nothing."""


class Ours:
    """This project's searcher and scheduler, called in the order in which a study calls them."""

    def __init__(self, config: StudyConfig) -> None:
        """Create searcher and scheduler of a study's configuration."""
        self._config = config
        self._ledger = UnwrittenLedger()
        self._searcher = OptunaSearcher(config, cast(Ledger, self._ledger))
        self._scheduler = make_scheduler(config, self._ledger.history)
        self._trials: dict[str, Any] = {}

    def suggest(self, name: str) -> dict[str, Any]:
        """See `Search.suggest`."""
        config = self._searcher.suggest(name)
        assert isinstance(config, dict)
        self._trials[name] = SimpleNamespace(trial_id=name, config=config, status="RUNNING")
        return dict(config["trial"])

    def goes_on(self, name: str, result: dict[str, Any]) -> bool:
        """See `Search.goes_on`."""
        trial = self._trials[name]
        decision = self._scheduler.on_trial_result(None, trial, result)
        self._ledger.record(EPOCH, number=trial.config["number"], metrics=result | {"train_seconds": 0.0})
        return bool(decision == TrialScheduler.CONTINUE)

    def end(self, name: str, result: dict[str, Any]) -> None:
        """See `Search.end`."""
        trial = self._trials.pop(name)
        number = trial.config["number"]
        if result["epoch"] == self._config.epochs:
            self._ledger.record(EPOCH, number=number, metrics=result | {"train_seconds": 0.0})
        state, failure = outcome(result, self._config.epochs)
        self._searcher.on_trial_complete(name, result)
        self._ledger.record(ENDED, number=number, state=state, failure=failure)


class Stock:
    """Ray's OptunaSearch with one of Ray's schedulers."""

    def __init__(self, config: StudyConfig, sampler: optuna.samplers.BaseSampler, scheduler: TrialScheduler) -> None:
        """Create the search with Optuna's sampler and Ray's scheduler."""

        def define(trial: optuna.Trial) -> None:
            suggest(trial, config.space)  # Ray reads the parameters from the trial

        self._searcher = OptunaSearch(define, metric=list(OBJECTIVES), mode=["max", "min"], sampler=sampler)
        self._scheduler = scheduler
        self._trials: dict[str, Any] = {}

    def suggest(self, name: str) -> dict[str, Any]:
        """See `Search.suggest`."""
        config = self._searcher.suggest(name)
        assert isinstance(config, dict)
        config = {"lam": 0.0, **config}
        config["placement"] = config.get("placement", config.get("placement_none"))
        trial = SimpleNamespace(trial_id=name, config=config, status="RUNNING", last_result={})
        self._trials[name] = trial
        self._scheduler.on_trial_add(None, trial)
        return config

    def goes_on(self, name: str, result: dict[str, Any]) -> bool:
        """See `Search.goes_on`."""
        decision = self._scheduler.on_trial_result(None, self._trials[name], result)
        return bool(decision == TrialScheduler.CONTINUE)

    def end(self, name: str, result: dict[str, Any]) -> None:
        """See `Search.end`."""
        self._scheduler.on_trial_complete(None, self._trials.pop(name), result)
        self._searcher.on_trial_complete(name, result)


def _ours(scheduler: str) -> Callable[[StudyConfig], Search]:
    def make(config: StudyConfig) -> Search:
        stopping = config.early_stopping.model_copy(update={"scheduler": scheduler})
        return Ours(config.model_copy(update={"early_stopping": stopping}))

    return make


def _stock(config: StudyConfig) -> Search:
    stopping = config.early_stopping
    np.random.seed(config.seed)  # Ray's ASHA draws its bracket from the global generator
    scheduler = ASHAScheduler(
        time_attr="epoch",
        metric="val_accuracy",
        mode="max",
        max_t=config.epochs,
        grace_period=stopping.grace_period,
        reduction_factor=stopping.reduction_factor,
    )
    return Stock(config, optuna.samplers.TPESampler(seed=config.seed), scheduler)


def _random(config: StudyConfig) -> Search:
    return Stock(config, optuna.samplers.RandomSampler(seed=config.seed), FIFOScheduler())


STOCK = "OptunaSearch + ASHA on accuracy"
SEARCHES: dict[str, Callable[[StudyConfig], Search]] = {
    STOCK: _stock,
    "random, full budgets": _random,
    "ours, full budgets": _ours("none"),
    "ours, ASHA on accuracy": _ours("asha"),
    "ours, Pareto-ASHA": _ours("pareto-asha"),
}


@dataclass(frozen=True)
class Replay:
    """Result of a simulated search.

    Attributes:
        search: key of `SEARCHES`.
        seed: seed of the search.
        completed: epochs spent by the whole search until a quantized trial completed, and the trial's point.
        trials: number of trials that were started.
    """

    search: str
    seed: int
    completed: list[tuple[int, Point]]
    trials: int

    def points(self, epochs: float) -> list[Point]:
        """Return the points of the trials that had completed after so many epochs."""
        return [point for spent, point in self.completed if spent <= epochs]


def replay(name: str, seed: int, config: StudyConfig, curves_path: Path, epochs: int, workers: int) -> Replay:
    """Run a search in simulated time until it has spent `epochs` epochs on `workers` workers."""
    warnings.filterwarnings("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    curves = Curves(curves_path)
    config = config.model_copy(update={"seed": seed, "trials": 10**9})
    search = SEARCHES[name](config)
    completed: list[tuple[int, Point]] = []
    curve_of: dict[str, list[dict[str, Any]]] = {}
    quantized: dict[str, bool] = {}
    due: list[tuple[int, str, int]] = []  # (time, trial, epoch) at which an epoch ends

    def begin(now: int) -> None:
        trial = f"{len(curve_of):05d}"
        proposal = search.suggest(trial)
        quantized[trial] = proposal["num_levels"] is not None
        # The float baseline has no recorded curve; only its duration matters here.
        curve_of[trial] = curves.nearest(proposal if quantized[trial] else FINEST)
        heapq.heappush(due, (now + 1, trial, 1))

    for _ in range(workers):
        begin(0)
    for spent in range(1, epochs + 1):
        now, trial, epoch = heapq.heappop(due)
        result = curve_of[trial][epoch - 1]
        if epoch < config.epochs and search.goes_on(trial, result):
            heapq.heappush(due, (now + 1, trial, epoch + 1))
            continue
        if epoch == config.epochs and quantized[trial]:
            completed.append((spent, (result["val_accuracy"], result["bits_per_weight"])))
        search.end(trial, result)
        begin(now)
    return Replay(name, seed, completed, len(curve_of))


def share_of_area(points: list[Point], best: list[Point], most_bits: float = MOST_BITS) -> float:
    """Return the area that the points dominate, as a share of the area that the best points dominate."""
    return _area(points, most_bits) / _area(best, most_bits)


def _area(points: list[Point], most_bits: float) -> float:
    within = [(-accuracy, np.log2(bits)) for accuracy, bits in points if bits < most_bits]
    return float(moocore.hypervolume(np.array(within), ref=[0.0, np.log2(most_bits)])) if within else 0.0


def middle_of_front(best: list[Point]) -> float:
    """Return the bits at the middle of the recorded front, on the logarithmic axis."""
    array = np.array([(-accuracy, bits) for accuracy, bits in best])
    bits = array[moocore.is_nondominated(array), 1]
    return float(np.sqrt(bits.min() * bits.max()))


def interval(values: list[float]) -> str:
    """Return the mean of values and its 95% bootstrap interval, as text."""
    resampled = np.random.default_rng(0).choice(values, (10_000, len(values))).mean(1)
    low, high = np.quantile(resampled, [0.025, 0.975])
    return f"{statistics.mean(values):.4f} [{low:.4f}, {high:.4f}]"


def epochs_to_reach(share: float, run: Replay, best: list[Point]) -> float:
    """Return the epochs after which a search first reaches a share of the area; infinite if it never does."""
    points: list[Point] = []
    for spent, point in run.completed:
        points.append(point)
        if share_of_area(points, best) >= share:
            return float(spent)
    return float("inf")


def record(study: Path, out: Path) -> None:
    """Write the learning curves of a study's quantized trials to a compact Parquet file."""
    from analysis.load import load_epochs, load_trials

    trials = load_trials(study)
    chosen = trials[(trials["state"] == TrialState.COMPLETE) & trials["num_levels"].notna()][["number", *SEARCHED]]
    epochs = load_epochs(study)[["number", "epoch", *OBJECTIVES]]
    table = chosen.merge(epochs, on="number").astype(
        {"number": "int32", "epoch": "int16", "num_levels": "int16", "lam": "float32"}
        | dict.fromkeys(OBJECTIVES, "float32")
    )
    out.parent.mkdir(exist_ok=True)
    table.to_parquet(out, compression="zstd", index=False)
    print(f"{out}: {len(chosen)} trials of {trials['epochs'].max()} epochs, {out.stat().st_size} bytes")


def main() -> None:
    """Parse the command line, run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=3600)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--searches", nargs="+", choices=list(SEARCHES), default=list(SEARCHES), metavar="NAME")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--curves", type=Path, default=CURVES)
    parser.add_argument(
        "--study", default=str(STUDY), help="study configuration whose search space, anchors and rungs are used"
    )
    parser.add_argument("--set", action="append", default=[], help="override of the configuration, as in qar launch")
    parser.add_argument("--record", type=Path, metavar="DIR", help="write the file of curves from the study in DIR")
    arguments = parser.parse_args()
    if arguments.record:
        record(arguments.record, arguments.curves)
        return
    config = load_study(arguments.study, arguments.set)
    best = Curves(arguments.curves).best
    middle = middle_of_front(best)
    jobs = [
        (name, seed, config, arguments.curves, arguments.epochs, arguments.workers)
        for seed in range(arguments.seeds)
        for name in dict.fromkeys([STOCK, *arguments.searches])
    ]
    with get_context("spawn").Pool() as pool:
        replays = pool.starmap(replay, jobs, chunksize=1)
    print_rows(replays, best, middle, arguments.epochs)


def print_rows(replays: list[Replay], best: list[Point], middle: float, epochs: int) -> None:
    """Print one row for each search: its area after a third of the epochs and after all, and when it overtook."""
    goals = {
        run.seed: share_of_area(run.points(epochs), best) for run in replays if run.search == STOCK
    }  # final area of the stock pair, by seed
    rows: list[list[object]] = []
    for name in dict.fromkeys(run.search for run in replays):
        runs = [run for run in replays if run.search == name]
        reached = [epochs_to_reach(goals[run.seed], run, best) / epochs for run in runs]
        rows.append(
            [
                name,
                len(runs),
                f"{statistics.mean(run.trials for run in runs):.0f}",
                interval([share_of_area(run.points(epochs / 3), best) for run in runs]),
                interval([share_of_area(run.points(epochs), best) for run in runs]),
                interval([share_of_area(run.points(epochs), best, middle) for run in runs]),
                f"{statistics.median(reached):.2f}",
                f"{sum(share <= 1 / 3 for share in reached)} of {len(runs)}",
            ]
        )
    print_table(
        f"{epochs} epochs; area as a share of all that was recorded, low-bit half up to {middle:.2f} bits; "
        "mean [95% interval]",
        [
            "search",
            "n",
            "trials",
            "area at a third",
            "area at the end",
            "low-bit half at the end",
            "median share of epochs to the stock pair's area",
            "within a third",
        ],
        rows,
    )


if __name__ == "__main__":
    main()
