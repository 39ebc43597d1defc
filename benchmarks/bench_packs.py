"""Time whole trials of `digits`, each alone and several in a pack, in alternation.

    python benchmarks/bench_packs.py [--repeats N] [--places 2 4] [--widths 1.0 0.25] [--batch-sizes 64]

Trials have the network of the study `digits`, two epochs of regularization and one of finetuning, and families in
turn. On a CPU, minutes are those of the processor, in one thread, so that other work on the machine counts little. A
ratio is that of neighbouring measurements: trials a minute in a pack over trials a minute alone.
"""

import argparse
import time
from collections.abc import Callable

import torch
from measure import in_turn, print_table, ratios, spread

from trainables.config import Recipe, TrialConfig
from trainables.packed.training import PackedTraining
from trainables.run import CompressionRun

FAMILIES = {"RM": 8.0, "RS": 8.0, "RE": 64.0, "none": 0.0}
"""Families of the trials, with their λ."""


def begun_trials(number: int, width: float, batch_size: int, device: str) -> list[CompressionRun]:
    """Return trials at their beginning, of each family in turn."""
    families = [list(FAMILIES.items())[place % len(FAMILIES)] for place in range(number)]
    recipe = Recipe(batch_size=batch_size)
    configs = [
        TrialConfig(
            family=family,
            num_levels=4,
            lam=lam,
            placement="own" if lam else "kmeans",
            width=width,
            regularize_epochs=2,
            finetune_epochs=1,
            recipe=recipe,
        )
        for family, lam in families
    ]
    return [CompressionRun(config, device) for config in configs]


def works(number: int, width: float, batch_size: int, device: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return two functions that train the same trials: one after another, and together."""

    def alone() -> None:
        for run in begun_trials(number, width, batch_size, device):
            while not run.finished:
                run.run_epoch()

    def packed() -> None:
        training = PackedTraining(number)
        runs = dict(enumerate(begun_trials(number, width, batch_size, device)))
        while not runs[0].finished:
            for metrics in training.run_epoch(runs).values():
                if isinstance(metrics, Exception):
                    raise metrics

    return alone, packed


def main() -> None:
    """Parse the command line, run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--places", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--widths", type=float, nargs="+", default=[1.0, 0.25, 0.125])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[64])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    clock = time.perf_counter if device == "cuda" else time.process_time
    rows: list[list[object]] = []
    for width in arguments.widths:
        for batch_size in arguments.batch_sizes:
            for number in arguments.places:
                alone, packed = in_turn(works(number, width, batch_size, device), arguments.repeats, clock=clock)
                minutes = [spread([60 * number / seconds for seconds in times], digits=1) for times in (alone, packed)]
                gains = spread(ratios(alone, packed), digits=2)
                rows.append([width, batch_size, number, len(alone), *minutes, gains])
                print(rows[-1], flush=True)
    print_table(
        "Trials of digits a minute (median [least, greatest])",
        ["width", "batch size", "trials together", "n", "alone", "in a pack", "ratio"],
        rows,
    )


if __name__ == "__main__":
    main()
