"""Short tables of costs: read as they were written, and as short as the definition says."""

import itertools

import numpy as np
import pytest
from compare_tables import least_excess_bits
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trainables.codebooks import asymmetric
from trainables.codebooks.asymmetric import ABSENT, code_costs
from trainables.codebooks.bits import ASYMMETRIC, COMPACT, LayerBits, entropy_bits
from trainables.codebooks.cost_table import STEPS, decode_table, encode_table, held_costs

counts_of_levels = st.lists(st.one_of(st.just(0), st.integers(1, 5000)), min_size=1, max_size=300).filter(any)


def as_bytes(bits: str) -> bytes:
    """Bits with the zeros that fill the last byte."""
    return bytes(int(bits[place : place + 8].ljust(8, "0"), 2) for place in range(0, len(bits), 8))


@given(counts=counts_of_levels, step=st.sampled_from(STEPS))
@example(counts=[0, 0, 1, 0], step=8)
@example(counts=[2**40, 1], step=1)
def test_decode_inverts_encode(counts: list[int], step: int) -> None:
    costs = code_costs(counts, step)
    table = encode_table(costs, step)
    assert decode_table(table, len(costs)) == costs
    assert len(table) <= 3 * len(costs)


@given(counts=counts_of_levels, step=st.sampled_from(STEPS))
def test_costs_are_the_nearest_multiples_of_the_step(counts: list[int], step: int) -> None:
    total = sum(counts)
    for count, cost in zip(counts, code_costs(counts, step), strict=True):
        if count == 0:
            assert cost == ABSENT
        else:
            exact = 16 * np.log2(total / count)
            assert cost % step == 0
            assert abs(cost - exact) <= step / 2 + 1e-9
            assert cost < ABSENT


@given(counts=counts_of_levels, step=st.sampled_from(STEPS))
def test_held_costs_change_only_where_those_of_the_levels_do(counts: list[int], step: int) -> None:
    exact, latest = code_costs(counts), None
    for cost, held in zip(exact, held_costs(exact, step), strict=True):
        assert (held == ABSENT) == (cost == ABSENT)
        if cost == ABSENT:
            latest = None
            continue
        assert held % step == 0
        assert held < ABSENT
        if latest is not None and abs(cost - latest) <= 7 / 8 * step:
            assert held == latest
        elif cost <= (ABSENT - 1) // step * step:
            assert abs(held - cost) <= step / 2
        latest = held


def test_table_is_that_of_the_definition() -> None:
    """Costs of 1 bit twelve times, 1½ bits, and an absent level, in halves of a bit."""
    costs = [16] * 12 + [24, ABSENT]
    words = {
        "step": "11",
        "order": "000",
        "runs": "1",
        "up by 2, folded to 4": "00101",
        "0": "1",
        "and 10 more": "0001011",
        "up by 1, folded to 2": "011",
        "from 3 up to 32, folded to 58": "00000111011",
    }
    assert encode_table(costs, 8) == as_bytes("".join(words.values()))


def test_run_of_equal_costs_is_two_words() -> None:
    lengths = {num_levels: len(encode_table([64] * num_levels, 8)) for num_levels in (8, 64, 256)}
    assert lengths == {8: 3, 64: 4, 256: 4}


@pytest.mark.parametrize(
    ("table", "num_levels"),
    [
        (b"", 4),
        (b"\x00", 4),  # no word ends
        (encode_table([16, 16, 24], 8), 4),  # too few costs
        (encode_table([16, 16, 24], 8), 2),  # too many
        (encode_table([16] * 9, 8), 4),  # a run beyond the last level
        (encode_table([16, 16, 24], 8) + b"\x00", 3),  # a byte too many
        (as_bytes("110000010"), 1),  # a cost below 0
        (as_bytes("1100000000001000011"), 1),  # above that of an absent level
    ],
)
def test_table_that_holds_no_costs_of_its_levels_is_refused(table: bytes, num_levels: int) -> None:
    message = rf"a table of {len(table)} bytes does not hold .*; export the file again"
    with pytest.raises(ValueError, match=message):
        decode_table(table, num_levels)


@given(table=st.binary(max_size=40), num_levels=st.integers(1, 300))
def test_foreign_table_is_refused_or_read(table: bytes, num_levels: int) -> None:
    try:
        costs = decode_table(table, num_levels)
    except ValueError:
        return
    assert len(costs) == num_levels
    assert all(0 <= cost <= ABSENT for cost in costs)


@given(counts=counts_of_levels)
def test_layer_takes_the_table_with_the_fewest_bytes(counts: list[int]) -> None:
    layer = LayerBits(counts, "compact")
    sizes = []
    for step in STEPS:
        for costs in (code_costs(counts, step), held_costs(code_costs(counts), step)):
            sizes.append(len(encode_table(costs, step)) + asymmetric.stream_bytes(counts, costs))
    assert layer.bytes_by_code[COMPACT] == min(sizes)
    assert layer.payload_bytes <= LayerBits(counts, "entropy").payload_bytes


def shares(shape: str, num_levels: int) -> np.ndarray:
    """Shares of K levels that are equally frequent, distributed like weights, or each half as frequent as the last."""
    places = np.arange(num_levels)
    if shape == "equal":
        weights = np.ones(num_levels)
    elif shape == "halves":
        weights = 0.5 ** np.minimum(places, 60)
    else:
        edges = np.linspace(-2.5, 2.5, num_levels)
        weights = np.exp(-(edges**2) / 2) if shape == "normal" else np.exp(-np.sqrt(2) * np.abs(edges))
    return weights / weights.sum()


@settings(max_examples=30)
@given(
    shape=st.sampled_from(["equal", "normal", "laplace", "halves"]),
    num_levels=st.integers(3, 256),
    size=st.one_of(st.integers(10_001, 12_000), st.integers(10_001, 1_000_000)),
    seed=st.integers(0, 99),
)
@example(shape="halves", num_levels=256, size=10_001, seed=0)
@example(shape="normal", num_levels=256, size=10_001, seed=0)
@example(shape="equal", num_levels=256, size=10_001, seed=0)
@example(shape="normal", num_levels=252, size=10_001, seed=0)
@example(shape="laplace", num_levels=256, size=10_001, seed=61)
@example(shape="halves", num_levels=3, size=10_001, seed=0)
def test_levels_of_ten_thousand_weights_lie_within_a_hundredth(
    shape: str, num_levels: int, size: int, seed: int
) -> None:
    """Or within 8 bytes, where these are more: four of any stream, and a table of few levels.

    Where more than 200 levels have Laplace's distribution, within what the best code takes above the entropy in its
    worst layer, which is more than 1%.
    """
    counts = np.random.default_rng(seed).multinomial(size, shares(shape, num_levels)).tolist()
    layer = LayerBits(counts, "compact")
    entropy_bytes = size * entropy_bits(counts) / 8
    excess = max(0.01 * entropy_bytes, 8)
    if shape == "laplace" and num_levels > 200:
        excess = max(excess, least_excess_bits(size, num_levels) / 8)
    assert entropy_bytes <= layer.bytes_by_code[layer.code] <= entropy_bytes + excess


@pytest.mark.parametrize(("num_weights", "num_levels"), [(1, 1), (1, 3), (4, 2), (5, 3), (3, 5)])
def test_limit_of_all_codes_is_that_of_its_definition(num_weights: int, num_levels: int) -> None:
    """Every sequence counts with its largest probability; a code gives none a smaller excess than their sum allows."""
    total = 0.0
    for levels in itertools.product(range(num_levels), repeat=num_weights):
        counts = np.bincount(levels, minlength=num_levels).tolist()
        total += 2.0 ** (-num_weights * entropy_bits(counts))
    assert least_excess_bits(num_weights, num_levels) == pytest.approx(np.log2(total), abs=1e-9)


def test_no_code_lies_within_a_hundredth_for_all_layers() -> None:
    largest_entropy = 10_001 * 8
    assert least_excess_bits(10_001, 256) > 0.01 * largest_entropy


def test_the_short_table_makes_the_difference() -> None:
    counts = np.random.default_rng(0).multinomial(10_001, shares("normal", 256)).tolist()
    layer = LayerBits(counts, "compact")
    assert layer.code == COMPACT
    assert layer.bytes_by_code[ASYMMETRIC] > 1.02 * layer.num_weights * entropy_bits(counts) / 8
