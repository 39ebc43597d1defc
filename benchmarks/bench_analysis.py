"""Time the report of a large study, and the front of many points, on synthetic tables.

A study of 100,000 trials and 5 million epochs is written as Parquet to a temporary folder. Each timed report runs in a
process of its own, whose peak memory covers loading, computing and drawing. The second part times the front and the
hypervolume of a million points, with this project's functions and with moocore alone.

    python benchmarks/bench_analysis.py --trials 100000 --epochs 50 --repeats 3
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import moocore
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from measure import in_turn, print_table, ratios, spread

from analysis.statistics.pareto import REFERENCE, front, hypervolume
from trainables import families
from trainables.result import EPOCH_COLUMNS, FINETUNE, REGULARIZE, TRIAL_COLUMNS, Column, TrialState

FAMILIES = np.array(list(families.FAMILIES))
PLACEMENTS = np.array(["own", "kmeans", "uniform"])

ARROW_TYPES = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "str": pa.string()}


def trials_table(count: int, epochs: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return synthetic rows of trials.parquet; accuracy grows with the bits, and a third of the trials is pruned."""
    levels = rng.integers(2, 65, count)
    bits = np.log2(levels) + 0.3 + rng.random(count) / 4
    accuracy = 0.95 - 0.6 / levels - 0.1 * rng.random(count) ** 2
    stopped = rng.random(count) < 1 / 3
    family = FAMILIES[rng.integers(0, 5, count)]
    known = {
        "trial_id": [f"large-{number:06d}" for number in range(count)],
        "number": np.arange(count),
        "state": np.where(stopped, TrialState.PRUNED, TrialState.COMPLETE),
        "anchor": False,
        "family": family,
        "num_levels": levels,
        "lam": np.where(family == "none", np.nan, 10 ** rng.uniform(-5, -2, count)),
        "placement": PLACEMENTS[rng.integers(0, 3, count)],
        "seed": 0,
        "model": "vgg16",
        "dataset": "cifar10",
        "epochs": np.where(stopped, epochs // 2, epochs),
        "val_accuracy_pre_tuning": np.where(stopped, np.nan, accuracy - 0.1),
        "val_accuracy": accuracy,
        "float_val_accuracy": 0.95,
        "bits_per_weight": bits,
        "index_bits_per_weight": np.ceil(np.log2(levels)),
        "entropy_bits_per_weight": bits - 0.3,
        "conv_bits_per_weight": bits - 0.1,
        "linear_bits_per_weight": bits - 0.2,
        "artifact_bytes": (bits * 1e6).astype(int),
        "train_seconds": 60.0,
        "config_hash": [f"{number:012x}" for number in range(count)],
    }
    return pd.DataFrame({column.name: known.get(column.name) for column in TRIAL_COLUMNS})


def write_epochs(path: Path, trials: pd.DataFrame, epochs: int, rng: np.random.Generator) -> int:
    """Write epochs.parquet in chunks, with `epochs` rows per trial; return the number of rows."""
    schema = arrow_schema(EPOCH_COLUMNS)
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, len(trials), 10_000):
            chunk = trials.iloc[start : start + 10_000]
            number = np.repeat(chunk["number"].to_numpy(), epochs)
            epoch = np.tile(np.arange(1, epochs + 1), len(chunk))
            rows = {
                "trial_id": np.repeat(chunk["trial_id"].to_numpy(), epochs),
                "number": number,
                "epoch": epoch,
                "phase": np.where(epoch <= epochs * 2 // 3, REGULARIZE, FINETUNE),
                "val_accuracy": np.repeat(chunk["val_accuracy"].to_numpy(), epochs) * (1 - np.exp(-epoch / 5)),
                "train_loss": rng.random(len(number)),
                "bits_per_weight": np.repeat(chunk["bits_per_weight"].to_numpy(), epochs),
            }
            frame = pd.DataFrame({column.name: rows.get(column.name) for column in EPOCH_COLUMNS})
            writer.write_table(pa.Table.from_pandas(frame, schema, preserve_index=False))
    return len(trials) * epochs


def arrow_schema(columns: tuple[Column, ...]) -> pa.Schema:
    """Return the Arrow schema of a table's columns."""
    return pa.schema([(column.name, ARROW_TYPES[column.type]) for column in columns])


def write_study(folder: Path, count: int, epochs: int) -> int:
    """Write the tables of a synthetic study into a new folder; return the number of rows of epochs.parquet."""
    folder.mkdir()
    (folder / "study.yaml").write_text(f"name: large\ntrials: {count}\n")
    rng = np.random.default_rng(0)
    trials = trials_table(count, epochs, rng)
    table = pa.Table.from_pandas(trials, arrow_schema(TRIAL_COLUMNS), preserve_index=False)
    pq.write_table(table, folder / "trials.parquet")
    return write_epochs(folder / "epochs.parquet", trials, epochs, rng)


def report_once(study: Path, out: Path) -> None:
    """Write one report, and print wall seconds, CPU seconds, peak memory in GiB and the largest file in MB.

    The time includes imports, as in `qar report`.
    """
    started = time.perf_counter()
    from analysis.report.report import write_report
    from study.commands.importance import hyperparameter_importances

    report = write_report(study, out, importances=hyperparameter_importances)
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        seconds,
        used.ru_utime + used.ru_stime,
        used.ru_maxrss / 2**20,
        max(path.stat().st_size for path in report.files) / 1e6,
    )


def reports(study: Path, out: Path, repeats: int) -> list[tuple[float, ...]]:
    """Return the numbers that `report_once` prints, for `repeats` reports, each in a new process."""
    results = []
    for _ in range(repeats):
        command = [sys.executable, __file__, "--report", str(study), str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        results.append(tuple(float(word) for word in done.stdout.split()[-4:]))
    return results


def moocore_alone(trials: pd.DataFrame) -> None:
    """Compute the same front and hypervolume by moocore, without removing dominated points first."""
    points = np.column_stack([-trials["val_accuracy"], trials["bits_per_weight"]])
    moocore.is_nondominated(points, keep_weakly=True)
    moocore.hypervolume(points, ref=[-REFERENCE[0], REFERENCE[1]])


def processor_seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of one call, summed over threads; unlike wall time, independent of other processes."""
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    """Parse the command line, run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--epochs", type=int, default=50, help="epochs of each trial")
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--report", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.report:
        report_once(*arguments.report)
        return

    with tempfile.TemporaryDirectory() as name:
        study = Path(name) / "large"
        rows = write_study(study, arguments.trials, arguments.epochs)
        seconds, used, peaks, largest = zip(*reports(study, Path(name) / "report", arguments.repeats), strict=True)
    print_table(
        "The report of a large study",
        ("trials", "epoch rows", "n", "seconds", "CPU seconds", "peak memory, GiB", "largest file, MB"),
        [
            (
                f"{arguments.trials:,}",
                f"{rows:,}",
                len(seconds),
                *(spread(seconds, 1), spread(used, 1), spread(peaks, 2), spread(largest, 2)),
            )
        ],
    )

    trials = trials_table(arguments.points, 18, np.random.default_rng(0)).assign(state=TrialState.COMPLETE)
    works: list[Callable[[], object]] = [lambda: (front(trials), hypervolume(trials)), lambda: moocore_alone(trials)]
    ours, theirs = in_turn(works, arguments.repeats)
    processors = [processor_seconds(works[0]) for _ in range(arguments.repeats)]
    print_table(
        "Front and hypervolume",
        ("points", "on the front", "n", "ours, s", "ours, CPU s", "moocore alone, s", "times faster"),
        [
            (
                f"{arguments.points:,}",
                len(front(trials)),
                len(ours),
                *(spread(ours), spread(processors), spread(theirs), spread(ratios(theirs, ours), 1)),
            )
        ],
    )


if __name__ == "__main__":
    main()
