"""Huffman codes of levels, and packed streams of levels in any canonical prefix code.

A canonical code follows from its lengths: words are assigned in order of (length, level). A stream holds the first bits
of all words, then the second bits of the words that have one, and so on. It is as long as the words one after another,
but a whole plane of bits is written and read at once, whatever the number of levels.
"""

import heapq
from collections.abc import Sequence

import numpy as np

from trainables.shapes import Int, UInt8


def huffman_lengths(counts: Sequence[int]) -> list[int]:
    """Return the code lengths, in bits, of an optimal prefix code.

    Args:
        counts: how often each of the K levels occurs.

    Returns:
        K lengths; 0 for a level that does not occur, 1 if only one level occurs.

    Source: Huffman, "A Method for the Construction of Minimum-Redundancy Codes", 1952.
    """
    heap = [(count, level, [level]) for level, count in enumerate(counts) if count]
    lengths = [0] * len(counts)
    if len(heap) == 1:
        lengths[heap[0][1]] = 1
    heapq.heapify(heap)
    while len(heap) > 1:
        count_a, _, levels_a = heapq.heappop(heap)
        count_b, tie, levels_b = heapq.heappop(heap)
        for level in levels_a + levels_b:
            lengths[level] += 1
        heapq.heappush(heap, (count_a + count_b, tie, levels_a + levels_b))
    return lengths


def _in_code_order(lengths: Sequence[int]) -> list[int]:
    """Return the levels that have a word, in order of their words."""
    return sorted((level for level, length in enumerate(lengths) if length), key=lambda level: (lengths[level], level))


def canonical_code(lengths: Sequence[int]) -> list[str]:
    """Return the word of each level as a string of 0 and 1; empty for a level without a word."""
    words = [""] * len(lengths)
    word, previous = 0, 0
    for level in _in_code_order(lengths):
        word <<= lengths[level] - previous
        words[level] = f"{word:0{lengths[level]}b}"
        word, previous = word + 1, lengths[level]
    return words


def encode(levels: Int[np.ndarray, " n"], lengths: Sequence[int]) -> UInt8[np.ndarray, " bytes"]:
    """Return the packed words of all levels, plane by plane.

    Args:
        levels: (n,), each in [0, K) and with a word.
        lengths: K lengths of words, in bits.

    Returns:
        The stream; zeros fill the last byte.
    """
    words = canonical_code(lengths)
    planes = [np.empty(0, np.uint8)]
    for depth in range(max(lengths)):
        longer = np.array([len(word) > depth for word in words])
        bits = np.array([word[depth : depth + 1] == "1" for word in words], np.uint8)
        levels = levels[longer[levels]]
        planes.append(bits[levels])
    return np.packbits(np.concatenate(planes))


def decode(
    stream: UInt8[np.ndarray, " bytes"], lengths: Sequence[int], num_weights: int
) -> Int[np.ndarray, " num_weights"]:
    """Return the levels of a stream: the inverse of `encode`.

    Args:
        stream: a result of `encode`.
        lengths: K lengths of words, in bits.
        num_weights: number of weights whose levels the stream holds.

    Returns:
        (num_weights,), int32.

    Raises:
        ValueError: the stream does not hold the levels of this number of weights in this code.
    """
    if list(lengths) == [0] and not len(stream):  # a single level needs no bits
        return np.zeros(num_weights, np.int32)
    bits = np.unpackbits(stream)
    in_code_order = np.array(_in_code_order(lengths), np.int32)
    levels = np.empty(num_weights, np.int32)
    waiting = np.arange(num_weights)  # indices of the levels whose word has not ended
    rank = np.zeros(num_weights, np.int32)  # index of each unfinished prefix among all of its length
    position = shorter = 0
    for length in range(1, max(lengths) + 1):
        plane = bits[position : position + len(waiting)]
        if len(plane) < len(waiting):
            break
        position += len(plane)
        rank = 2 * rank + plane
        if ending := lengths.count(length):
            ends = rank < ending
            levels[waiting[ends]] = in_code_order[shorter + rank[ends]]
            waiting, rank = waiting[~ends], rank[~ends] - ending
            shorter += ending
    if len(waiting) or len(stream) != -(-position // 8) or bits[position:].any():
        raise ValueError(f"a stream of {len(stream)} bytes does not hold {num_weights} levels in its code")
    return levels
