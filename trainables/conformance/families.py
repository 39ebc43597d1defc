"""Checks of a family: its gradients, the in-place contract, and what a checkpoint holds of it.

The gradient is compared with central differences of the penalty's value in float64, which need no second formula. A
weight at a kink, where the differences to both sides disagree, is left out.
"""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from trainables.config import PenaltyForm
from trainables.conformance.finding import Finding, require, run_checks
from trainables.regularizers.application import draw_by_gradient
from trainables.regularizers.chunks import CPU_CHUNK
from trainables.regularizers.own.own_family import QuantizerFactory
from trainables.regularizers.protocol import DrawnRegularizer, Regularizer
from trainables.shapes import Float

NUM_WEIGHTS = 120
STEP = 1e-6
"""Step of the differences, in half-spacings of the representatives."""
TOLERANCE = 2e-3
"""Largest error of a gradient, relative to the largest slope in float64."""
ROUNDING = 1e-4
"""Largest difference between results in float32 that should be equal, relative to the largest slope."""
MOST_KINKS = 0.25
"""Largest share of the weights that may lie at kinks."""
LEVELS = (2, 4, 16)


def check_family(make: QuantizerFactory, form: PenaltyForm | None = None) -> Iterator[Finding]:
    """Check the regularizers that a family makes.

    Args:
        make: makes the regularizer of a layer from its weights, K and the switches.
        form: switches of the penalty; None for the defaults.
    """
    made = _Maker(make, form or PenaltyForm())
    checks = {
        f"gradient of the weights, K = {levels}": partial(_check_weight_gradient, made, levels) for levels in LEVELS
    }
    checks |= {
        f"gradient of the representatives, K = {levels}": partial(_check_state_gradient, made, levels)
        for levels in LEVELS
    }
    checks |= {
        "in-place contract": partial(_check_in_place, made),
        "independence of chunks": partial(_check_chunks, made),
        "steepest slope": partial(_check_steepest, made),
        "decoupled step": partial(_check_draw, made),
        "restore of the state": partial(_check_restore, made),
    }
    return run_checks(checks)


class _Maker:
    """Makes regularizers, and layers of weights for them."""

    def __init__(self, make: QuantizerFactory, form: PenaltyForm) -> None:
        self._make, self._form = make, form

    def __call__(self, weights: Float[Tensor, " n"], num_levels: int) -> Regularizer:
        """Return the regularizer of a layer; raise BrokenPromiseError if it is none."""
        regularizer = self._make(weights.clone(), num_levels, self._form)
        require(isinstance(regularizer, Regularizer), f"{type(regularizer).__name__} lacks a part of Regularizer")
        assert isinstance(regularizer, Regularizer)
        values = regularizer.representatives.detach()
        require(values.shape == (num_levels,), f"representatives of shape {tuple(values.shape)} for K = {num_levels}")
        require(bool((values[1:] >= values[:-1]).all()), "representatives are not in increasing order")
        regularizer.progress(0.5)
        return regularizer


def _layer(size: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return 0.05 * torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def _gradient(regularizer: Regularizer, weights: Tensor, strength: float = 1.0) -> Tensor:
    gradient = torch.zeros_like(weights)
    regularizer.add_gradient(weights, gradient, strength)
    return gradient


def _check_weight_gradient(make: _Maker, num_levels: int) -> str:
    weights = _layer(NUM_WEIGHTS, 1, torch.float64)
    regularizer = make(weights, num_levels)
    step = STEP * regularizer.half_spacing
    here = regularizer.value(weights)

    def at(place: int, offset: float) -> float:
        moved = weights.clone()
        moved[place] += offset
        return regularizer.value(moved)

    right, left = (
        torch.tensor([(at(place, sign * step) - here) / (sign * step) for place in range(NUM_WEIGHTS)])
        for sign in (1.0, -1.0)
    )
    return _compared(_gradient(regularizer, weights), right, left, weights, "weight")


def _check_state_gradient(make: _Maker, num_levels: int) -> str:
    weights = _layer(NUM_WEIGHTS, 2, torch.float64)
    regularizer = make(weights, num_levels)
    state = regularizer.state
    if not state.requires_grad:
        return "not trained"
    assert state.grad is not None, "a trained state has a gradient of zeros when it is made"
    # Where representatives begin, as at k-means, their gradient may be 0: they are moved, but stay in order.
    step = STEP * regularizer.half_spacing
    signs = 1.0 - 2.0 * (torch.arange(len(state)) % 2)
    state.data.mul_(1.07).add_(signs.to(state), alpha=0.1 * regularizer.half_spacing if len(state) > 1 else 0.0)
    here = regularizer.value(weights)
    state.grad.zero_()
    _gradient(regularizer, weights)
    received = state.grad.detach().clone()

    def at(place: int, offset: float) -> float:
        before = state.detach().clone()
        state.data[place] += offset
        result = regularizer.value(weights)
        state.data.copy_(before)
        return result

    right, left = (
        torch.tensor([(at(place, sign * step) - here) / (sign * step) for place in range(len(state))])
        for sign in (1.0, -1.0)
    )
    return _compared(received, right, left, state.detach(), "representative")


def _compared(received: Tensor, right: Tensor, left: Tensor, places: Tensor, noun: str) -> str:
    """Compare gradients with one-sided differences; return the largest error, and raise if it is too large.

    Args:
        received: (m,), gradients of the part.
        right: (m,), differences to the right, float64.
        left: (m,), differences to the left, float64.
        places: (m,), values at which they were taken.
        noun: what the places are.
    """
    require(bool(received.isfinite().all()), f"a gradient is not finite: {received.tolist()[:3]}")
    right, left, received = right.double(), left.double(), received.double()
    scale = max(right.abs().max().item(), left.abs().max().item())
    require(scale > 0, "the penalty's value changes nowhere")
    smooth = (right - left).abs() <= TOLERANCE * scale
    kinks = 1 - smooth.double().mean().item()
    require(kinks <= MOST_KINKS or noun != "weight", f"{kinks:.0%} of the weights lie at kinks or jumps of the value")
    require(bool(smooth.any()), f"every {noun} lies at a kink or a jump of the value")
    error = torch.where(smooth, (received - (right + left) / 2).abs(), 0.0)
    worst = int(error.argmax())
    detail = f"largest error {error[worst] / scale:.1e} of the largest slope {scale:.3g}"
    require(
        error[worst].item() <= TOLERANCE * scale,
        f"{detail}: the worst {noun} is {places[worst].item():.6g}, with gradient {received[worst].item():.6g} "
        f"instead of {(right[worst] + left[worst]).item() / 2:.6g}",
    )
    return detail


def _check_in_place(make: _Maker) -> str:
    weights = _layer(500, 3)
    regularizer = make(weights, 8)
    before, state = weights.clone(), regularizer.state.detach().clone()
    fresh = _gradient(regularizer, weights, 0.5)
    pull = None if regularizer.state.grad is None else regularizer.state.grad.clone()
    into = torch.full_like(weights, 3.0)
    regularizer.add_gradient(weights, into, 0.5)
    scale = fresh.abs().max().item() or 1.0
    off = (into - 3.0 - fresh).abs().max().item()
    require(off <= max(ROUNDING * scale, 1e-6), f"it must add to the gradient; it is off by {off:.3g}")
    doubled = (_gradient(regularizer, weights, 1.0) - 2 * fresh).abs().max().item()
    require(doubled <= ROUNDING * scale, f"it must be proportional to λ; at twice λ it is off by {doubled:.3g}")
    require(not _gradient(regularizer, weights, 0.0).any(), "it must change nothing where λ is 0")
    require(torch.equal(weights, before), "it must not change the weights")
    require(torch.equal(regularizer.state.detach(), state), "it must not change the representatives")
    if pull is not None and regularizer.state.requires_grad:
        assert regularizer.state.grad is not None
        # λ was 0.5 twice, then 1 and 0: four times the first pull in all.
        off = (regularizer.state.grad - 4 * pull).abs().max().item()
        most = ROUNDING * 4 * max(pull.abs().max().item(), scale)
        require(off <= most, f"it must add to the gradient of the representatives; it is off by {off:.3g}")
    return "adds in place, in proportion to λ, and changes nothing else"


def _check_chunks(make: _Maker) -> str:
    weights = _layer(2 * CPU_CHUNK + 7, 4)
    regularizer = make(weights, 4)
    gradient = _gradient(regularizer, weights)
    backwards = _gradient(regularizer, weights.flip(0)).flip(0)
    scale = gradient.abs().max().item() or 1.0
    error = (gradient - backwards).abs()
    worst = int(error.argmax())
    require(
        error[worst].item() <= ROUNDING * scale,
        f"the pull on weight {worst} ({weights[worst].item():.6g}) depends on its place in the layer: "
        f"{gradient[worst].item():.6g}, {backwards[worst].item():.6g} at the other end",
    )
    return f"equal in {len(weights)} weights, in either order"


def _check_steepest(make: _Maker) -> str:
    regularizer = make(_layer(2000, 5), 4)
    values = regularizer.representatives.detach()
    half, steepest = regularizer.half_spacing, regularizer.steepest
    require(half > 0 and steepest > 0, f"half_spacing and steepest must be above 0, got {half:.3g} and {steepest:.3g}")
    expected = ((values[-1] - values[0]) / (2 * (len(values) - 1))).item()
    require(abs(half - expected) <= 0.01 * expected, f"half_spacing must be {expected:.4g}, got {half:.4g}")
    return f"{steepest:.4g} at a half-spacing of {half:.4g}"


def _check_draw(make: _Maker) -> str:
    weights = _layer(2000, 8)
    regularizer = make(weights, 4)
    if not isinstance(regularizer, DrawnRegularizer):
        return "by the gradient"
    distance = 0.3 * regularizer.half_spacing / regularizer.steepest
    moved, expected = weights.clone(), weights.clone()
    regularizer.draw(moved, distance)
    draw_by_gradient(regularizer, expected, torch.empty_like(weights), distance)
    error = (moved - expected).abs()
    worst = int(error.argmax())
    require(
        error[worst].item() <= ROUNDING * regularizer.half_spacing,
        f"draw moves weight {worst} ({weights[worst].item():.6g}) to {moved[worst].item():.6g}, and its slope to "
        f"{expected[worst].item():.6g}",
    )
    return f"as by the gradient, in {len(weights)} weights"


def _check_restore(make: _Maker) -> str:
    initial, moved = _layer(500, 6), _layer(500, 7)
    trained = make(initial, 4)
    if trained.state.requires_grad:
        trained.state.data.mul_(1.01)
    trained.progress(0.75)
    fresh = make(initial, 4)
    fresh.state.data.copy_(trained.state.detach())
    fresh.progress(0.75)
    require(fresh.value(moved) == trained.value(moved), "after a restore of its state the penalty has another value")
    require(
        torch.equal(_gradient(fresh, moved), _gradient(trained, moved)),
        "after a restore of its state the gradient is another one; keep all that changes in `state`",
    )
    return "value and gradient equal bit by bit"
