"""Application of a penalty to the weights: decoupled from the optimizer, or by its proximal step.

A penalty whose gradient goes through Adam is divided by Adam's second moment, which differs by orders of magnitude
between layers. Decoupled, it moves the weights after the optimizer's step, apart from the gradient, as AdamW's
weight decay does.

Sources: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", arXiv 1711.05101 (decoupling); Bai, Wang,
Liberty, "ProxQuant", arXiv 1810.00861 (proximal step towards the nearest representative). Applying them to the
families of the paper is this project's choice.
"""

import torch
from torch import Tensor

from trainables.codebooks.assignment import assign
from trainables.regularizers.chunks import chunks
from trainables.regularizers.protocol import DrawnRegularizer, Regularizer
from trainables.shapes import Float


def draw(regularizer: Regularizer, weights: Float[Tensor, " n"], scratch: Float[Tensor, " n"], distance: float) -> None:
    """Move each weight against the penalty's slope, by `distance` times the slope, but never past its representative.

    The gradient of the state is left in `state.grad` where it is trained.

    Args:
        regularizer: the layer's penalty.
        weights: (n,), the layer's weights; changed in place. A weight that reaches its representative is set to it
            exactly.
        scratch: (n,), overwritten where it is needed.
        distance: how far a weight at slope 1 moves, at least 0, in units of the weights.
    """
    if isinstance(regularizer, DrawnRegularizer):
        regularizer.draw(weights, distance)
    else:
        draw_by_gradient(regularizer, weights, scratch, distance)


def draw_by_gradient(
    regularizer: Regularizer, weights: Float[Tensor, " n"], scratch: Float[Tensor, " n"], distance: float
) -> None:
    """Take the step of `draw` for any penalty: compute its gradient, and search for the nearest representatives."""
    scratch.zero_()
    regularizer.add_gradient(weights, scratch, 1.0)
    representatives = regularizer.representatives.detach().to(weights.dtype)
    for weight, slope in chunks(weights, scratch):
        nearest = representatives.index_select(0, assign(weight, representatives))
        weight.copy_(move_up_to_nearest(weight, nearest, slope.mul_(distance)))


def move_up_to_nearest(
    weights: Float[Tensor, " n"], nearest: Float[Tensor, " n"], moves: Float[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """Return the weights minus `moves`, (n,); a weight that would reach or pass its representative is set to it."""
    offset = weights - nearest
    reached = (moves * offset > 0) & (moves.abs() >= offset.abs())
    return torch.where(reached, nearest, weights - moves)


def shrink_squared(
    regularizer: Regularizer, weights: Float[Tensor, " n"], scratch: Float[Tensor, " n"], distance: float
) -> None:
    """Take the proximal step of `distance` · Σ (w − r)², with r the nearest representative of w.

    Each weight becomes r + (w − r)/(1 + 2·distance).

    The gradient of the state is left in `state.grad`. Arguments as for `draw`.
    """
    scratch.zero_()
    regularizer.add_gradient(weights, scratch, 1.0)
    representatives = regularizer.representatives.detach().to(weights.dtype)
    for (weight,) in chunks(weights):
        nearest = representatives.index_select(0, assign(weight, representatives))
        weight.copy_(torch.lerp(nearest, weight, 1 / (1 + 2 * distance)))
