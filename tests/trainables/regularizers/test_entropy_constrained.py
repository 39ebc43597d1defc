"""RH: cells by distance and bits, against the definition on a dense grid and against RM."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.codebooks.assignment import assign
from trainables.codebooks.bits import entropy_bits
from trainables.config import PenaltyForm, Recipe, TrialConfig
from trainables.regularizers.application import draw
from trainables.regularizers.entropy_constrained import EntropyConstrainedDistance, code_lengths, lower_envelope
from trainables.regularizers.nearest import NearestDistance
from trainables.regularizers.protocol import ProximalRegularizer

numbers = st.integers(-64, 64).map(lambda step: step / 16)
LAYER = torch.randn(5000, generator=torch.Generator().manual_seed(0))


@given(
    points=st.lists(st.tuples(numbers, st.integers(0, 64).map(lambda step: step / 8)), min_size=1, max_size=9),
    squared=st.booleans(),
)
def test_cells_are_where_their_level_is_the_cheapest(points: list[tuple[float, float]], squared: bool) -> None:
    points.sort(key=lambda point: point[0])
    values, costs = ([point[place] for point in points] for place in (0, 1))
    levels, ends = lower_envelope(values, costs, squared)
    weights = np.linspace(-40, 40, 5001)
    distances = np.abs(weights[:, None] - np.array(values))
    table = (distances**2 if squared else distances) + np.array(costs)
    assert levels == sorted(set(levels))
    assert ends == sorted(ends)
    chosen = np.array(levels)[np.searchsorted(ends, weights)]
    np.testing.assert_allclose(table[np.arange(len(weights)), chosen], table.min(1), rtol=0, atol=1e-9)


@given(counts=st.lists(st.integers(0, 10_000), min_size=2, max_size=300).filter(any))
def test_code_lengths_are_those_of_smoothed_shares(counts: list[int]) -> None:
    lengths = code_lengths(counts)
    assert math.fsum(2.0**-bits for bits in lengths) == pytest.approx(1.0)
    shares = (np.array(counts) + 0.5) / (sum(counts) + len(counts) / 2)
    np.testing.assert_allclose(lengths, -np.log2(shares), atol=1e-9)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("num_levels", [2, 5, 16])
def test_free_bits_give_the_distance_alone(num_levels: int, squared: bool) -> None:
    form = PenaltyForm(squared=squared, entropy_weight=0.0)
    plain = NearestDistance.free(LAYER, num_levels, form)
    constrained = EntropyConstrainedDistance(LAYER, num_levels, form)
    results = []
    for regularizer in (plain, constrained):
        gradient = torch.zeros_like(LAYER)
        regularizer.add_gradient(LAYER, gradient, 0.7)
        assert regularizer.state.grad is not None
        results.append((gradient, regularizer.state.grad))
    assert all(torch.equal(first, second) for first, second in zip(*results, strict=True))
    assert plain.value(LAYER) == constrained.value(LAYER)


def test_weights_are_drawn_to_the_level_of_most_weights() -> None:
    """Between 9,000 weights at 0 and 1,000 at 1, the cells meet beyond the middle by half the difference of costs."""
    layer = torch.cat([torch.zeros(9000), torch.ones(1000)])
    regularizer = EntropyConstrainedDistance(layer, 2, PenaltyForm(entropy_weight=0.1))
    assert regularizer.representatives.tolist() == [0.0, 1.0]
    shift = 0.1 * 0.5 * math.log2(9000.5 / 1000.5) / 2
    weights = layer.clone()
    weights[:2] = torch.tensor([0.5 + shift - 1e-4, 0.5 + shift + 1e-4])
    # Two weights less at 0, and two near the middle: the shares are those of the layer but for one weight.
    gradient = torch.zeros_like(weights)
    regularizer.add_gradient(weights, gradient, 1.0)
    assert gradient[:2].tolist() == [1.0, -1.0]


def test_a_level_that_is_never_the_cheapest_pulls_on_no_weight() -> None:
    layer = torch.cat([torch.full((9999,), -1.0), torch.tensor([0.5]), torch.full((10_000,), 1.0)])
    regularizer = EntropyConstrainedDistance(layer, 3, PenaltyForm(entropy_weight=2.0))
    assert regularizer.representatives.tolist() == [-1.0, 0.5, 1.0]
    gradient = torch.zeros_like(layer)
    regularizer.add_gradient(layer, gradient, 1.0)
    assert gradient[9999] == -1.0  # towards 1, past its own representative
    assert regularizer.state.grad is not None
    assert regularizer.state.grad.tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("num_levels", [4, 8, 16])
def test_weights_that_nothing_holds_end_with_less_entropy(num_levels: int, squared: bool) -> None:
    entropies = []
    for weight in (0.0, 2.0, 4.0):
        regularizer = EntropyConstrainedDistance(LAYER, num_levels, PenaltyForm(squared=squared, entropy_weight=weight))
        weights = LAYER.clone()
        for _ in range(100):
            regularizer.progress(0.0)
            distance = 0.05 * regularizer.half_spacing / regularizer.steepest
            draw(regularizer, weights, torch.empty_like(weights), distance)
        counts = torch.bincount(assign(weights, regularizer.representatives.detach()), minlength=num_levels)
        entropies.append(entropy_bits(counts.tolist()))
    assert entropies[0] > entropies[1] + 0.02
    assert entropies[1] > entropies[2] + 0.02
    assert entropies[0] > entropies[2] + 0.2


def test_no_proximal_step_is_claimed() -> None:
    regularizer = EntropyConstrainedDistance(LAYER, 4, PenaltyForm())
    assert not isinstance(regularizer, ProximalRegularizer)
    with pytest.raises(ValueError, match="RH"):
        TrialConfig(family="RH", num_levels=4, lam=1.0, recipe=Recipe(penalty_application="proximal"))


@pytest.mark.parametrize("weight", [-0.5, math.nan, math.inf])
def test_entropy_weight_is_refused_in_one_line(weight: float) -> None:
    with pytest.raises(ValueError, match=rf"^entropy_weight must be finite and at least 0, got {weight}; try 1.0$"):
        PenaltyForm(entropy_weight=weight)
