"""Compare tables for the code of levels: a byte a level, none (adaptive), and differences of coarser costs.

    python benchmarks/compare_tables.py [--weights 10001] [--levels 16,64,256]

Sizes are those of all levels of one layer with what decoding needs, in per cent above their entropy. `stored` is what
files hold: the smallest of three codes. `adaptive` is an ideal code that learns the shares as it goes. `differences` is
an ideal code for costs in halves to sixteenths of a bit, whichever is best, and a table of their differences in words
of Elias and Golomb, with the four bytes that a stream takes. Levels are equally frequent; normally distributed, in
equal bins over ±2.5 standard deviations; or each is half as frequent as the one before.

Source of the words: Teuhola, "A compression method for clustered bit-vectors", 1978.
"""

import argparse
import math
from collections.abc import Sequence

import numpy as np
from compare_codes import adaptive_bits
from measure import print_table

from trainables.codebooks.bits import LayerBits, entropy_bits

STEPS = (2, 4, 8, 16)
"""Numbers of costs in a bit."""

RAREST = 24
"""Cost of a level that does not occur, in bits."""


def counts_of_levels(shape: str, num_weights: int, num_levels: int) -> list[int]:
    """Return how often each level occurs in a layer with one of the three distributions."""
    rng = np.random.default_rng(0)
    if shape == "equal":
        levels = rng.integers(0, num_levels, num_weights)
    elif shape == "normal":
        levels = np.clip(np.floor((rng.normal(size=num_weights) + 2.5) / 5 * num_levels), 0, num_levels - 1)
    else:
        levels = np.minimum(rng.geometric(0.5, num_weights) - 1, num_levels - 1)
    return np.bincount(levels.astype(int), minlength=num_levels).tolist()


def word_bits(differences: Sequence[int], order: int) -> int:
    """Return the bits of differences in exponential Golomb words of an order, signs folded into the numbers."""
    folded = [2 * abs(difference) - (difference < 0) for difference in differences]
    return sum(2 * (number + (1 << order)).bit_length() - 1 - order for number in folded)


def bytes_with_differences(counts: Sequence[int], steps: int) -> float:
    """Return the bytes of levels at costs of 1/`steps` of a bit, with their table of differences."""
    total = sum(counts)
    costs = [round(steps * (math.log2(total / count) if count else RAREST)) for count in counts]
    differences = [costs[0], *(np.diff(costs).tolist())]
    table = 8 + min(word_bits(differences, order) for order in range(6))
    shares = np.array([2.0 ** (-cost / steps) if count else 0.0 for cost, count in zip(costs, counts, strict=True)])
    used = np.array(counts) > 0
    stream = -(np.array(counts)[used] * np.log2(shares[used] / shares.sum())).sum()
    return 4 + (table + stream) / 8


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=int, default=10_001)
    parser.add_argument("--levels", default="16,64,256")
    arguments = parser.parse_args()
    rows = []
    for num_levels in map(int, arguments.levels.split(",")):
        for shape in ("equal", "normal", "halves"):
            counts = counts_of_levels(shape, arguments.weights, num_levels)
            layer = LayerBits(counts, "entropy")
            entropy = arguments.weights * entropy_bits(counts) / 8
            stored = layer.bytes_by_code[layer.code]
            differences = min(bytes_with_differences(counts, steps) for steps in STEPS)
            sizes = [stored, adaptive_bits(np.array([counts])) / 8, differences]
            above = [f"{100 * (size / entropy - 1):.2f}%" for size in sizes]
            saved = f"{stored - differences:.0f}"
            rows.append([num_levels, shape, f"{entropy_bits(counts):.2f}", layer.code, *above, saved])
    header = ["K", "levels", "entropy", "code", "stored", "adaptive", "differences", "bytes saved"]
    print_table(f"{arguments.weights:,} weights: above their entropy", header, rows)


if __name__ == "__main__":
    main()
