"""Huffman codes of levels, and streams of levels in any canonical prefix code, packed to the bit.

A code is known by its lengths alone: words are given out in order of (length, level). A stream holds the first bits
of all words, then the second bits of those that have one, and so on: as many bits as the words one behind the
other, but a whole plane of bits at a time can be written and read, however many the levels.
"""

import heapq
from collections.abc import Sequence

import numpy as np

from trainables.shapes import Int, UInt8


def huffman_lengths(counts: Sequence[int]) -> list[int]:
    """Code lengths, in bits, of an optimal prefix code; 0 for levels that never occur, 1 for an only one.

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
    """Levels that have a word, in order of their words."""
    return sorted((level for level, length in enumerate(lengths) if length), key=lambda level: (lengths[level], level))


def canonical_code(lengths: Sequence[int]) -> list[str]:
    """Word of each level as a string of 0 and 1; empty for a level without one."""
    words = [""] * len(lengths)
    word, previous = 0, 0
    for level in _in_code_order(lengths):
        word <<= lengths[level] - previous
        words[level] = f"{word:0{lengths[level]}b}"
        word, previous = word + 1, lengths[level]
    return words


def encode(levels: Int[np.ndarray, " n"], lengths: Sequence[int]) -> UInt8[np.ndarray, " bytes"]:
    """Packs the words of all levels, plane by plane.

    Args:
        levels: in [0, k), only such as have a word.
        lengths: of the words, (k,).

    Returns:
        The stream; its last byte is filled up with zeros.
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
    stream: UInt8[np.ndarray, " bytes"], lengths: Sequence[int], num_levels: int
) -> Int[np.ndarray, " num_levels"]:
    """Inverse of `encode`.

    Args:
        stream: what `encode` returned.
        lengths: of the words, (k,).
        num_levels: how many levels the stream holds.

    Raises:
        ValueError: the stream is no stream of so many levels in this code.
    """
    bits = np.unpackbits(stream)
    in_code_order = np.array(_in_code_order(lengths), np.int32)
    levels = np.empty(num_levels, np.int32)
    waiting = np.arange(num_levels)  # places whose word goes on
    rank = np.zeros(num_levels, np.int32)  # of the word so far, among all of its length that end no shorter word
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
        raise ValueError(f"a stream of {len(stream)} bytes does not hold {num_levels} levels in its code")
    return levels
