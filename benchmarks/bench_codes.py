"""Time to code and decode the levels of a large layer: asymmetric numeral systems beside Huffman's words.

    python benchmarks/bench_codes.py [--weights 2000000] [--levels 2,4,8,16,256] [--repeats 5]

Levels are those of normally distributed weights at K equal bins over ±2.5 standard deviations, as of RS. Speeds are
megabytes of float32 weights in a second of one core.
"""

import argparse
import time

import numpy as np
from measure import in_turn, print_table, ratios, spread

from trainables.codebooks import asymmetric, huffman
from trainables.codebooks.bits import ASYMMETRIC, HUFFMAN, LayerBits, entropy_bits


def levels_of_normal_weights(num_weights: int, num_levels: int) -> np.ndarray:
    """Return levels, int32, (num_weights,)."""
    weights = np.random.default_rng(0).normal(size=num_weights)
    bins = np.floor((weights + 2.5) / 5 * num_levels)
    return np.clip(bins, 0, num_levels - 1).astype(np.int32)


def time_codes(num_weights: int, num_levels: int, repeats: int) -> list[list[object]]:
    """Return two rows of the table, coding and decoding, for one number of levels."""
    levels = levels_of_normal_weights(num_weights, num_levels)
    layer = LayerBits(np.bincount(levels, minlength=num_levels).tolist(), "entropy")
    counts, costs, lengths = layer.counts, layer.code_costs, layer.huffman_lengths
    ours, theirs = asymmetric.encode(levels, counts, costs), huffman.encode(levels, lengths)
    works = {
        "code": (lambda: asymmetric.encode(levels, counts, costs), lambda: huffman.encode(levels, lengths)),
        "decode": (
            lambda: asymmetric.decode(ours, costs, num_weights),
            lambda: huffman.decode(theirs, lengths, num_weights),
        ),
    }
    rows: list[list[object]] = []
    for name, pair in works.items():
        times = in_turn(pair, repeats, clock=time.process_time)
        speeds = [[4e-6 * num_weights / seconds for seconds in each] for each in times]
        rows.append(
            [num_levels, name, repeats, *(spread(each, 0) for each in speeds), spread(ratios(times[1], times[0]), 1)]
        )
    sizes = [8 * layer.bytes_by_code[code] / num_weights for code in (ASYMMETRIC, HUFFMAN)]
    print(
        f"K = {num_levels}: entropy {entropy_bits(counts):.4f}, asymmetric {sizes[0]:.4f}, Huffman {sizes[1]:.4f} bits"
    )
    return rows


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=int, default=2_000_000)
    parser.add_argument("--levels", default="2,4,8,16,256")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    rows = [
        row
        for num_levels in arguments.levels.split(",")
        for row in time_codes(arguments.weights, int(num_levels), arguments.repeats)
    ]
    header = ["K", "work", "n", "asymmetric, MB/s", "Huffman, MB/s", "times as fast"]
    print_table(f"{arguments.weights:,} weights, one core", header, rows)


if __name__ == "__main__":
    main()
