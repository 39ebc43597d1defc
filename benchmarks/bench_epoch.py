"""Time a training epoch of AlexNet and VGG16 on CIFAR-10, plain and regularized, in alternation.

    python benchmarks/bench_epoch.py [--images N] [--repeats N] [--family RM] [--levels K] [--data-dir DIR]

The data set and its augmentation are on the device, and networks are channels-last; a GPU trains in bfloat16, with and
without torch.compile. A CPU trains on `--images` of the 50,000 images, and the table extrapolates to a whole epoch.
Without `data/cifar10.npz` the images are noise of the same shape, which does not change the time.
"""

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import in_turn, print_table, ratios, spread

from trainables.config import Recipe, TrialConfig
from trainables.families import family_of
from trainables.run import CompressionRun

CIFAR_IMAGES = 50_000


def prepared(data_dir: Path) -> str:
    """Return the name of the data set: CIFAR-10 if it is prepared in `data_dir`, else noise, which is created."""
    if (data_dir / "cifar10.npz").exists() or (data_dir / "cifar10").exists():
        return "cifar10"
    path = data_dir / "noise.npz"
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0)
        arrays: dict[str, Any] = {
            f"{kind}_{split}": rng.integers(0, high, shape, dtype=np.uint8)
            for split, n in (("train", CIFAR_IMAGES), ("test", 1000))
            for kind, high, shape in (("x", 256, (n, 32, 32, 3)), ("y", 10, (n,)))
        }
        np.savez(path, **arrays)
    return f"npz:{path}"


def timed_epochs(configs: Sequence[TrialConfig], device: str, repeats: int) -> list[list[float]]:
    """Return the seconds of epochs of each trial, which are trained in turn."""
    return in_turn([CompressionRun(config, device).train_epoch for config in configs], repeats)


def main() -> None:
    """Parse the command line, run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, help="default: 2,560 on a CPU, 50,000 on a GPU")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--models", nargs="+", default=["vgg16", "alexnet"])
    parser.add_argument("--family", default="RM")
    parser.add_argument("--levels", type=int, default=16)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        print("no GPU on this machine: measurements with torch.compile are omitted")
    images = arguments.images or (CIFAR_IMAGES if device == "cuda" else 2560)
    dataset = prepared(arguments.data_dir)
    rows: list[list[object]] = []
    for model in arguments.models:
        for compiled in (False, True) if device == "cuda" else (False,):
            recipe = Recipe(
                batch_size=128, optimizer="sgd", learning_rate=1e-3, augmentation="crop_flip", compile=compiled
            )

            configs = [
                TrialConfig(
                    family=family,
                    num_levels=arguments.levels,
                    lam=1e-4 if family_of(family).has_penalty else 0.0,
                    model=model,
                    dataset=dataset,
                    data_dir=str(arguments.data_dir),
                    recipe=recipe,
                    # One image of each class is left for validation, which is not timed.
                    validation_fraction=1e-6,
                    subset=None if images >= CIFAR_IMAGES else images + 10,
                    regularize_epochs=1000,
                )
                for family in ("none", arguments.family)
            ]
            plain, regularized = timed_epochs(configs, device, arguments.repeats)
            whole = statistics.median(plain) * CIFAR_IMAGES / images
            figures = [spread(plain), spread(regularized), spread(ratios(regularized, plain)), f"{whole:.1f}"]
            rows.append([model, device, "yes" if compiled else "no", f"{images:,}", arguments.repeats, *figures])
            print(rows[-1], flush=True)
    print_table(
        f"An epoch, {arguments.family} at K = {arguments.levels}, images of {dataset} (median [least, greatest])",
        ["model", "device", "compiled", "images", "n", "plain, s", "regularized, s", "ratio", "50,000 images, s"],
        rows,
    )


if __name__ == "__main__":
    main()
