"""LSQ: the forward pass uses weights that are quantized to a grid with a trained step."""

import math

import torch
from torch import Tensor

from trainables.codebooks.assignment import assign
from trainables.config import PenaltyForm
from trainables.regularizers.chunks import chunks
from trainables.regularizers.representatives import LearnedGrid, OnLearnedGrid
from trainables.shapes import Float


class LearnedStep(OnLearnedGrid):
    """The forward pass uses the nearest value s·z of a grid; the backward pass is a straight-through estimator.

    The gradient of a weight is that of its quantized value if the weight lies within the grid, and 0 beyond its ends.
    The derivative of a quantized value with respect to the step is z − w/s within the grid, and z beyond it. The
    gradient of the step is scaled by 1/√(n Q_P), with n the number of weights and Q_P the highest multiple.

    Source: Esser et al., "Learned Step Size Quantization", arXiv 1902.08153, Eq. 1–5 and Sec. 2.2.
    """

    def __init__(self, weights: Float[Tensor, " n"], num_levels: int, form: PenaltyForm) -> None:
        """Place the grid over a layer's weights, (n,), with the source's first step. No switch of `form` matters."""
        del form
        self._grid = LearnedGrid(weights, num_levels, fitted=False)

    def progress(self, fraction: float) -> None:
        """Do nothing: the method stays the same over the phase."""

    def transform(self, weights: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return the quantized weights; see `WeightTransform.transform`."""
        values = self.representatives
        quantized = torch.empty_like(weights)
        for weight, result in chunks(weights, quantized):
            torch.index_select(values, 0, assign(weight, values), out=result)
        return quantized

    def chain(self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"]) -> None:
        """Stop the gradient of weights beyond the grid, and add that of its step; see `WeightTransform.chain`."""
        values = self.representatives
        lowest, highest = values[0], values[-1]
        step = self._grid.step.clamp(min=torch.finfo(weights.dtype).tiny)
        by_step = torch.zeros((), dtype=torch.float64, device=weights.device)
        for weight, grad in chunks(weights, gradient):
            multiple = self._grid.multiples.index_select(0, assign(weight, values))
            within = (weight >= lowest) & (weight <= highest)
            derivative = multiple - torch.where(within, weight / step, 0.0)
            by_step.add_((grad.double() * derivative).sum())
            grad.mul_(within)
        self._grid.add_step_gradient(by_step * self.step_scale(len(weights)))

    def step_scale(self, num_weights: int) -> float:
        """Return the factor of the step's gradient, 1/√(n Q_P), for a layer of n weights."""
        return 1 / math.sqrt(num_weights * self._grid.highest)
