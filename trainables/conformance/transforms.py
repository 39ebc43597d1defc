"""Checks of a family that transforms the weights for the forward pass.

Its gradient need not be the derivative of the transform: rounding is passed straight through. So the checks are those
of the contract: linear in the gradient, in place, independent of a weight's place, within the representatives.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from trainables.config import PenaltyForm
from trainables.conformance.families import LEVELS, ROUNDING
from trainables.conformance.finding import Finding, require, run_checks
from trainables.regularizers.protocol import WeightTransform
from trainables.shapes import Float

NUM_WEIGHTS = 500
STAGES = (0.0, 0.5, 0.99)
"""Fractions of the regularize phase at which a transform is checked; it may become harder over the phase."""

TransformFactory = Callable[[Float[Tensor, " n"], int, PenaltyForm], WeightTransform]


def check_transform(make: TransformFactory, form: PenaltyForm | None = None) -> Iterator[Finding]:
    """Check the transforms that a family makes.

    Args:
        make: makes the transform of a layer from its weights, K and the switches.
        form: switches of the penalty; None for the defaults.
    """
    made = partial(_made, make, form or PenaltyForm())
    checks = {
        f"values within the representatives, K = {levels}": partial(_check_values, made, levels) for levels in LEVELS
    }
    checks |= {
        "in-place contract": partial(_check_in_place, made),
        "linear in the gradient": partial(_check_linear, made),
        "gradient of the state": partial(_check_state, made),
        "independence of place": partial(_check_place, made),
        "restore of the state": partial(_check_restore, made),
    }
    return run_checks(checks)


Maker = Callable[[Tensor, int, float], WeightTransform]


def _made(make: TransformFactory, form: PenaltyForm, weights: Tensor, num_levels: int, stage: float) -> WeightTransform:
    transform = make(weights.clone(), num_levels, form)
    require(isinstance(transform, WeightTransform), f"{type(transform).__name__} lacks a part of WeightTransform")
    transform.progress(stage)
    return transform


def _layer(seed: int, size: int = NUM_WEIGHTS) -> Tensor:
    return 0.05 * torch.randn(size, generator=torch.Generator().manual_seed(seed))


def _chained(transform: WeightTransform, weights: Tensor, upstream: Tensor) -> Tensor:
    """Return the gradient of the weights for a gradient of the transformed weights."""
    transform.transform(weights)
    gradient = upstream.clone()
    transform.chain(weights, gradient)
    return gradient


def _check_values(make: Maker, num_levels: int) -> str:
    furthest = 0.0
    for stage in STAGES:
        weights = _layer(1)
        transform = make(weights, num_levels, stage)
        values, levels = transform.transform(weights), transform.representatives.detach()
        require(values.shape == weights.shape, f"{tuple(values.shape)} values for {tuple(weights.shape)} weights")
        require(bool(values.isfinite().all()), "a value is not finite")
        require(levels.shape == (num_levels,), f"representatives of shape {tuple(levels.shape)} for K = {num_levels}")
        require(bool((levels.diff() >= 0).all()), "representatives are not in increasing order")
        width = (levels[-1] - levels[0]).item()
        outside = torch.maximum(levels[0] - values, values - levels[-1]) / width
        worst = int(outside.argmax())
        require(
            outside[worst].item() <= ROUNDING,
            f"weight {weights[worst].item():.6g} becomes {values[worst].item():.6g}, outside of "
            f"[{levels[0].item():.6g}, {levels[-1].item():.6g}], at {stage:.0%} of the phase",
        )
        distance = (values[:, None] - levels).abs().amin(1).max().item()
        furthest = distance / width
    return f"at the end at most {furthest:.2g} of their range from the nearest"


def _check_in_place(make: Maker) -> str:
    weights = _layer(3)
    transform = make(weights, 8, 0.5)
    before, values = weights.clone(), transform.transform(weights)
    state = transform.state.detach().clone()  # after the transform, which may move it
    returned: object = transform.chain(weights, torch.ones_like(values))  # type: ignore[func-returns-value]
    require(returned is None, "chain must change the gradient in place and return nothing")
    require(torch.equal(weights, before), "it must not change the weights")
    require(torch.equal(transform.state.detach(), state), "it must not change the state")
    return "changes the gradient alone"


def _check_linear(make: Maker) -> str:
    weights, upstream = _layer(4), _layer(5)
    once, twice, never = (_chained(make(weights, 8, 0.5), weights, factor * upstream) for factor in (1, 2, 0))
    error = (twice - 2 * once).abs()
    worst, scale = int(error.argmax()), once.abs().max().item() or 1.0
    require(
        error[worst].item() <= ROUNDING * scale,
        f"at twice the gradient, weight {weights[worst].item():.6g} gets {twice[worst].item():.6g} instead of "
        f"{2 * once[worst].item():.6g}",
    )
    require(not never.any(), "a gradient of 0 must remain 0")
    passed = (once != 0).double().mean().item()
    require(passed > 0, "no weight gets a gradient, so that none is trained")
    return f"{passed:.0%} of the weights get a gradient"


def _check_state(make: Maker) -> str:
    weights, upstream = _layer(6), _layer(7)
    transform = make(weights, 8, 0.5)
    if not transform.state.requires_grad:
        return "not trained"
    require(transform.state.grad is not None, "a trained state must have a gradient of zeros when it is made")
    assert transform.state.grad is not None
    _chained(transform, weights, upstream)
    once = transform.state.grad.clone()
    _chained(transform, weights, upstream)
    off = (transform.state.grad - 2 * once).abs().max().item()
    most = ROUNDING * (once.abs().max().item() or 1.0)
    require(off <= most, f"it must add to the gradient of the state; it is off by {off:.3g}")
    return "adds to the gradient"


def _check_place(make: Maker) -> str:
    weights, upstream = _layer(8), _layer(9)

    def both(places: Tensor) -> dict[str, Tensor]:
        transform = make(weights, 4, 0.5)
        values = transform.transform(weights[places])
        gradient = upstream[places].clone()
        transform.chain(weights[places], gradient)
        return {"value": values[places], "gradient": gradient[places]}

    order = torch.arange(NUM_WEIGHTS)
    turned = both(order.flip(0))
    for name, one in both(order).items():
        other = turned[name]
        error = (one - other).abs()
        worst, scale = int(error.argmax()), one.abs().max().item() or 1.0
        require(
            error[worst].item() <= 10 * ROUNDING * scale,
            f"the {name} of weight {weights[worst].item():.6g} depends on its place in the layer: "
            f"{one[worst].item():.6g}, {other[worst].item():.6g} at the other end",
        )
    return f"equal in {NUM_WEIGHTS} weights, in either order"


def _check_restore(make: Maker) -> str:
    initial, moved, upstream = _layer(10), _layer(11), _layer(12)
    trained, fresh = make(initial, 4, 0.75), make(initial, 4, 0.75)
    if trained.state.requires_grad:
        trained.state.data.mul_(1.01)
    fresh.state.data.copy_(trained.state.detach())
    for name, one, other in (
        ("values", trained.transform(moved), fresh.transform(moved)),
        ("gradients", _chained(trained, moved, upstream), _chained(fresh, moved, upstream)),
    ):
        require(torch.equal(one, other), f"{name} differ after a restore: the state must hold all that they depend on")
    return "values and gradients equal bit by bit"
