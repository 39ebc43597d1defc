"""Run a study of many trials on a thousand simulated workers, and show what its driver takes.

    python benchmarks/simulate_study.py [--trials N] [--workers N] [--epochs N] [--kills N] [--place DIR] …

The driver is the product's: searcher, rungs, ledger with group commit, snapshots, tables, Optuna's mirror and progress
display, called in the order in which Ray calls them. Only Ray and the training are left out: workers live in simulated
time, in which an event follows the other. While the driver works, simulated time passes by the seconds of the processor
that it takes, so that workers wait for it as they would. Waiting for the disk is not included.

Each hour 5% of the workers are lost with the trials on them, and replaced five minutes later. One trial in a hundred
diverges. The driver is killed as by a power cut and resumed; of what was not durable, its ledger keeps a random part.

A witness compares all that the driver does with the facts that are durable. At the end, the ledger is read again, with
its snapshot and without, and must give the history and the decisions that the driver had. With `--place`, the study
stays there for other commands.
"""

import argparse
import csv
import tempfile
from dataclasses import asdict
from pathlib import Path

import optuna
from measure import print_table
from simulation.figures import Stage
from simulation.study import check_replay, config_of, simulate

MARKS = (1000, 3000, 10_000, 30_000, 100_000)


def row_of(stage: Stage) -> list[str]:
    """Return the row of a stage."""
    return [
        f"{stage.trials:,}",
        f"{stage.facts:,}",
        f"{stage.hours:.2f}",
        f"{stage.facts_a_second:.0f}",
        f"{stage.busy:.0%}",
        f"{stage.memory:.2f}",
        *(f"{value:.1f}" for value in stage.ask),
        *(f"{value:.2f}" for value in stage.idle),
        f"{stage.pause:.1f}",
    ]


HEADER = (
    "trials ended",
    "facts",
    "simulated hours",
    "facts a second",
    "driver busy",
    "memory, GB",
    "ask p50, ms",
    "ask p99, ms",
    "idle p50, s",
    "idle p99, s",
    "longest pause, s",
)


def main() -> None:
    """Parse the command line, run the study and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=18, help="budget of a trial, of which a full one takes a minute")
    parser.add_argument("--sampler", default="tpe", help="sampler of the study; tpe is the default of all studies")
    parser.add_argument("--kills", type=int, default=3, help="number of times that the driver dies")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--place", type=Path, help="folder that keeps the study; none if left out")
    parser.add_argument("--csv", type=Path, help="file for the figures of all stages")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    marks = [mark for mark in MARKS if mark < arguments.trials] + [arguments.trials]
    with tempfile.TemporaryDirectory() as temporary:
        simulation = simulate(
            arguments.place or Path(temporary, "simulated"),
            config_of(arguments.trials, arguments.epochs, arguments.sampler, arguments.seed),
            workers=arguments.workers,
            kills=arguments.kills,
            marks=marks,
            show=lambda stage: print(" | ".join(row_of(stage)), f"({stage.wall:.0f} s of the wall)", flush=True),
        )
        check_replay(simulation)
    figures, witness = simulation.figures, simulation.witness
    title = f"{arguments.workers:,} workers; each row is from the one before up to a number of ended trials"
    print_table(title, HEADER, [row_of(stage) for stage in figures.stages])
    openings = ", ".join(f"{seconds:.1f}" for seconds in figures.openings)
    print(
        f"\n{simulation.losses} workers lost, {len(figures.openings) - 1} drivers killed; {witness.acts:,} acts, each "
        f"on durable facts; the ledger gives the same history and decisions. Seconds of each opening: {openings}"
    )
    if arguments.csv is not None:
        with arguments.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(asdict(figures.stages[0])), lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(stage) for stage in figures.stages)


if __name__ == "__main__":
    main()
