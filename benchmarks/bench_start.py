"""Cost of a process until it has trained a small network for two epochs, with torch's optimizers and with ours.

    python benchmarks/bench_start.py [--repeats 5]

Each process imports Ray Tune and the Trainables, as a worker does, then trains `digits` on 160 images. The optimizers
of torch load its compiler (`trainables.phases.eager`).
"""

import argparse
import json
import subprocess
import sys

from measure import print_table, ratios, spread

PROCESS = """
import json, resource, sys, time
import ray.tune
import torch
import trainables.trainable
from trainables.config import TrialConfig
from trainables.phases import optimizers
from trainables.run import CompressionRun

torch.set_num_threads(1)
if sys.argv[1] == "torch":
    for kind in ("Adam", "AdamW", "SGD"):
        setattr(optimizers, kind, getattr(torch.optim, kind))
run = CompressionRun(
    TrialConfig(model="small_cnn", dataset="digits", subset=160, width=0.25, family="RM", num_levels=4, lam=8.0,
                regularize_epochs=1, finetune_epochs=1)
)
for _ in range(2):
    run.run_epoch()
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([time.process_time(), used.ru_maxrss / 1024, len(sys.modules)]))
"""


def measured(optimizers: str) -> tuple[float, float, int]:
    """Return seconds of the processor, MB of memory and the number of modules of a process."""
    finished = subprocess.run([sys.executable, "-c", PROCESS, optimizers], capture_output=True, text=True, check=True)
    seconds, memory, modules = json.loads(finished.stdout.splitlines()[-1])
    return seconds, memory, modules


def main() -> None:
    """Measure both in turn, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="processes of each kind")
    repeats = parser.parse_args().repeats
    results: dict[str, list[tuple[float, float, int]]] = {"torch": [], "ours": []}
    for optimizers in ("torch", "ours") * repeats:
        results[optimizers].append(measured(optimizers))
    rows = []
    for optimizers, processes in results.items():
        seconds = [process[0] for process in processes]
        shares = ratios(seconds, [process[0] for process in results["torch"]])
        rows.append(
            [
                optimizers,
                str(repeats),
                spread(seconds, 2),
                spread([process[1] for process in processes], 0),
                str(processes[0][2]),
                spread(shares, 2),
            ]
        )
    columns = ["optimizers", "n", "processor, s", "memory, MB", "modules", "seconds over those with torch's"]
    print_table("A process that trains a small network: median [least, greatest]", columns, rows)


if __name__ == "__main__":
    main()
