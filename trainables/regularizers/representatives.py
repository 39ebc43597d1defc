"""Trainable representatives: each by itself, or all by the step of one grid."""

import math

import torch
from torch import Tensor

from trainables.codebooks.assignment import assign
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


def finite(gradient: Tensor) -> Tensor:
    """Return a gradient with 0 in place of what is not finite.

    The representatives then stay finite when weights diverge, until the run detects the divergence.
    """
    return gradient.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


class FreeRepresentatives:
    """Representatives that are trained one by one.

    Attributes:
        state: (K,), trained, in increasing order.
        multiples: None: there is no grid.
    """

    multiples = None

    def __init__(self, weights: Float[Tensor, " n"], num_levels: int, initial: str) -> None:
        """Place `num_levels` representatives among a layer's weights, (n,), as `trainable_representatives` does."""
        self.state = trainable_representatives(weights, num_levels, initial)

    @property
    def values(self) -> Float[Tensor, " k"]:
        """The representatives themselves, (K,)."""
        return self.state

    def add_gradient(self, by_value: Float[Tensor, " k"]) -> None:
        """Add the gradient with respect to each representative, (K,), to that of the state."""
        assert self.state.grad is not None
        self.state.grad.add_(finite(by_value.to(self.state.dtype)))


class LearnedGrid:
    """Representatives s·z at the integers z = −⌊K/2⌋, …, ⌈K/2⌉ − 1, with one trained step s.

    For K = 2 this would give −s and 0. Here z is −1/2 or 1/2: a weight is quantized to its sign times s/2.

    Attributes:
        state: (1,), trained: the step s. Its sign does not matter.
        multiples: (K,), the values z, in increasing order.

    Source: Esser et al., "Learned Step Size Quantization", arXiv 1902.08153, Eq. 1 and Sec. 2.1 (grid and first step).
    K = 2 is this project's choice.
    """

    FITTING_STEPS = 20

    def __init__(self, weights: Float[Tensor, " n"], num_levels: int, *, fitted: bool) -> None:
        """Place the grid over a layer's weights, (n,).

        Args:
            weights: (n,), the layer's weights when the phase begins.
            num_levels: K.
            fitted: whether the first step is fitted to the weights by least squares, from the source's one.
        """
        below = num_levels // 2
        self.multiples = torch.arange(-below, num_levels - below, dtype=weights.dtype, device=weights.device)
        if num_levels == 2:
            self.multiples += 0.5
        step = 2 * weights.abs().mean() / math.sqrt(self.highest)
        for _ in range(self.FITTING_STEPS if fitted else 0):
            # The best levels for a step and the best step for these levels, in turn: the error never grows.
            chosen = self.multiples.index_select(0, assign(weights, self.multiples * step))
            step = (weights @ chosen / chosen.square().sum().clamp(min=0.25)).clamp(min=0)
        step = torch.where(step > 0, step, 1.0)  # weights that are all 0
        self.state = step.reshape(1).requires_grad_()
        self.state.grad = torch.zeros_like(self.state)

    @property
    def highest(self) -> float:
        """The highest multiple, at least 1: Q_P of the source."""
        return max(1.0, float(self.multiples[-1]))

    @property
    def step(self) -> Float[Tensor, " 1"]:
        """The step s > 0, (1,), without a gradient."""
        return self.state.detach().abs()

    @property
    def values(self) -> Float[Tensor, " k"]:
        """The representatives, (K,)."""
        return self.multiples * self.step

    def add_gradient(self, by_value: Float[Tensor, " k"]) -> None:
        """Add the gradient with respect to each representative, (K,), to that of the state."""
        self.add_step_gradient((by_value * self.multiples).sum())

    def add_step_gradient(self, by_step: Float[Tensor, ""]) -> None:
        """Add the gradient with respect to the step s > 0, a scalar, to that of the state."""
        assert self.state.grad is not None
        self.state.grad.add_(finite(by_step.to(self.state.dtype)) * self.state.detach().sign())


class OnLearnedGrid:
    """Base of quantizers whose representatives lie on a `LearnedGrid`."""

    _grid: LearnedGrid

    @property
    def state(self) -> Float[Tensor, " 1"]:
        """The step of the grid, trained; see `LayerQuantizer.state`."""
        return self._grid.state

    @property
    def representatives(self) -> Float[Tensor, " k"]:
        """The representatives, (K,); see `LayerQuantizer.representatives`."""
        return self._grid.values

    @property
    def multiples(self) -> Float[Tensor, " k"]:
        """Factors z, (K,), in increasing order; representative k is z_k·|state|."""
        return self._grid.multiples


def mean_spacing(representatives: Float[Tensor, " k"]) -> float:
    """Return the mean distance of neighbouring representatives; 1 if all are equal, so that one can divide by it.

    Args:
        representatives: (K,) in increasing order.
    """
    return float(representatives[-1] - representatives[0]) / max(1, len(representatives) - 1) or 1.0
