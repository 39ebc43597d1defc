"""Formulas that depend on the levels of a layer alone, each computed by one program."""

import itertools
import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.support.examples import examples
from tests.trainables.fused.slope_kernels import (
    run_cosine,
    run_felt_on_each_side,
    run_nearest_level,
    run_store_cells,
)
from trainables.codebooks.assignment import assign
from trainables.fused.slopes import LOG2_E
from trainables.regularizers.entropy_constrained import code_lengths, lower_envelope
from trainables.regularizers.lookup.slope_table import NEGLIGIBLE

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LEVELS = st.lists(st.integers(-200, 200).map(lambda number: number / 64), min_size=2, max_size=9).map(sorted)
"""Representatives that float32 holds exactly, some of them equal."""


def on_device(numbers: list[float] | list[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor on the device of the kernels."""
    return torch.tensor(numbers, dtype=dtype, device=DEVICE)


def felt(values: list[float], tau: float, block: int) -> int:
    """The number of levels on each side of the nearest one that a weight feels at a temperature."""
    result = on_device([0], torch.int32)
    run_felt_on_each_side[(1,)](result, on_device(values), len(values), LOG2_E.value / tau, block)
    return int(result)


@examples(60)
@given(values=LEVELS, tau=st.sampled_from([1e-4, 0.01, 0.1, 1.0, 100.0]), block=st.sampled_from([2, 16]))
def test_levels_that_no_weight_feels_have_a_negligible_share(values: list[float], tau: float, block: int) -> None:
    reach = felt(values, tau, block)
    middles = [(one + other) / 2 for one, other in itertools.pairwise(values)]
    cells = zip([values[0], *middles], [*middles, values[-1]], strict=True)
    for nearest, cell in enumerate(cells):
        others = [*values[: max(nearest - reach, 0)], *values[nearest + reach + 1 :]]
        for weight in cell:
            exponents = [((weight - one) ** 2 - (weight - values[nearest]) ** 2) / tau for one in others]
            assert min(exponents, default=math.inf) >= NEGLIGIBLE * 0.999


def test_weights_feel_the_neighbours_of_their_level_alone_where_levels_are_apart() -> None:
    even = [0.1 * k for k in range(20)]
    tau = 0.02 * 0.1**2
    assert felt(even, tau, 4) == 1
    assert felt([*even, 1.9 + 0.004], tau, 4) == 2
    assert felt([-0.004, *even], tau, 4) == 2
    assert felt(even, 1.0, 4) == 19
    assert felt([0.5] * 6, tau, 4) == 5
    assert felt([0.0, 1.0], tau, 4) == 1


def test_series_of_the_cosine_has_the_digits_of_float32() -> None:
    angles = torch.linspace(-math.pi / 2, math.pi / 2, 4096, device=DEVICE)
    result = torch.empty_like(angles)
    run_cosine[(1,)](result, angles, len(angles))
    torch.testing.assert_close(result.double(), angles.double().cos(), rtol=0, atol=1.5e-7)


@examples(60)
@given(values=LEVELS, spare=st.integers(0, 3), size=st.integers(2, 70))
def test_level_of_a_weight_is_that_of_the_nearest_representative(values: list[float], spare: int, size: int) -> None:
    """Ties go down, whatever the number of digits; the weights are representatives, middles and what is beside them."""
    values = (values * size)[:size]
    values.sort()
    middles = [(one + other) / 2 for one, other in itertools.pairwise(values)]
    beside = [place + shift for place in (*values, *middles) for shift in (-1 / 256, 0.0, 1 / 256)]
    weights = torch.tensor([*beside, -1e30, 1e30, math.inf, -math.inf])
    padded = torch.zeros(1024)
    padded[: len(weights)] = weights
    levels, ends = on_device([0] * 1024, torch.int32), on_device([0] * 1024, torch.int32)
    nearest = torch.empty(1024, device=DEVICE)
    digits = (size - 1).bit_length() + spare
    run_nearest_level[(1,)](levels, nearest, ends, padded.to(DEVICE), on_device(values), size, digits, 1024)
    expected = assign(padded, torch.tensor(values))
    assert torch.equal(levels.cpu(), expected)
    assert torch.equal(nearest.cpu(), torch.tensor(values)[expected])
    boundaries = torch.tensor([*middles, math.nan])  # the last level ends nowhere
    assert torch.equal(ends.cpu() != 0, padded == boundaries[expected])


@examples(80)
@given(data=st.data(), values=LEVELS, cost_of_bit=st.sampled_from([0.0, 0.03, 0.25, 2.0]), squared=st.booleans())
def test_cells_of_levels_that_cost_bits_are_those_of_their_lower_envelope(
    data: st.DataObject, values: list[float], cost_of_bit: float, squared: bool
) -> None:
    counts = data.draw(st.lists(st.integers(0, 1000), min_size=len(values), max_size=len(values)))
    levels, ends = lower_envelope(values, [cost_of_bit * bits for bits in code_lengths(counts)], squared)
    weights = [-10.0, *(end + shift for end in ends for shift in (-1e-3, 1e-3)), *values, *ends, 10.0]
    weights += [10.0] * (64 - len(weights))
    starts, found = torch.empty(len(values), device=DEVICE), on_device([0] * 64, torch.int32)
    at_end = torch.empty_like(found)
    run_store_cells[(1,)](
        starts,
        torch.empty(len(values), dtype=torch.float64, device=DEVICE),
        on_device(values),
        on_device(counts, torch.int32),
        on_device(weights),
        found,
        at_end,
        len(values),
        on_device([sum(counts)], torch.int64),
        on_device([cost_of_bit], torch.float64),
        squared=squared,
        padded_levels=16,
        size_of_all=64,
    )
    boundaries = torch.tensor(ends, dtype=torch.float32)
    placed = torch.tensor(weights, dtype=torch.float32)
    cells = torch.bucketize(placed, boundaries)  # of two levels that cost the same, the lower
    # Where three cells meet in one place, rounding decides which of their ends is there.
    near = (placed[:, None] - boundaries).abs()
    unsure = ((near > 0) & (near < 1e-5)).any(1)
    assert torch.equal(found.cpu()[~unsure], torch.tensor(levels, dtype=torch.int32)[cells][~unsure])
    assert torch.equal(at_end.cpu()[~unsure] == 1, (near == 0).any(1)[~unsure])
