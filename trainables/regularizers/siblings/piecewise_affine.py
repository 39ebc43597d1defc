"""PARQ: proximal steps of a piecewise-affine penalty, which become hard quantization over the phase."""

import math

import torch
from torch import Tensor

from trainables.codebooks.assignment import assign
from trainables.codebooks.kmeans import kmeans
from trainables.config import PenaltyForm
from trainables.regularizers.chunks import chunks
from trainables.shapes import Float

STEEPNESS = 10.0
"""Steepness of the sigmoid along which the slope falls; the default of the source's implementation."""


def inverse_slope(fraction: float) -> float:
    """Return the inverse slope of the proximal map after a fraction of the phase: from 1 at 0 to 0 at 1.

    It falls along a sigmoid with centre 1/2, which is shifted and scaled to these ends.
    """
    first, last = (1 / (1 + math.exp(side * STEEPNESS / 2)) for side in (-1, 1))
    now = 1 / (1 + math.exp(STEEPNESS * (fraction - 0.5)))
    return (now - last) / (first - last)


class PiecewiseAffine:
    """The forward pass uses the proximal map of the weights; the weights receive its gradient unchanged.

    Between two neighbouring representatives with middle c, the map is c + (w − c)/ρ, no farther than either of them;
    beyond the ends it is the nearer end. ρ falls from 1 (the identity) to 0 (the nearest representative).

    Attributes:
        state: (K,), the representatives: means of the weights nearest to them, updated in every step; begun by k-means.

    Source: Jin et al., "PARQ: Piecewise-Affine Regularized Quantization", arXiv 2503.15748, Sec. 3 and 4 (map and
    schedule). Representatives by k-means are this project's choice.
    """

    def __init__(self, weights: Float[Tensor, " n"], num_levels: int, form: PenaltyForm) -> None:
        """Begin with the codebook of least squared error of a layer's weights, (n,). No switch of `form` matters."""
        del form
        self.state = kmeans(weights, num_levels)
        self._inverse_slope = 1.0

    @property
    def representatives(self) -> Float[Tensor, " k"]:
        """The representatives, (K,); see `LayerQuantizer.representatives`."""
        return self.state

    def progress(self, fraction: float) -> None:
        """Make the map steeper; see `LayerQuantizer.progress`."""
        self._inverse_slope = inverse_slope(fraction)

    def transform(self, weights: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Update the representatives, and return the proximal map of the weights; see `WeightTransform.transform`."""
        self._update(weights)
        mapped = torch.empty_like(weights)
        highest = len(self.state) - 1
        inverse = max(self._inverse_slope, torch.finfo(weights.dtype).tiny)
        for weight, result in chunks(weights, mapped):
            above = torch.bucketize(weight, self.state)
            lower = self.state.index_select(0, (above - 1).clamp_(min=0))
            upper = self.state.index_select(0, above.clamp_(max=highest))
            middle = (lower + upper) / 2
            result.copy_((weight - middle).div_(inverse).add_(middle).clamp_(lower, upper))
        return mapped

    def chain(self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"]) -> None:
        """Leave the gradient as it is: the method moves the weights by the gradient at the mapped ones."""

    def _update(self, weights: Float[Tensor, " n"]) -> None:
        """Move each representative to the mean of the weights nearest to it, if there are any."""
        sums = torch.zeros(len(self.state), dtype=torch.float64, device=weights.device)
        sizes = torch.zeros_like(sums)
        for (weight,) in chunks(weights):
            level = assign(weight, self.state)
            sums.index_add_(0, level, weight.double())
            sizes.add_(torch.bincount(level, minlength=len(sizes)))
        self.state = torch.where(sizes > 0, sums / sizes, self.state.double()).to(weights.dtype)
