"""Bits of the published studies in both codes, from their tables: what their fronts would be with entropy coding.

    python benchmarks/recount_studies.py [docs/results/cifar10-small-vgg16 …]

The tables hold the size of each network with Huffman codes, exactly, and the entropy of its levels. With entropy coding
the levels of all networks in benchmarks/data/codes-*.csv take at most 0.16% more than their entropy; this adds 0.2%.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from measure import print_table

from analysis.statistics.pareto import candidates, front
from trainables.codebooks.bits import FLOAT_BITS
from trainables.models import build_model, quantized_weights

ABOVE_ENTROPY = 0.002


def recounted(folder: Path) -> pd.DataFrame:
    """Return the finished quantized trials of a study, with `before` and `after` in bits per weight."""
    trial = yaml.safe_load((folder / "study.yaml").read_text())["trial"]
    model = build_model(trial["model"], (3, 32, 32), 10, 0, trial["width"])
    sizes = [weight.numel() for weight in quantized_weights(model).values()]
    floats = sum(tensor.numel() for tensor in model.state_dict().values() if tensor.is_floating_point()) - sum(sizes)
    trials = candidates(pd.read_parquet(folder / "trials.parquet")).copy()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    representatives = trials["num_levels"].map(lambda levels: sum(min(levels, size) for size in sizes))
    around = FLOAT_BITS * (floats + representatives)
    coded = (1 + ABOVE_ENTROPY) * trials["entropy_bits_per_weight"] * sum(sizes)
    trials["before"] = trials["bits_per_weight"]
    trials["after"] = np.minimum(trials["before"], (around + coded) / parameters)
    trials["above_entropy"] = (trials["before"] * parameters - around) / (
        trials["entropy_bits_per_weight"] * sum(sizes)
    ) - 1
    return trials


def print_front(name: str, trials: pd.DataFrame) -> None:
    """Print the trials that are on the front before or after."""
    fronts = {column: set(front(trials, column).index) for column in ("before", "after")}
    rows = [
        [
            int(row["num_levels"]),
            f"{row['family']}, {row['placement']}",
            f"{row['val_accuracy']:.4f}",
            f"{row['entropy_bits_per_weight']:.3f}",
            f"{100 * row['above_entropy']:.1f}%",
            f"{row['before']:.3f}",
            f"{row['after']:.3f}",
            " and ".join(column for column in fronts if index in fronts[column]),
        ]
        for index, row in trials.sort_values("after").iterrows()
        if index in fronts["before"] | fronts["after"]
    ]
    header = ["K", "family, placement", "accuracy", "entropy", "Huffman above it", "before", "after", "on the front"]
    print_table(name, header, rows)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    results = Path(__file__).parents[1] / "docs" / "results"
    parser.add_argument(
        "folders", nargs="*", type=Path, default=[results / "cifar10-small-vgg16", results / "cifar10-small-alexnet"]
    )
    for folder in parser.parse_args().folders:
        print_front(folder.name, recounted(folder))


if __name__ == "__main__":
    main()
