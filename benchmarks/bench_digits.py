"""Time epochs of `digits`, whose layers are small: plain and with the penalty of each family, in alternation.

    python benchmarks/bench_digits.py [--repeats N] [--levels 2 16 64] [--families RM RE]

Seconds are those of the processor, in one thread, so that other work on the machine counts little. A ratio is that of
neighbouring epochs: a regularized one over the plain one before it.
"""

import argparse
import time

import torch
from measure import in_turn, print_table, ratios, spread

from trainables.config import TrialConfig
from trainables.regularizers.registry import REGULARIZERS
from trainables.run import CompressionRun


def digits_run(family: str, num_levels: int) -> CompressionRun:
    """Return a trial of `digits` at the start of its first phase."""
    lam = 0.0 if family == "none" else 1e-3
    return CompressionRun(TrialConfig(family=family, num_levels=num_levels, lam=lam, regularize_epochs=12))


def main() -> None:
    """Parse the command line, run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--levels", type=int, nargs="+", default=[2, 16, 64])
    parser.add_argument("--families", nargs="+", choices=list(REGULARIZERS), default=list(REGULARIZERS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[list[object]] = []
    for num_levels in arguments.levels:
        works = [digits_run(family, num_levels).train_epoch for family in ("none", *arguments.families)]
        plain, *regularized = in_turn(works, arguments.repeats, clock=time.process_time)
        for family, times in zip(arguments.families, regularized, strict=True):
            rows.append(
                [family, num_levels, len(times), spread(plain), spread(times), spread(ratios(times, plain), digits=2)]
            )
    print_table(
        "An epoch of digits (median [least, greatest])",
        ["family", "K", "n", "plain, CPU s", "regularized, CPU s", "ratio"],
        rows,
    )


if __name__ == "__main__":
    main()
