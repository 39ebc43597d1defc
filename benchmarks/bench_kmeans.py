"""Compare one-dimensional k-means with scikit-learn's KMeans: seconds and squared error.

python benchmarks/bench_kmeans.py [--repeats N] [--weights N] [--levels K]
"""

import argparse

import numpy as np
import torch
from measure import in_turn, print_table, ratios, spread
from sklearn.cluster import KMeans

from trainables.codebooks.assignment import assign
from trainables.codebooks.kmeans import kmeans


def main() -> None:
    """Parse the command line, run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--weights", type=int, default=1_000_000)
    parser.add_argument("--levels", type=int, default=64)
    arguments = parser.parse_args()
    rows: list[list[object]] = []
    for name in ("normal", "Laplace"):
        generator = torch.Generator().manual_seed(0)
        weights = torch.randn(arguments.weights, generator=generator)
        if name == "Laplace":
            weights = weights.sign() * torch.empty_like(weights).exponential_(generator=generator)
        column = weights.numpy()[:, None]

        def theirs(column: np.ndarray = column) -> KMeans:
            return KMeans(arguments.levels, n_init=1, random_state=0).fit(column)

        def ours(weights: torch.Tensor = weights) -> torch.Tensor:
            return kmeans(weights, arguments.levels)

        their_seconds, our_seconds = in_turn([theirs, ours], arguments.repeats)
        codebook = ours()
        error = (weights - codebook[assign(weights, codebook).long()]).double().square().sum().item()
        figures = [spread(their_seconds), spread(our_seconds), spread(ratios(their_seconds, our_seconds), 1)]
        rows.append([name, arguments.repeats, *figures, f"{error / theirs().inertia_:.4f}"])
    print_table(
        f"k-means of {arguments.weights:,} weights, K = {arguments.levels} (median [least, greatest])",
        ["weights", "n", "scikit-learn, s", "ours, s", "times faster", "squared error, ours over theirs"],
        rows,
    )


if __name__ == "__main__":
    main()
