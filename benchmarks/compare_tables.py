"""Compare tables for the code of levels with what any code must take.

    python benchmarks/compare_tables.py [--weights 10001] [--levels 16,64,256]

Sizes are those of all levels of one layer with what decoding needs, in per cent above their entropy: with a table of a
byte a level (`entropy` coding), with short tables (`compact` coding, the default of a study), and by an ideal code that
has no table but learns the shares as it goes. Levels are equally frequent; normally distributed, in equal bins over
±2.5 standard deviations; or each is half as frequent as the one before.

The second table is about all layers. `any code` is the least that the best code exceeds the entropy by in its worst
layer: for every code there is a layer of this size that takes so many bytes more (Shtarkov's theorem). So no code lies
within 1% for all layers with less than 100 times as much entropy.

Source: Shtarkov, "Universal sequential coding of single messages", 1987; Kontkanen and Myllymäki, "A linear-time
algorithm for computing the multinomial stochastic complexity", 2007 (the recurrence).
"""

import argparse
import math

import numpy as np
from compare_codes import adaptive_bits
from measure import print_table
from scipy.special import gammaln, xlogy

from trainables.codebooks.bits import LayerBits, entropy_bits


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


def least_excess_bits(num_weights: int, num_levels: int) -> float:
    """Return what the best code takes above the entropy in its worst layer, in bits.

    It is the logarithm of the sum, over all sequences of N levels, of their largest probability under any shares.

    Args:
        num_weights: N ≥ 1.
        num_levels: K ≥ 1.
    """
    ones = np.arange(num_weights + 1)
    others = num_weights - ones
    logs = gammaln(num_weights + 1) - gammaln(ones + 1) - gammaln(others + 1)
    logs += xlogy(ones, ones / num_weights) + xlogy(others, others / num_weights)
    # Scaled by 2^-scale, for the sums of many levels are beyond a float.
    before, now, scale = 1.0, float(np.exp(logs).sum()), 0
    if num_levels == 1:
        return 0.0
    for levels in range(1, num_levels - 1):
        before, now = now, now + num_weights / levels * before
        shift = max(0, math.frexp(now)[1] - 500)
        before, now, scale = math.ldexp(before, -shift), math.ldexp(now, -shift), scale + shift
    return math.log2(now) + scale


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=int, default=10_001)
    parser.add_argument("--levels", default="16,64,256")
    arguments = parser.parse_args()
    rows, limits = [], []
    for num_levels in map(int, arguments.levels.split(",")):
        for shape in ("equal", "normal", "halves"):
            counts = counts_of_levels(shape, arguments.weights, num_levels)
            layers = [LayerBits(counts, coding) for coding in ("entropy", "compact")]
            entropy = arguments.weights * entropy_bits(counts) / 8
            stored, compact = (layer.bytes_by_code[layer.code] for layer in layers)
            sizes = (stored, compact, adaptive_bits(np.array([counts])) / 8)
            above = [f"{100 * (size / entropy - 1):.2f}%" for size in sizes]
            rows.append([num_levels, shape, f"{entropy_bits(counts):.2f}", *above, layers[1].code, stored - compact])
        least = least_excess_bits(arguments.weights, num_levels) / 8
        hopeless = 8 * 100 * least / arguments.weights
        limits.append([num_levels, f"{least:.1f}", f"{hopeless:.2f}", f"{math.log2(num_levels):.0f}"])
    header = ["K", "levels", "entropy", "a byte a level", "short table", "adaptive", "code", "bytes saved"]
    print_table(f"{arguments.weights:,} weights: above their entropy", header, rows)
    header = ["K", "any code, bytes above entropy", "within 1% at most from, bits per weight", "largest entropy"]
    print_table(f"{arguments.weights:,} weights: the limit of all codes", header, limits)


if __name__ == "__main__":
    main()
