"""Seconds of a training step in a process that keeps its memory, against one that does not, and page faults of both.

    python benchmarks/bench_process.py [--repeats N] [--steps N] [--models NAME …] [--width W]

Each measurement is a process of its own, in turn, since a process that has kept its memory once can't be as before.
On a CPU, with one thread, as trials of a sweep have one.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys

import torch
from measure import print_table, ratios, seconds, spread
from torch.nn.functional import cross_entropy

from trainables.models import build_model
from trainables.process import prepare_process

WARM_UP = 5


def measure(model: str, width: float, steps: int, keeps: bool) -> dict[str, float]:
    """Of this process: seconds a step, and page faults a step, of batches of 64 images."""
    if keeps:
        prepare_process(threads=1)
    else:
        torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    network = build_model(model, (3, 32, 32), 10, seed=0, width=width).to(memory_format=torch.channels_last)
    images = torch.randn(64, 3, 32, 32, generator=generator).to(memory_format=torch.channels_last)
    labels = torch.randint(10, (64,), generator=generator)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)

    def train(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            cross_entropy(network(images), labels).backward()
            optimizer.step()

    train(WARM_UP)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    took = seconds(lambda: train(steps))
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return {"seconds": took / steps, "faults": faults / steps}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["vgg16", "alexnet"])
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--child", choices=["keeps", "gives"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        (model,) = arguments.models
        print(json.dumps(measure(model, arguments.width, arguments.steps, arguments.child == "keeps")))
        return
    rows: list[list[object]] = []
    for model in arguments.models:
        told: dict[str, list[dict[str, float]]] = {"gives": [], "keeps": []}
        options = ["--models", model, "--width", str(arguments.width), "--steps", str(arguments.steps)]
        for _ in range(arguments.repeats):
            for child, found in told.items():
                command = [sys.executable, __file__, *options, "--child", child]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                found.append(json.loads(done.stdout))
        gives, keeps = ([one["seconds"] for one in found] for found in told.values())
        faults = [f"{statistics.median(one['faults'] for one in found):,.0f}" for found in told.values()]
        times = [spread(gives, 4), spread(keeps, 4), spread(ratios(gives, keeps), 2)]
        rows.append([model, arguments.width, arguments.repeats, *times, *faults])
    print_table(
        "A training step of 64 images on one thread (median [least, greatest])",
        ["model", "width", "n", "gives back, s", "keeps, s", "times faster", "page faults a step", "keeping"],
        rows,
    )


if __name__ == "__main__":
    main()
