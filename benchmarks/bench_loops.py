"""Compare the compiled loops of RM and RE with operators of PyTorch, on a CPU, and time their compilation.

    python benchmarks/bench_loops.py [--repeats N] [--weights 16384 2359296] [--levels 2 16 256]

A layer of normal weights is drawn by a thousandth of a half-spacing, its representatives begun by k-means, in one
thread, in alternation. A second table has what a process pays before its first step.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from measure import in_turn, print_table, ratios, spread

from trainables.compiled.layers import CompiledLayer
from trainables.config import PenaltyForm
from trainables.regularizers.application import draw
from trainables.regularizers.registry import REGULARIZERS

AMOUNT = 1e-3
"""Half-spacings by which the weights are drawn."""

BEGIN = """
import sys, time
from pathlib import Path
from unittest.mock import patch
import trainables.run
resident = lambda: next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS"))
started, before = time.process_time(), resident()
from trainables.compiled import compiler
with patch.object(compiler, "cache_folder", lambda module: Path(sys.argv[1])):
    from trainables.compiled.phase import loops_run
    assert loops_run()
print(time.process_time() - started, (resident() - before) / 1024)
"""
"""Prints the seconds and the MiB (Linux only) that a process needs for the loops; compiled code is kept in a folder."""


def both(family: str, num_weights: int, num_levels: int) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return functions that draw the same layer by operators and by loops."""
    weights = 0.05 * torch.randn(num_weights, generator=torch.Generator().manual_seed(0))
    drawn, scratch = weights.clone(), torch.empty_like(weights)
    regularizer: Any = REGULARIZERS[family](weights, num_levels, PenaltyForm())
    layer = CompiledLayer(regularizer, drawn, half_spacings=True)

    def by_operators() -> None:
        regularizer.progress(0.0)
        draw(regularizer, weights, scratch, AMOUNT * regularizer.half_spacing / regularizer.steepest)

    return by_operators, lambda: layer.draw(AMOUNT, fraction=0.0)


def begin(folder: str) -> list[float]:
    """Return the seconds of the processor and the MiB that a new process needs to have the loops."""
    command = [sys.executable, "-c", BEGIN, folder]
    root = Path(__file__).parent.parent
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return [float(number) for number in ended.stdout.split()]


def main() -> None:
    """Parse the command line, run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--weights", type=int, nargs="+", default=[1 << 14, 1 << 18, 2_359_296])
    parser.add_argument("--levels", type=int, nargs="+", default=[2, 16, 256])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[list[object]] = []
    for family in ("RM", "RE"):
        for num_weights in arguments.weights:
            for num_levels in arguments.levels:
                works = both(family, num_weights, num_levels)
                times = in_turn(works, arguments.repeats, warmups=2, clock=time.thread_time)
                milliseconds = [spread([1000 * one for one in taken]) for taken in times]
                ratio = spread(ratios(times[1], times[0]), digits=2)
                rows.append([family, f"{num_weights:,}", num_levels, arguments.repeats, *milliseconds, ratio])
    print_table(
        "A layer that is drawn (median [least, greatest])",
        ["family", "weights", "K", "n", "operators, ms", "loops, ms", "loops over operators"],
        rows,
    )
    rows = []
    compiled, loaded = [], []
    for _ in range(arguments.repeats):
        with TemporaryDirectory() as folder:
            compiled.append(begin(folder))
            loaded.append(begin(folder))
    for name, figures in (("compiled", compiled), ("loaded", loaded)):
        taken, memory = zip(*figures, strict=True)
        rows.append([name, len(figures), spread(taken, digits=2), spread(memory, digits=0)])
    print_table("What a process pays for the loops", ["they are", "n", "CPU s", "memory, MiB"], rows)


if __name__ == "__main__":
    main()
