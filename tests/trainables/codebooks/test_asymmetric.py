"""Asymmetric numeral systems: the size of a stream from its counts alone, models in integers, damage refused."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trainables.codebooks.asymmetric import ABSENT, _model, code_costs, decode, encode, frequencies, stream_bytes
from trainables.codebooks.bits import ASYMMETRIC, LayerBits, entropy_bits

counts_of_levels = st.lists(st.integers(0, 1000), min_size=2, max_size=40).filter(any)
ORDERS = ("random", "rising", "falling", "in turn")


def ordered_levels(counts: list[int], order: str, seed: int = 0) -> np.ndarray:
    """Levels that occur `counts` times, in one of `ORDERS`."""
    levels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    if order == "in turn":
        return levels.reshape(-1)[np.argsort(np.arange(len(levels)) % 7, kind="stable")]
    return {"rising": levels, "falling": levels[::-1], "random": np.random.default_rng(seed).permutation(levels)}[order]


@given(counts=counts_of_levels, order=st.sampled_from(ORDERS), seed=st.integers(0, 99))
@example(counts=[0, 7], order="random", seed=0)
@example(counts=[1, 0], order="random", seed=0)
def test_decode_inverts_encode_and_counts_give_the_size(counts: list[int], order: str, seed: int) -> None:
    levels, costs = ordered_levels(counts, order, seed), code_costs(counts)
    stream = encode(levels, counts, costs)
    assert len(stream) == stream_bytes(counts, costs)
    assert (decode(stream, costs, len(levels)) == levels).all()


@settings(max_examples=40)
@given(
    shares=st.lists(st.floats(0.001, 1), min_size=2, max_size=40),
    size=st.integers(10_001, 60_000),
    order=st.sampled_from(ORDERS),
)
def test_large_layers_lie_within_a_hundredth_of_their_entropy(shares: list[float], size: int, order: str) -> None:
    """The stream and its table, where a hundredth is more than the table and the four bytes of any stream."""
    counts = np.random.default_rng(0).multinomial(size, np.array(shares) / sum(shares)).tolist()
    stream = encode(ordered_levels(counts, order), counts, code_costs(counts))
    entropy_bytes = size * entropy_bits(counts) / 8
    assert entropy_bytes <= len(stream) <= 1.002 * entropy_bytes + 4
    layer = LayerBits(counts, "entropy")
    levels_bytes = layer.payload_bytes - layer.codebook_bytes
    assert levels_bytes <= layer.bytes_by_code[ASYMMETRIC] == len(counts) + len(stream)
    if len(counts) + 4 <= 0.008 * entropy_bytes:
        assert levels_bytes <= 1.01 * entropy_bytes


def shares_of_levels(shape: str, num_levels: int, evenness: float) -> np.ndarray:
    """Shares of K levels, from almost all weights at one level (evenness near 0) to nearly uniform ones (near 1)."""
    places = np.arange(num_levels)
    if shape == "uniform":
        shares = np.ones(num_levels)
    elif shape == "geometric":
        shares = np.maximum(evenness**places, 1e-12)
    elif shape == "normal":
        shares = np.exp(-(((places - (num_levels - 1) / 2) / (evenness * num_levels)) ** 2)) + 1e-12
    elif shape == "one level":
        shares = np.where(places == num_levels // 2, 1.0, evenness / num_levels)
    else:
        shares = np.random.default_rng(num_levels).dirichlet(np.full(num_levels, evenness)) + 1e-12
    return shares / shares.sum()


@settings(max_examples=300)
@given(
    shape=st.sampled_from(["uniform", "geometric", "normal", "one level", "random"]),
    num_levels=st.integers(2, 256),
    evenness=st.floats(0.01, 0.99),
    size=st.one_of(st.integers(10_001, 10_100), st.integers(10_001, 3_000_000)),
)
@example(shape="uniform", num_levels=256, evenness=0.5, size=10_001)
@example(shape="geometric", num_levels=256, evenness=0.5, size=10_001)
@example(shape="one level", num_levels=2, evenness=0.01, size=10_001)
def test_levels_of_large_layers_take_their_entropy_and_a_table(
    shape: str, num_levels: int, evenness: float, size: int
) -> None:
    """The statement of the module's docstring: 0.05% and 0.0004 bits a weight, 5 bytes, and the table.

    It follows that levels lie within 1% of their entropy E, in bytes, where E ≥ 110 (K + 6) + N/190.
    """
    counts = np.random.default_rng(size).multinomial(size, shares_of_levels(shape, num_levels, evenness)).tolist()
    layer = LayerBits(counts, "entropy")
    entropy = size * entropy_bits(counts) / 8
    levels = layer.payload_bytes - layer.codebook_bytes
    assert entropy <= levels + 1e-6
    assert levels <= 1.0005 * entropy + 0.0004 * size / 8 + 5 + num_levels
    if entropy >= 110 * (num_levels + 6) + size / 190:
        assert levels <= 1.01 * entropy


@pytest.mark.parametrize(
    "counts",
    [
        [9_000, 1_001],
        [5_000, 4_000, 1_001],
        [6_000, 2_000, 1_500, 501],
        [7_000, 1_500, 700, 400, 200, 150, 45, 6],
        [2**14 >> min(place, 15 - place) for place in range(16)],
    ],
)
def test_uneven_levels_of_ten_thousand_weights_lie_within_a_hundredth(counts: list[int]) -> None:
    layer = LayerBits(counts, "entropy")
    assert layer.bytes_by_code[layer.code] <= 1.01 * layer.num_weights * entropy_bits(counts) / 8
    assert layer.bytes_by_code[ASYMMETRIC] < layer.bytes_by_code["fixed"]


@given(counts=counts_of_levels)
def test_costs_are_the_nearest_sixteenths_of_a_bit(counts: list[int]) -> None:
    for count, cost in zip(counts, code_costs(counts), strict=True):
        if count == 0:
            assert cost == ABSENT
        else:  # 2^(cost/16) lies within half a step of the ratio
            ratio = Fraction(sum(counts), count) ** 32
            assert 2 ** (2 * cost - 1) <= ratio < 2 ** (2 * cost + 1)


def test_rarest_levels_have_the_greatest_cost() -> None:
    assert code_costs([2**40, 1, 0]) == [0, ABSENT - 1, ABSENT]


@given(costs=st.lists(st.integers(0, 255), min_size=2, max_size=300))
def test_frequencies_share_out_all_slots_by_the_costs(costs: list[int]) -> None:
    if set(costs) == {ABSENT}:
        with pytest.raises(ValueError, match="must have a level that occurs"):
            frequencies(costs)
        return
    slots = frequencies(costs)
    assert sum(slots) == 2**24
    assert min(slots) >= 1
    weights = [0.0 if cost == ABSENT else 2 ** (-cost / 16) for cost in costs]
    for frequency, weight in zip(slots, weights, strict=True):
        assert frequency == pytest.approx(2**24 * weight / sum(weights), rel=1e-4, abs=2 * len(costs))


@pytest.mark.parametrize("counts", [[1, 1], [1000, 1], [3, 0, 5, 900], list(range(1, 200))])
def test_model_gives_each_level_its_slots(counts: list[int]) -> None:
    """A state of 2^56 holds a slot in its last 24 bits: decoding each level shows how many slots it has."""
    import constriction

    costs = code_costs(counts)
    slots, left = frequencies(costs), 0
    for level, frequency in enumerate(slots):
        for slot in (left, left + frequency - 1):
            words = np.array([slot, 2**24], np.uint32)
            assert constriction.stream.stack.AnsCoder(words).decode(_model(costs)) == level
        left += frequency


def coded_by_hand(levels: list[int], slots: list[int]) -> bytes:
    """The bytes of the stream, by the definition: a state of 64 bits that grows by each level, last level first."""
    state, words = 0, []
    for level in reversed(levels):
        if state >> 40 >= slots[level]:
            words.append(state % 2**32)
            state >>= 32
        state = (state // slots[level] << 24) + sum(slots[:level]) + state % slots[level]
    return b"".join(word.to_bytes(4, "little") for word in words) + state.to_bytes(8, "little")


@given(counts=counts_of_levels, order=st.sampled_from(ORDERS))
def test_stream_is_that_of_the_definition(counts: list[int], order: str) -> None:
    """Another version of constriction must not change what files hold."""
    levels, costs = ordered_levels(counts, order), code_costs(counts)
    by_hand = coded_by_hand(levels.tolist(), frequencies(costs)).rstrip(b"\0")
    assert encode(levels, counts, costs).tobytes() == by_hand.ljust(stream_bytes(counts, costs), b"\0")


@pytest.mark.parametrize(
    "change",
    [
        lambda stream: stream[:-1],
        lambda stream: np.append(stream, np.uint8(0)),
        lambda stream: np.append(stream, np.uint8(1)),
        lambda stream: stream[:0],
        lambda stream: np.zeros_like(stream),
        lambda stream: np.full_like(stream, 255),
        lambda stream: stream[::-1],
    ],
)
def test_damaged_stream_is_refused(change: object) -> None:
    counts = [500, 300, 150, 50]
    costs = code_costs(counts)
    stream = encode(ordered_levels(counts, "random"), counts, costs)
    with pytest.raises(ValueError, match="does not hold 1000 levels in its code"):
        decode(change(stream), costs, 1000)  # type: ignore[operator]


@given(counts=counts_of_levels, data=st.data())
def test_decode_refuses_or_reads_a_foreign_stream(counts: list[int], data: st.DataObject) -> None:
    costs = code_costs(counts)
    stream = np.frombuffer(data.draw(st.binary(max_size=200)), np.uint8)
    try:
        levels = decode(stream, costs, sum(counts))
    except ValueError:
        return
    read = np.bincount(levels, minlength=len(costs)).tolist()
    assert (encode(levels, read, costs) == stream).all()


@pytest.mark.parametrize("costs", [[], [0], [ABSENT], [ABSENT, ABSENT]])
def test_table_without_a_choice_of_levels_is_refused(costs: list[int]) -> None:
    with pytest.raises(ValueError, match=r"a table .* must have .*; export the file again|at least 2 levels, got 1"):
        decode(np.full(8, 7, np.uint8), costs, 3)


def test_stream_too_short_for_its_levels_is_refused_before_it_is_decoded() -> None:
    """2^50 levels would take 4 PiB."""
    for costs in ([0, 0], [0, 100, 254]):
        with pytest.raises(ValueError, match=f"does not hold {2**50} levels"):
            decode(np.full(1000, 7, np.uint8), costs, 2**50)
    assert math.isfinite(stream_bytes([2**50, 1], [0, 254]))
