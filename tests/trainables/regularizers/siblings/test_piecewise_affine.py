"""PARQ against torchao's implementation: its proximal map, and whole trainings of its optimizer."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchao.prototype.parq.optim.parq import ProxPARQ
from torchao.prototype.parq.optim.quantopt import QuantOptimizer
from torchao.prototype.parq.quant.quantizer import Quantizer

from tests.conformance.test_regularizers import draw_weights
from trainables.config import PenaltyForm
from trainables.regularizers.siblings.piecewise_affine import STEEPNESS, PiecewiseAffine, inverse_slope

STEPS = 1000


@pytest.mark.parametrize(("fraction", "expected"), [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)])
def test_inverse_slope_falls_from_one_to_zero(fraction: float, expected: float) -> None:
    assert inverse_slope(fraction) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=100)
@given(
    seed=st.integers(0, 199),
    num_levels=st.sampled_from([2, 3, 4, 16]),
    step=st.integers(0, STEPS - 1),
    shape=st.sampled_from(["normal", "uniform", "heavy-tailed"]),
)
def test_proximal_map_is_that_of_torchao(seed: int, num_levels: int, step: int, shape: str) -> None:
    weights = 0.1 * draw_weights(shape, 400, seed)
    method = PiecewiseAffine(weights, num_levels, PenaltyForm())
    method.progress(step / STEPS)
    mapped = method.transform(weights)
    expected = torch.cat([weights, method.state, (method.state[1:] + method.state[:-1]) / 2])
    special = expected.clone()
    ProxPARQ(0, STEPS, steepness=STEEPNESS).apply_(expected, None, method.state, step)
    assert torch.equal(mapped, expected[:400])
    method._update = lambda weights: None  # type: ignore[method-assign]  # the representatives as they are
    assert torch.equal(method.transform(special), expected)


@settings(max_examples=25)
@given(seed=st.integers(0, 199), num_levels=st.sampled_from([2, 4, 7]))
def test_representatives_are_means_of_the_weights_nearest_to_them(seed: int, num_levels: int) -> None:
    weights = draw_weights("normal", 300, seed)
    method = PiecewiseAffine(weights, num_levels, PenaltyForm())
    moved = weights + 0.3 * draw_weights("uniform", 300, seed + 1)
    level = (moved.double()[:, None] - method.state.double()).abs().argmin(1)
    expected = torch.stack([moved.double()[level == index].mean() for index in range(num_levels)])
    method.transform(moved)
    torch.testing.assert_close(method.state.double(), expected, rtol=1e-5, atol=1e-6)
    assert (method.state.diff() > 0).all()


class Means(Quantizer):
    """Quantizer of torchao that moves given values to the means of the weights nearest to them."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = values.double()

    def get_quant_size(self, b: int) -> int:
        return len(self.values)

    def quantize(self, p: Tensor, b: int, dim: int | None = None) -> tuple[None, Tensor]:
        level = (p.double()[:, None] - self.values).abs().argmin(1)
        for index in level.unique().tolist():
            self.values[index] = p.double()[level == index].mean()
        self.values = self.values.float().double()
        return None, self.values.float()


@pytest.mark.parametrize("num_levels", [2, 4])
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_training_is_that_of_torchaos_optimizer(
    optimizer: type[torch.optim.SGD | torch.optim.AdamW], num_levels: int
) -> None:
    """The loss pulls to random targets, as far as the mapped weights are from them."""
    steps, begun = 60, draw_weights("normal", 200, 0)
    targets = draw_weights("normal", 200, 1)
    weights, method = begun.clone().requires_grad_(), PiecewiseAffine(begun, num_levels, PenaltyForm())
    theirs = begun.clone().requires_grad_()
    quantizer = Means(method.state)
    ours = optimizer([weights], lr=0.03)
    group = {"params": [theirs], "quant_bits": math.ceil(math.log2(num_levels))}
    # torchao maps the weights after a step, this project before the next one: one step of the schedule later.
    schedule = ProxPARQ(-1, steps - 1, steepness=STEEPNESS)
    reference = QuantOptimizer(optimizer([group], lr=0.03), quantizer, schedule, quant_period=1)
    for step in range(steps):
        method.progress(step / steps)
        mapped = method.transform(weights.detach())
        if step:  # before the first step, torchao does not map
            torch.testing.assert_close(mapped, theirs.detach(), rtol=1e-5, atol=1e-6)
        weights.grad = mapped - targets
        method.chain(weights.detach(), weights.grad)
        theirs.grad = weights.grad.clone() if step == 0 else theirs.detach() - targets
        if step == 0:
            quantizer.values = method.state.double()
        ours.step()
        reference.step()
    method.progress(0.999999)
    assert len(method.transform(weights.detach()).unique()) == len(theirs.detach().unique()) == num_levels
