"""Promises that every weight transform of the registry keeps: gradients are those of autograd in float64."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.conformance.test_regularizers import draw_weights, multiples
from trainables.config import PenaltyForm
from trainables.regularizers.protocol import WeightTransform
from trainables.regularizers.registry import TRANSFORMS
from trainables.regularizers.siblings.soft_clusters import CONVERGED, MOST_ITERATIONS, SoftClusters

FORM = PenaltyForm(temperature=0.3, final_temperature=0.1)
FAMILIES = sorted(TRANSFORMS)
seeds = st.integers(0, 199)
levels = st.sampled_from([2, 3, 4, 8])
shapes = st.sampled_from(["normal", "uniform", "heavy-tailed", "two clusters"])


def layer(
    family: str, num_levels: int, seed: int, shape: str = "normal", size: int = 300
) -> tuple[WeightTransform, Tensor]:
    """A transform, and weights that have moved a little since it was made."""
    weights = 0.1 * draw_weights(shape, size, seed)
    transform = TRANSFORMS[family](weights, num_levels, FORM)
    return transform, weights + 0.01 * draw_weights("normal", size, seed + 1)


class PassThrough(torch.autograd.Function):
    """A function whose derivative counts as that of the identity: the straight-through estimator."""

    @staticmethod
    def forward(ctx: object, weights: Tensor, values: Tensor) -> Tensor:
        return values

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def lsq(weights: Tensor, step: Tensor, num_levels: int) -> Tensor:
    """LSQ by the source's recipe: scale the step's gradient, divide, clip, round through, multiply."""
    steps = multiples(num_levels).double()
    highest = max(1.0, float(steps[-1]))
    share = 1 / math.sqrt(len(weights) * highest)
    scaled = (step - step * share).detach() + step * share
    ratio = (weights / scaled).clamp(float(steps[0]), float(steps[-1]))
    nearest = steps[(ratio[:, None] - steps).abs().argmin(1)]
    return PassThrough.apply(ratio, nearest) * scaled


def dkm(weights: Tensor, centroids: Tensor, tau: float, spacing: float) -> tuple[Tensor, list[Tensor]]:
    """DKM by autograd through every iteration, over the n × K table, and the centroids before each iteration."""
    begins = []
    for _ in range(MOST_ITERATIONS):
        begins.append(centroids.detach())
        attention = torch.softmax(-(weights[:, None] - centroids).abs() / tau, 1)
        before, centroids = centroids, (attention * weights[:, None]).sum(0) / attention.sum(0)
        if (centroids - before).abs().max() <= CONVERGED * spacing:
            break
    return attention @ centroids, begins


@settings(max_examples=60)
@given(seed=seeds, num_levels=levels, shape=shapes, size=st.sampled_from([5, 300, 2000]), sign=st.sampled_from([1, -1]))
def test_lsq_is_that_of_autograd(seed: int, num_levels: int, shape: str, size: int, sign: int) -> None:
    transform, weights = layer("LSQ", num_levels, seed, shape, size)
    transform.state.data.mul_(sign)
    upstream = draw_weights("normal", size, seed + 2)
    exact = weights.double().requires_grad_()
    step = transform.state.detach().abs().double().requires_grad_()
    expected = lsq(exact, step, num_levels)
    expected.backward(upstream.double())
    assert exact.grad is not None
    assert step.grad is not None

    torch.testing.assert_close(transform.transform(weights).double(), expected.detach(), rtol=1e-6, atol=1e-7)
    gradient = upstream.clone()
    transform.chain(weights, gradient)
    torch.testing.assert_close(gradient.double(), exact.grad, rtol=1e-5, atol=1e-7)
    assert transform.state.grad is not None
    torch.testing.assert_close(sign * transform.state.grad.double(), step.grad, rtol=1e-4, atol=1e-5)


@settings(max_examples=60)
@given(
    seed=seeds,
    num_levels=levels,
    shape=st.sampled_from(["normal", "uniform", "two clusters"]),
    size=st.sampled_from([20, 300, 2000]),
    fraction=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_dkm_is_that_of_autograd(seed: int, num_levels: int, shape: str, size: int, fraction: float) -> None:
    transform, weights = layer("DKM", num_levels, seed, shape, size)
    spacing = float(transform.state[-1] - transform.state[0]) / (num_levels - 1)
    transform.progress(fraction)
    tau = 0.3 * (0.1 / 0.3) ** fraction * spacing
    upstream = draw_weights("normal", size, seed + 2)
    exact = weights.double().requires_grad_()
    expected, begins = dkm(exact, transform.state.double(), tau, spacing)
    expected.backward(upstream.double())
    assert exact.grad is not None

    torch.testing.assert_close(transform.transform(weights).double(), expected.detach(), rtol=1e-4, atol=1e-5)
    # The gradient jumps where a weight passes a centroid, which float32 may hold on the other side of it.
    assert isinstance(transform, SoftClusters)
    held = [iteration.centroids for iteration in transform._iterations]
    assume(len(held) == len(begins))
    sides = [[(weights[:, None] - centroids.double()).sign() for centroids in ones] for ones in (held, begins)]
    assume(all(torch.equal(own, other) for own, other in zip(*sides, strict=True)))
    gradient = upstream.clone()
    transform.chain(weights, gradient)
    assert (gradient.double() - exact.grad).norm() <= 1e-3 * exact.grad.norm()


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=20)
@given(seed=seeds, num_levels=levels)
def test_transform_and_chain_change_nothing_else(family: str, seed: int, num_levels: int) -> None:
    transform, weights = layer(family, num_levels, seed)
    before = weights.clone()
    transform.transform(weights)
    state = transform.state.detach().clone()
    transform.chain(weights, torch.ones_like(weights))
    assert torch.equal(weights, before)
    assert torch.equal(transform.state, state)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=20)
@given(seed=seeds, num_levels=levels, shape=shapes, fraction=st.floats(0, 0.999))
def test_transformed_weights_lie_between_the_representatives(
    family: str, seed: int, num_levels: int, shape: str, fraction: float
) -> None:
    transform, weights = layer(family, num_levels, seed, shape)
    transform.progress(fraction)
    values = transform.transform(weights)
    representatives = transform.representatives.detach()
    assert (representatives.diff() >= 0).all()
    assert len(representatives) == num_levels
    width = float(representatives[-1] - representatives[0])
    assert values.amin() >= representatives[0] - 1e-5 * width
    assert values.amax() <= representatives[-1] + 1e-5 * width


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [2**17 + 1, 2**18 + 17])
def test_transform_of_a_layer_in_chunks_is_that_of_its_parts(family: str, size: int) -> None:
    """The mapped value of a weight depends on its own value and the representatives alone."""
    transform, weights = layer(family, 4, 0, size=size)
    values = transform.transform(weights)
    order = weights.argsort()
    assert (values[order].diff() >= -1e-6).all()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("weights", [torch.zeros(20), torch.full((20,), 0.7), torch.tensor([0.5])])
def test_layers_of_equal_weights_stay_finite(family: str, weights: Tensor) -> None:
    transform = TRANSFORMS[family](weights, min(4, len(weights)), FORM)
    gradient = torch.ones_like(weights)
    assert transform.transform(weights).isfinite().all()
    transform.chain(weights, gradient)
    assert gradient.isfinite().all()
    assert transform.representatives.isfinite().all()
