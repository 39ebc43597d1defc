"""Levels coded by asymmetric numeral systems (ANS): a fraction of a bit per weight, close to the entropy.

The table of a stream holds the cost of each level, −log2 of its share, in sixteenths of a bit: one byte a level, as in
a table of Huffman lengths, or fewer (`trainables.codebooks.cost_table`). Encoder and decoder derive from it, in
integers alone, how many of 2^24 slots each level has. The coder is `constriction`'s, with a state of 64 bits and words
of 32 bits.

The length of such a stream depends on the order of the levels, by a few bits. `stream_bytes` is an upper bound that
depends on their counts alone; `encode` fills the stream up to it with zeros. So the size of a file is known without
encoding, and exact. The bound exceeds the information in the levels by 0.035% and four bytes at most, and the rounding
of costs to sixteenths adds up to 0.0004 bits a weight. So N weights at K levels with an entropy of E bytes take at most
1.0005 E + 0.00005 N + 5 + K bytes: within 1% of their entropy if E is at least 110 (K + 6) + N/190.

Source: Duda, "Asymmetric numeral systems", arXiv 1311.2540; Bamler, "Understanding Entropy Coding With Asymmetric
Numeral Systems", arXiv 2201.01741 (constriction).
"""

import math
from collections.abc import Sequence
from decimal import Context, Decimal, localcontext
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from trainables.shapes import Int, UInt8

if TYPE_CHECKING:
    import constriction

ABSENT = 255
"""Cost, in the table, of a level that does not occur."""

_PRECISION = 24  # bits of constriction's models: the shares of all levels sum to 2^24 slots
_WORD = 32  # bits
_STEPS = 16  # steps of cost per bit
_EXACT = Context(prec=30)  # decimal logarithms are correctly rounded, the same on every machine; math.log2 is not

# floor(2^40 · 2^(−cost/16)) for each cost: the 16th root of 2^(640 − cost), by four exact square roots.
_SHARES = [math.isqrt(math.isqrt(math.isqrt(math.isqrt(1 << (640 - cost))))) for cost in range(ABSENT)] + [0]


def code_costs(counts: Sequence[int], step: int = 1) -> list[int]:
    """Return the cost of each level, −log2 of its share, in sixteenths of a bit.

    Args:
        counts: how often each of the K levels occurs.
        step: costs are multiples of it; it divides 16.

    Returns:
        K costs in [0, 254], rounded to the nearest multiple of `step`; `ABSENT` for a level that does not occur.
    """
    total, power, most = sum(counts), 2 * _STEPS // step, (ABSENT - 1) // step
    # floor(16/step log2(total/count) + 1/2) without rounding errors, from the 32nd power of the ratio for a step of 1.
    costs = {
        count: step * min((((2 * total**power) // count**power).bit_length() - 1) // 2, most)
        for count in set(counts)
        if count
    }
    return [costs[count] if count else ABSENT for count in counts]


def frequencies(costs: Sequence[int]) -> list[int]:
    """Return the number of slots of each level, in the model of a table of costs.

    Args:
        costs: K costs, as `code_costs` returns them.

    Returns:
        K numbers of at least 1, whose sum is 2^24.

    Raises:
        ValueError: no level occurs.
    """
    shares = [_SHARES[cost] for cost in costs]
    if not any(shares):
        raise ValueError(
            f"a table of {len(costs)} costs must have a level that occurs, got none; export the file again"
        )
    total, free = sum(shares), 2**_PRECISION - len(costs)
    slots = [1 + share * free // total for share in shares]
    slots[slots.index(max(slots))] += 2**_PRECISION - sum(slots)
    return slots


def stream_bytes(counts: Sequence[int], costs: Sequence[int]) -> int:
    """Return the bytes of a stream of levels that occur `counts` times, whatever their order.

    Let x be the coder's state, W the number of words that it has emitted, and P a level's share of the slots. With
    Φ = log2(x + 2^24) + 32 W, coding one level raises Φ by at most −log2 P; where a word is emitted, by at most
    log2(1 + 2^−7) more. Φ is 24 at first, and at the end at least the length of the stream in bits.

    Args:
        counts: how often each of the K levels occurs.
        costs: K costs of the levels.
    """
    with localcontext(_EXACT):
        information = sum(
            (count * _bits(slots) for count, slots in zip(counts, frequencies(costs), strict=True) if count), Decimal()
        )
        at_most_words = max(Decimal(), (information - (_WORD - _PRECISION)) / (_WORD - _EMISSION))
        return math.ceil((_PRECISION + information + at_most_words * _EMISSION) / 8)


@lru_cache(maxsize=4096)
def _bits(slots: int) -> Decimal:
    """Return −log2 of a share of the slots."""
    return _PRECISION - Decimal(slots).ln(_EXACT) / _LN2


_LN2 = Decimal(2).ln(_EXACT)
_EMISSION = (1 + Decimal(2) ** -7).ln(_EXACT) / _LN2


def encode(levels: Int[np.ndarray, " n"], counts: Sequence[int], costs: Sequence[int]) -> UInt8[np.ndarray, " bytes"]:
    """Return the stream of all levels, `stream_bytes` long.

    Args:
        levels: (n,), each in [0, K).
        counts: how often each of the K levels occurs in `levels`.
        costs: K costs of the levels.
    """
    import constriction  # here, since training needs only the size, which `stream_bytes` knows without the coder

    coder = constriction.stream.stack.AnsCoder()
    coder.encode_reverse(levels.astype(np.int32), _model(costs))
    content = coder.get_compressed().astype("<u4").tobytes().rstrip(b"\0")
    size = stream_bytes(counts, costs)
    assert len(content) <= size
    return np.frombuffer(content.ljust(size, b"\0"), np.uint8)


def decode(
    stream: UInt8[np.ndarray, " bytes"], costs: Sequence[int], num_weights: int
) -> Int[np.ndarray, " num_weights"]:
    """Return the levels of a stream: the inverse of `encode`.

    Args:
        stream: a result of `encode`.
        costs: K costs of the levels.
        num_weights: number of weights whose levels the stream holds.

    Returns:
        (num_weights,), int32.

    Raises:
        ValueError: the stream does not hold the levels of this number of weights at these costs. A stream that is too
            short for it is refused before memory is taken.
    """
    import constriction

    refusal = ValueError(f"a stream of {len(stream)} bytes does not hold {num_weights} levels in its code")
    if len(stream) < math.floor(num_weights * _bits(max(frequencies(costs))) / 8):
        raise refusal
    content = stream.tobytes().rstrip(b"\0")
    words = np.frombuffer(content.ljust(-(-len(content) // 4) * 4, b"\0"), "<u4").astype(np.uint32)
    coder = constriction.stream.stack.AnsCoder(words)
    levels = coder.decode(_model(costs), num_weights)
    counts = np.bincount(levels, minlength=len(costs)).tolist()
    if not coder.is_empty() or len(stream) != stream_bytes(counts, costs):
        raise refusal
    return levels


def _model(costs: Sequence[int]) -> "constriction.stream.model.Categorical":
    import constriction

    if len(costs) < 2:
        raise ValueError(f"a table must have the costs of at least 2 levels, got {len(costs)}; export the file again")
    # constriction gives each level one slot, and divides the rest in proportion to the numbers passed. Their sum here
    # is the number of slots in the rest, so that each level gets exactly its frequency.
    return constriction.stream.model.Categorical(np.array(frequencies(costs), np.float64) - 1, perfect=False)
