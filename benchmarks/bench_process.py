"""Compare training steps of a process that keeps freed memory with one that does not: seconds and page faults.

    python benchmarks/bench_process.py [--repeats N] [--steps N] [--models NAME …] [--width W]

Each measurement runs in a process of its own, since the setting cannot be undone within a process. Both kinds
alternate, on a CPU with one thread, as trials of a sweep run.
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
    """Return seconds and page faults per training step of this process, with batches of 64 images."""
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
    """Parse the command line, run the benchmark and print its tables."""
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
        measurements: dict[str, list[dict[str, float]]] = {"gives": [], "keeps": []}
        options = ["--models", model, "--width", str(arguments.width), "--steps", str(arguments.steps)]
        for _ in range(arguments.repeats):
            for child, steps in measurements.items():
                command = [sys.executable, __file__, *options, "--child", child]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                steps.append(json.loads(done.stdout))
        gives, keeps = ([step["seconds"] for step in steps] for steps in measurements.values())
        faults = [f"{statistics.median(step['faults'] for step in steps):,.0f}" for steps in measurements.values()]
        times = [spread(gives, 4), spread(keeps, 4), spread(ratios(gives, keeps), 2)]
        rows.append([model, arguments.width, arguments.repeats, *times, *faults])
    print_table(
        "A training step of 64 images on one thread (median [least, greatest])",
        [
            "model",
            "width",
            "n",
            "default, s",
            "keeping memory, s",
            "times faster",
            "page faults per step",
            "when keeping memory",
        ],
        rows,
    )


if __name__ == "__main__":
    main()
