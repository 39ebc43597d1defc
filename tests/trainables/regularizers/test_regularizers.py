"""Closed-form penalties against float64 autograd over a naive table, written from the formulas of METHOD.md."""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.autograd_oracle import FLOAT32_EPS, FREE, STATIC, Reference
from trainables.config import PenaltyForm
from trainables.regularizers.lookup.bins import DyadicBins
from trainables.regularizers.registry import REGULARIZERS


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_soft_minimum_of_a_diverged_layer_is_not_finite(broken: float) -> None:
    layer = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    regularizer = REGULARIZERS["RE"](layer, 16, PenaltyForm())
    layer[7] = broken
    gradient = torch.zeros_like(layer)
    regularizer.add_gradient(layer, gradient, 1.0)
    assert (~gradient.isfinite()).nonzero().tolist() == [[7]]


@given(
    values=st.lists(st.floats(-8, 8, width=32, allow_subnormal=False), min_size=1),
    widest=st.floats(2.0**-18, 4),
)
@example(values=[-0.25, 0.5, 0.75], widest=0.25)
def test_dyadic_bins_hold_all_values_without_rounding(values: list[float], widest: float) -> None:
    bins = DyadicBins(min(values), max(values), widest)
    assert widest / 2 < bins.width <= widest
    assert bins.exact
    bin_of, way = bins.positions(torch.tensor(values))
    assert bin_of.amin() == 0
    assert bin_of.amax() == bins.count - 1
    assert way.abs().max() <= 0.5
    # Within half a digit of the way: exact, unless a value is too small beside the bin for its way to hold it.
    error = bins.centres()[bin_of] + way.double() * bins.width - torch.tensor(values, dtype=torch.float64)
    assert error.abs().max() <= 2.0**-25 * bins.width


intervals = st.tuples(st.floats(-8, 8, width=32), st.floats(2.0**-10, 8, width=32))


@pytest.mark.parametrize("family", STATIC)
@given(interval=intervals, num_levels=st.integers(2, 256))
@example(interval=(-0.25, 0.75), num_levels=2)
def test_static_representatives_are_where_the_method_puts_them(
    family: str, interval: tuple[float, float], num_levels: int
) -> None:
    layer = torch.tensor([interval[0], interval[0] + interval[1]])
    regularizer = REGULARIZERS[family](layer, num_levels, PenaltyForm())
    representatives = regularizer.representatives.detach().double()
    zeros = Reference.of(family, PenaltyForm(), layer, representatives).zeros()
    error = (representatives - torch.tensor(zeros, dtype=torch.float64)).abs().max()
    assert len(representatives) == num_levels
    assert not regularizer.representatives.requires_grad
    assert error <= FLOAT32_EPS * layer.abs().max()


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("num_levels", [2, 3, 5, 16, 256])
@pytest.mark.parametrize("family", STATIC)
def test_static_penalty_is_zero_at_its_representatives_and_nowhere_else(
    family: str, num_levels: int, squared: bool
) -> None:
    form = PenaltyForm(squared=squared, scale=False)
    layer = torch.tensor([-0.5, 0.0, 0.5])
    regularizer = REGULARIZERS[family](layer, num_levels, form)
    reference = Reference.of(family, form, layer, regularizer.representatives.double())
    zeros = torch.tensor(reference.zeros())
    steps = torch.linspace(-1, 1, 19)
    nearby = (zeros[:, None] + reference.spacing * steps).flatten()
    away = (nearby[:, None] - zeros).abs().amin(1) > reference.spacing / 20
    # Rounding a zero to float32 moves it by at most this share of the spacing.
    rounding = num_levels * FLOAT32_EPS
    assert all(regularizer.value(zero[None]) <= math.pi * rounding for zero in zeros)
    assert all(regularizer.value(weight[None]) > math.sin(math.pi / 20) ** 2 for weight in nearby[away])


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("num_levels", [2, 3, 4, 7, 11, 16, 100, 256])
@pytest.mark.parametrize("family", STATIC)
def test_static_gradient_is_zero_at_the_ends_and_constant_beyond(family: str, num_levels: int, squared: bool) -> None:
    for seed in range(20):
        layer = torch.randn(50, generator=torch.Generator().manual_seed(seed))
        form = PenaltyForm(squared=squared, interval="minmax")
        regularizer = REGULARIZERS[family](layer, num_levels, form)
        reference = Reference.of(family, form, layer, regularizer.representatives)
        low, high = torch.tensor([reference.low, reference.high])
        weights = torch.stack([low, high, low - 0.5, high + 0.5])
        gradient = torch.zeros(4)
        regularizer.add_gradient(weights, gradient, 1.0)
        # One unit of slope beyond either end, or, when squared, twice the distance.
        torch.testing.assert_close(gradient, torch.tensor([0.0, 0.0, -1.0, 1.0]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("family", STATIC)
def test_static_penalty_is_continuous_at_the_ends(family: str, squared: bool) -> None:
    layer = torch.tensor([-0.5, 0.5])
    regularizer = REGULARIZERS[family](layer, 4, PenaltyForm(squared=squared))
    for end, step in ((0.5, 1e-5), (-0.5, -1e-5)):
        jump = regularizer.value(torch.tensor([end + step])) - regularizer.value(torch.tensor([end - step]))
        assert abs(jump) < 1e-4


@pytest.mark.parametrize("form", [PenaltyForm(), PenaltyForm(squared=True)], ids=["plain", "squared"])
@pytest.mark.parametrize("family", STATIC)
def test_static_penalty_of_equal_weights_is_zero(family: str, form: PenaltyForm) -> None:
    layer = torch.full((7,), 0.3)
    regularizer = REGULARIZERS[family](layer, 4, form)
    gradient = torch.zeros_like(layer)
    regularizer.add_gradient(layer, gradient, 1.0)
    assert regularizer.value(layer) == 0
    assert torch.equal(gradient, torch.zeros_like(layer))


@pytest.mark.parametrize("form", [PenaltyForm(), PenaltyForm(squared=True), PenaltyForm(bounded=True)])
@pytest.mark.parametrize("family", ["RM", "RE"])
def test_gradients_are_zero_midway_between_two_representatives(family: str, form: PenaltyForm) -> None:
    regularizer = REGULARIZERS[family](torch.tensor([-1.0, 1.0]), 2, form)
    assert regularizer.representatives.tolist() == [-1.0, 1.0]
    gradient = torch.zeros(1)
    regularizer.add_gradient(torch.zeros(1), gradient, 1.0)
    assert gradient.item() == 0
    if family == "RM" or form.bounded:  # the soft minimum has no kink, and pulls on both representatives
        assert regularizer.representatives.grad is not None
        assert regularizer.representatives.grad.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("initial", ["quantiles", "grid", "kmeans"])
@pytest.mark.parametrize("num_levels", [2, 5, 256])
@pytest.mark.parametrize("family", FREE)
def test_trained_representatives_begin_sorted_among_the_weights(family: str, num_levels: int, initial: str) -> None:
    layer = torch.randn(2000, generator=torch.Generator().manual_seed(0))
    regularizer = REGULARIZERS[family](layer, num_levels, PenaltyForm(initial=initial))
    representatives = regularizer.representatives
    assert representatives.requires_grad
    assert representatives.grad is not None
    assert not representatives.grad.any()
    assert len(representatives) == num_levels
    assert (representatives.diff() > 0).all()
    assert layer.min() <= representatives[0]
    assert representatives[-1] <= layer.max()


def test_soft_minimum_tends_to_squared_distance_as_temperature_falls() -> None:
    layer = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    nearest = REGULARIZERS["RM"](layer, 4, PenaltyForm(squared=True)).value(layer)
    form = PenaltyForm(temperature=1.0, final_temperature=1e-6)
    soft = REGULARIZERS["RE"](layer, 4, form)
    gaps = []
    for fraction in (0.0, 0.5, 1.0):
        soft.progress(fraction)
        gaps.append(abs(soft.value(layer) - nearest) / nearest)
    assert gaps[0] > 0.1 > gaps[1] > gaps[2]
    assert gaps[2] < 1e-5
