"""What RM and RE share: representatives that begin among the weights, and are trained with them."""

import torch
from torch import Tensor

from trainables.codebooks.kmeans import kmeans
from trainables.codebooks.placement import grid, quantiles
from trainables.config import PenaltyForm
from trainables.shapes import Float


def trainable_representatives(weights: Float[Tensor, " n"], num_levels: int, initial: str) -> Float[Tensor, " k"]:
    """Representatives of a layer when its phase begins: in increasing order, with a gradient of zeros.

    Args:
        weights: of the layer, flat.
        num_levels: K.
        initial: `quantiles` of the weights, `kmeans` of them, or a `grid` over their interval.
    """
    if initial == "quantiles":
        representatives = quantiles(weights, num_levels)
    elif initial == "kmeans":
        representatives = kmeans(weights, num_levels)
    else:
        representatives = grid(weights.min().item(), weights.max().item(), num_levels).to(weights)
    representatives = representatives.clone().requires_grad_()
    representatives.grad = torch.zeros_like(representatives)
    return representatives


def mean_spacing(representatives: Float[Tensor, " k"]) -> float:
    """Mean distance of neighbouring representatives; 1 where all are equal, so that it can be divided by."""
    return float(representatives[-1] - representatives[0]) / (len(representatives) - 1) or 1.0


def per_weight(form: PenaltyForm, num_weights: int) -> float:
    """What the sum over a layer's weights is multiplied by: 1, or 1/n for the mean."""
    return 1 / num_weights if form.reduction == "mean" else 1.0
