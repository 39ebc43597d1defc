"""Trainable representatives, which RM and RE share: their initial values and their spacing."""

import torch
from torch import Tensor

from trainables.codebooks.kmeans import kmeans
from trainables.codebooks.placement import grid, quantiles
from trainables.shapes import Float


def trainable_representatives(weights: Float[Tensor, " n"], num_levels: int, initial: str) -> Float[Tensor, " k"]:
    """Return the initial representatives of a layer.

    Args:
        weights: (n,), the layer's weights when the phase begins.
        num_levels: K.
        initial: `quantiles` or `kmeans` of the weights, or a `grid` over their interval.

    Returns:
        (K,) in increasing order, in the type of `weights`, with a gradient of zeros.
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
    """Return the mean distance of neighbouring representatives; 1 if all are equal, so that one can divide by it.

    Args:
        representatives: (K,) in increasing order, K ≥ 2.
    """
    return float(representatives[-1] - representatives[0]) / (len(representatives) - 1) or 1.0
