"""Siblings with a penalty against their sources' formulas, written naively in float64."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.conformance.test_regularizers import draw_weights, multiples
from trainables.config import PenaltyForm
from trainables.regularizers.protocol import ProximalRegularizer
from trainables.regularizers.registry import REGULARIZERS
from trainables.regularizers.representatives import LearnedGrid

ON_GRID = ("MSQE", "BinReg")
seeds = st.integers(0, 199)


def levels_of(weights: Tensor, representatives: Tensor) -> Tensor:
    """Index of the nearest representative, the lower one on a tie."""
    return (weights.double()[:, None] - representatives.double()).abs().argmin(1)


def squared_error(weights: Tensor, representatives: Tensor) -> float:
    nearest = representatives.double()[levels_of(weights, representatives)]
    return float((weights.double() - nearest).square().sum())


@settings(max_examples=30)
@given(seed=seeds, bits=st.sampled_from([1, 2, 3, 4]), size=st.sampled_from([2, 50, 400]))
def test_sinreq_is_the_squared_sine_of_scaled_weights(seed: int, bits: int, size: int) -> None:
    weights = 0.3 * draw_weights("normal", size, seed)
    regularizer = REGULARIZERS["SinReQ"](weights, 2**bits, PenaltyForm(scale=False))
    scaled = weights.double() / weights.double().abs().max()
    step = 2 / (2**bits - 1)
    expected = torch.sin(math.pi * (scaled + 1) / step).square().sum().item()
    assert regularizer.value(weights) == pytest.approx(expected, rel=1e-4, abs=1e-6)


@settings(max_examples=30)
@given(seed=seeds, num_levels=st.sampled_from([2, 3, 4, 8]), scale=st.booleans())
def test_bin_regularization_is_mean_and_variance_of_each_bin(seed: int, num_levels: int, scale: bool) -> None:
    weights = draw_weights("normal", 300, seed)
    regularizer = REGULARIZERS["BinReg"](weights, num_levels, PenaltyForm(scale=scale))
    representatives = regularizer.representatives.double()
    level = levels_of(weights, representatives)
    total = 0.0
    for index, target in enumerate(representatives):
        members = weights.double()[level == index]
        if len(members):
            total += float((members.mean() - target) ** 2 + members.var(correction=0))
    assert regularizer.value(weights) == pytest.approx(total * (300 / num_levels if scale else 1.0), rel=1e-5)


@settings(max_examples=20)
@given(seed=seeds, num_levels=st.sampled_from([2, 4, 7]))
def test_msqe_is_the_squared_quantization_error(seed: int, num_levels: int) -> None:
    weights = draw_weights("heavy-tailed", 300, seed)
    regularizer = REGULARIZERS["MSQE"](weights, num_levels, PenaltyForm())
    assert regularizer.value(weights) == pytest.approx(squared_error(weights, regularizer.representatives), rel=1e-5)


@settings(max_examples=40)
@given(
    seed=seeds,
    num_levels=st.sampled_from([1, 2, 3, 4, 16, 255]),
    shape=st.sampled_from(["normal", "uniform", "heavy-tailed", "two clusters"]),
    size=st.sampled_from([1, 2, 3, 300]),
)
def test_grid_begins_as_lsq_says_and_fitting_lowers_the_error(
    seed: int, num_levels: int, shape: str, size: int
) -> None:
    weights = draw_weights(shape, size, seed)
    first, fitted = (LearnedGrid(weights, num_levels, fitted=fitted) for fitted in (False, True))
    highest = max(1, (num_levels + 1) // 2 - 1)
    assert first.step.item() == pytest.approx(2 * weights.abs().mean().item() / math.sqrt(highest), rel=1e-5)
    torch.testing.assert_close(first.values.double(), multiples(num_levels) * first.step.double())
    assert squared_error(weights, fitted.values) <= squared_error(weights, first.values) * (1 + 1e-5) + 1e-12


def test_grid_of_weights_that_are_all_zero_is_finite() -> None:
    grid = LearnedGrid(torch.zeros(10), 4, fitted=True)
    assert grid.values.tolist() == [-2.0, -1.0, 0.0, 1.0]


@pytest.mark.parametrize("family", ON_GRID)
def test_step_of_a_grid_may_change_its_sign(family: str) -> None:
    weights = draw_weights("normal", 300, 0)
    penalties, gradients = [], []
    for sign in (1.0, -1.0):
        regularizer = REGULARIZERS[family](weights, 4, PenaltyForm())
        regularizer.state.data.mul_(sign)
        regularizer.add_gradient(weights, torch.zeros(300), 1.0)
        assert regularizer.state.grad is not None
        penalties.append(regularizer.value(weights))
        gradients.append(sign * regularizer.state.grad.item())
    assert penalties[0] == penalties[1]
    assert gradients[0] == gradients[1]


@pytest.mark.parametrize("family", ["MSQE", "BinReg", "RM"])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@settings(max_examples=25)
@given(seed=seeds, distance=st.floats(0.0, 2.0), num_levels=st.sampled_from([2, 4, 5]))
def test_shrink_minimizes_the_proximal_objective(
    family: str, reduction: str, seed: int, distance: float, num_levels: int
) -> None:
    """Each weight stays with its bin, and the penalty of its bin is a parabola: a dense grid finds the minimum."""
    weights = draw_weights("normal", 12, seed)
    form = PenaltyForm(squared=True, scale=False, reduction=reduction)
    regularizer = REGULARIZERS[family](weights, num_levels, form)
    assert isinstance(regularizer, ProximalRegularizer)
    level = levels_of(weights, regularizer.representatives)
    targets = regularizer.representatives.double()[level]
    shares = 1 / torch.bincount(level)[level] if family == "BinReg" else torch.ones(12)
    shares = shares / (12 if reduction == "mean" else 1)
    assume(
        ((weights.double()[:, None] - regularizer.representatives).abs().topk(2, 1, largest=False)[0]).diff().min()
        > 1e-3
    )
    before, shrunk = weights.double(), weights.clone()
    regularizer.shrink(shrunk, torch.empty(12), distance)
    candidates = torch.linspace(0, 1, 20_001, dtype=torch.float64)[:, None] * (targets - before) + before
    objective = 0.5 * (candidates - before) ** 2 + distance * shares * (candidates - targets) ** 2
    best = candidates.gather(0, objective.argmin(0, keepdim=True))[0]
    torch.testing.assert_close(shrunk.double(), best, rtol=0, atol=3e-4)
