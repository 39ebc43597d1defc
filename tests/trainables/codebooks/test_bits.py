"""Bits: Huffman codes against brute force and entropy, the choice of a code, and payloads counted by hand."""

import math
import re
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trainables.codebooks.asymmetric import code_costs, stream_bytes
from trainables.codebooks.bits import ASYMMETRIC, CODES, COMPACT, LayerBits, entropy_bits, index_bits, network_bits
from trainables.codebooks.huffman import canonical_code, decode, encode, huffman_lengths
from trainables.config import Recipe

counts_of_levels = st.lists(st.integers(0, 1000), min_size=2, max_size=40).filter(any)
few_levels = st.lists(st.integers(1, 50), min_size=2, max_size=5)


def stream_bits(counts: list[int], lengths: list[int]) -> int:
    """Length of all levels, coded."""
    return sum(count * length for count, length in zip(counts, lengths, strict=True))


@given(counts=few_levels)
def test_huffman_matches_brute_force(counts: list[int]) -> None:
    # By Kraft and McMillan, a uniquely decodable code has lengths l with Σ 2^−l ≤ 1, and every such set has a code.
    codes = (
        lengths
        for lengths in product(range(1, len(counts) + 1), repeat=len(counts))
        if sum(Fraction(1, 2**length) for length in lengths) <= 1
    )
    assert stream_bits(counts, huffman_lengths(counts)) == min(stream_bits(counts, list(code)) for code in codes)


@given(counts=counts_of_levels)
def test_huffman_is_complete_and_within_a_bit_of_entropy(counts: list[int]) -> None:
    lengths = huffman_lengths(counts)
    occurring = sum(count > 0 for count in counts)
    assert [length > 0 for length in lengths] == [count > 0 for count in counts]
    if occurring == 1:
        assert max(lengths) == 1
        return
    assert sum(Fraction(1, 2**length) for length in lengths if length) == 1
    entropy = entropy_bits(counts)
    assert entropy - 1e-9 <= stream_bits(counts, lengths) / sum(counts) < entropy + 1


@given(counts=counts_of_levels)
def test_huffman_lengths_make_a_canonical_prefix_free_code(counts: list[int]) -> None:
    lengths = huffman_lengths(counts)
    words = canonical_code(lengths)
    assert [len(word) for word in words] == lengths
    in_order = sorted(word for word in words if word)  # a prefix of any word is a prefix of the next one
    assert not any(after.startswith(word) for word, after in pairwise(in_order))


def test_canonical_code_matches_a_published_one() -> None:
    # RFC 1951, Sec. 3.2.2: lengths of A to H.
    words = ["010", "011", "100", "101", "110", "00", "1110", "1111"]
    assert canonical_code([3, 3, 3, 3, 3, 2, 4, 4]) == words


def shuffled_levels(counts: list[int], seed: int) -> np.ndarray:
    """Levels that occur `counts` times, in random order."""
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts), dtype=np.int32), counts))


@given(counts=counts_of_levels, seed=st.integers(0, 99))
def test_decode_inverts_encode(counts: list[int], seed: int) -> None:
    levels = shuffled_levels(counts, seed)
    for lengths in (huffman_lengths(counts), [index_bits(len(counts))] * len(counts)):
        stream = encode(levels, lengths)
        assert len(stream) == math.ceil(stream_bits(counts, lengths) / 8)
        assert (decode(stream, lengths, len(levels)) == levels).all()


def test_decode_inverts_encode_for_words_longer_than_16_bits() -> None:
    fibonacci = [1, 1]
    while len(fibonacci) < 25:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    lengths = huffman_lengths(fibonacci)
    assert max(lengths) == 24
    levels = shuffled_levels(fibonacci, 0)
    assert (decode(encode(levels, lengths), lengths, len(levels)) == levels).all()


def test_stream_holds_the_words_plane_by_plane() -> None:
    # Words 0, 10, 11 of the levels 2, 0, 1: first bits 1 0 1, then the second bits 1 0 of those that have one.
    assert encode(np.array([2, 0, 1], np.int32), [1, 2, 2]).tolist() == [0b10110000]


@given(counts=counts_of_levels, data=st.data())
def test_decode_refuses_or_reads_a_foreign_stream(counts: list[int], data: st.DataObject) -> None:
    lengths = huffman_lengths(counts)
    stream = np.frombuffer(data.draw(st.binary(max_size=200)), np.uint8)
    try:
        levels = decode(stream, lengths, sum(counts))
    except ValueError:
        return
    assert (encode(levels, lengths) == stream).all()


@given(counts=counts_of_levels)
def test_huffman_gives_rarer_levels_no_shorter_codes(counts: list[int]) -> None:
    occurring = sorted((count, -length) for count, length in zip(counts, huffman_lengths(counts), strict=True) if count)
    for (rare, rare_length), (common, common_length) in pairwise(occurring):
        assert rare == common or -rare_length >= -common_length


@pytest.mark.parametrize(
    ("num_levels", "bits"), [(2, 1), (3, 2), (4, 2), (5, 3), (8, 3), (9, 4), (255, 8), (256, 8), (257, 9)]
)
def test_index_bits_is_the_ceiling_of_the_logarithm(num_levels: int, bits: int) -> None:
    assert index_bits(num_levels) == bits


def test_entropy_of_known_distributions() -> None:
    assert entropy_bits([5, 5, 5, 5]) == pytest.approx(2)
    assert entropy_bits([7, 0, 0]) == 0
    assert entropy_bits([1, 3]) == pytest.approx(0.25 * 2 + 0.75 * math.log2(4 / 3))


@given(counts=counts_of_levels)
def test_layer_takes_the_smallest_stream(counts: list[int]) -> None:
    layer, entropy_coded = LayerBits(counts), LayerBits(counts, "entropy")
    fixed = math.ceil(sum(counts) * index_bits(len(counts)) / 8)
    huffman = len(counts) + math.ceil(stream_bits(counts, huffman_lengths(counts)) / 8)
    assert layer.num_weights == sum(counts)
    assert layer.payload_bytes == 4 * len(counts) + min(fixed, huffman)
    asymmetric = len(counts) + stream_bytes(counts, code_costs(counts))
    assert entropy_coded.payload_bytes == 4 * len(counts) + min(fixed, huffman, asymmetric)
    assert (entropy_coded.code == ASYMMETRIC) == (asymmetric < min(fixed, huffman))
    compact = LayerBits(counts, "compact")
    costs, table = compact.compact_costs
    short = len(table) + stream_bytes(counts, costs)
    assert compact.payload_bytes == 4 * len(counts) + min(fixed, huffman, asymmetric, short)
    assert (compact.code == COMPACT) == (short < min(fixed, huffman, asymmetric))
    assert 8 * layer.payload_bytes >= sum(counts) * entropy_bits(counts)


def small_network() -> nn.Module:
    """24 + 5 weights, 2 + 3 + 5 + 2 other parameters, 4 statistics and a counter."""
    return nn.Sequential(
        nn.Conv2d(3, 2, 2),  # 24 weights, 2 biases
        nn.BatchNorm2d(2),  # 2 weights, 2 biases, 2 means, 2 variances, 1 integer
        nn.Flatten(),
        nn.Linear(2, 5, bias=False),  # 10 weights
    )


def test_network_bits_match_a_count_by_hand() -> None:
    # Fixed: 24 × 2 bits in 6 bytes. Huffman: 20 × 1 + 2 × 2 + 1 × 3 + 1 × 3 bits in 4 bytes, and a table of 4.
    skewed = [20, 2, 1, 1]
    # Fixed: 10 × 1 bit in 2 bytes. Huffman: the same 2 bytes, and a table of 2.
    even = [5, 5]
    bits = network_bits(small_network(), {"0.weight": skewed, "3.weight": even})
    conv = 4 * 4 + 6
    linear = 4 * 2 + 2
    floats = 4 * (2 + 2 + 2 + 2 + 2)
    parameters = 24 + 2 + 2 + 2 + 10
    assert bits.payload_bytes == conv + linear + floats == 72
    assert bits.bits_per_weight == 8 * 72 / parameters
    assert bits.index_bits_per_weight == pytest.approx((24 * 2 + 10 * 1) / 34)
    assert bits.entropy_bits_per_weight == pytest.approx((24 * entropy_bits(skewed) + 10 * 1.0) / 34)
    assert bits.conv_bits_per_weight == 8 * conv / 24
    assert bits.linear_bits_per_weight == 8 * linear / 10
    assert {name: layer.payload_bytes for name, layer in bits.layers.items()} == {"0.weight": conv, "3.weight": linear}


def test_network_bits_use_huffman_when_it_is_smaller() -> None:
    network = nn.Linear(1000, 1, bias=False)
    counts = [997, 1, 1, 1]
    # 997 × 1 + 2 + 3 + 3 = 1005 bits in 126 bytes, a table of 4 and a codebook of 16.
    bits = network_bits(network, {"weight": counts})
    assert bits.payload_bytes == 126 + 4 + 16
    assert bits.bits_per_weight == 8 * 146 / 1000


def test_entropy_coding_leaves_no_layer_larger_and_is_chosen_by_name() -> None:
    model, counts = nn.Linear(1000, 1, bias=False), {"weight": [900, 60, 30, 10]}
    sizes = {coding: network_bits(model, counts, coding).payload_bytes for coding in CODES}
    # Huffman: 900 + 120 + 90 + 30 bits in 143 bytes, a table of 4 and a codebook of 16; entropy 601 bits.
    assert sizes["huffman"] == 163
    assert 16 + 4 + 601 / 8 < sizes["entropy"] < 16 + 4 + 1.01 * 601 / 8 + 4
    refusals: list[Callable[[], object]] = [lambda: network_bits(model, counts, "zip"), lambda: Recipe(coding="zip")]
    for refused in refusals:
        with pytest.raises(ValueError, match=rf"unknown coding 'zip'; choose from {re.escape(str(sorted(CODES)))}"):
            refused()
    assert [Recipe(coding=coding).coding for coding in CODES] == list(CODES)


def test_float_network_costs_32_bits_and_its_statistics() -> None:
    bits = network_bits(small_network(), {})
    assert bits.payload_bytes == 4 * (40 + 4)
    assert bits.bits_per_weight == 32 * 44 / 40
    assert bits.index_bits_per_weight == 32
    assert bits.entropy_bits_per_weight == 32
    assert bits.conv_bits_per_weight == bits.linear_bits_per_weight == 32
    plain = network_bits(nn.Linear(3, 4), {})
    assert plain.bits_per_weight == plain.linear_bits_per_weight == 32
    assert plain.conv_bits_per_weight is None
    assert network_bits(nn.Conv2d(3, 4, 1), {}).linear_bits_per_weight is None


@given(counts=st.lists(st.integers(0, 40), min_size=2, max_size=16).filter(any))
def test_entropy_never_exceeds_what_the_network_costs(counts: list[int]) -> None:
    bits = network_bits(nn.Linear(sum(counts), 1, bias=False), {"weight": counts})
    assert bits.entropy_bits_per_weight <= bits.index_bits_per_weight + 1e-9
    assert bits.entropy_bits_per_weight <= bits.bits_per_weight
