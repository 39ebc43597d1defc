"""How weights are drawn to representatives while a network trains: one class a kind of penalty.

A regularizer belongs to one layer. It adds the gradient of its penalty in place, in closed form, in pieces that
fit the cache, so that it needs a fixed amount of extra memory whatever the size of the layer.
Formulas, and whose they are: `trainables.families`. Where a penalty has a kink, its derivative is 0.
"""

import math
from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from trainables.config import PenaltyForm
from trainables.representatives import grid, kmeans, midpoints, quantiles
from trainables.shapes import Float

PIECE = 1 << 16
"""Weights handled at a time; a few float32 arrays of this size fit a second-level cache."""


class Regularizer(Protocol):
    """The penalty of one layer.

    Attributes:
        representatives: (k,), in increasing order; with a `.grad` where they are trained.
    """

    representatives: Float[Tensor, " k"]

    def add_gradient(self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"], strength: float) -> None:
        """Adds strength · ∂penalty/∂w to `gradient` in place, and ∂/∂r to `representatives.grad` where trained.

        Args:
            weights: of the layer, flat.
            gradient: of the loss with respect to them, flat; changed.
            strength: λ ≥ 0.
        """

    def value(self, weights: Float[Tensor, " n"]) -> float:
        """The layer's penalty, before λ."""

    def progress(self, fraction: float) -> None:
        """Told before each epoch how much of the phase is over, in [0, 1)."""


def _pieces(*tensors: Float[Tensor, " n"]) -> Iterator[tuple[Tensor, ...]]:
    return zip(*(tensor.split(PIECE) for tensor in tensors), strict=True)


class PeriodicWells:
    """RS and RC: fixed, evenly spaced representatives, each at the bottom of one arch of a sine.

    With s the spacing and d the signed distance to the nearest representative, the penalty of a weight inside
    the interval is f·|sin(πd/s)|, or f²·sin²(πd/s) when squared; f = s/π if `scale`, else 1. A weight outside
    pays, besides what the nearer end pays, its distance e to that end in the same units: e·fπ/s (or its square).
    """

    def __init__(self, interval: tuple[float, float], representatives: Float[Tensor, " k"], form: PenaltyForm) -> None:
        self.low, self.high = interval
        self.representatives = representatives
        # An interval of no width (a layer of equal weights) has all its representatives in one place.
        self.spacing = float(representatives[1] - representatives[0]) or 1.0
        self.form = form
        unscaled = 1.0 if form.scale else math.pi / self.spacing
        self.factor = unscaled**2 if form.squared else unscaled

    @classmethod
    def sine(cls, weights: Float[Tensor, " n"], num_levels: int, form: PenaltyForm) -> "PeriodicWells":
        """RS on the interval of `weights`."""
        low, high = weights.min().item(), weights.max().item()
        return cls((low, high), grid(low, high, num_levels).to(weights.device), form)

    @classmethod
    def cosine(cls, weights: Float[Tensor, " n"], num_levels: int, form: PenaltyForm) -> "PeriodicWells":
        """RC on the interval of `weights`."""
        low, high = weights.min().item(), weights.max().item()
        return cls((low, high), midpoints(low, high, num_levels).to(weights.device), form)

    def _angle(self, inside: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """πd/s in [−π/2, π/2]."""
        first = float(self.representatives[0])
        turns = (inside.double() - first).div_(self.spacing)
        return turns.sub_(turns.round()).mul_(math.pi).to(inside.dtype)

    def add_gradient(self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"], strength: float) -> None:
        if self.form.reduction == "mean":
            strength /= len(weights)
        for weight, grad in _pieces(weights, gradient):
            inside = weight.clamp(self.low, self.high)
            angle = self._angle(inside)
            outside = weight - inside
            if self.form.squared:
                slope = angle.mul_(2).sin_().mul_(self.spacing / math.pi).add_(outside, alpha=2)
            else:
                slope = angle.cos().mul_(angle.sign_()).add_(outside.sign_())
            grad.add_(slope, alpha=strength * self.factor)

    def value(self, weights: Float[Tensor, " n"]) -> float:
        total = 0.0
        for (weight,) in _pieces(weights):
            inside = weight.clamp(self.low, self.high)
            wells = self._angle(inside).sin_().abs_().mul_(self.spacing / math.pi)
            outside = (weight - inside).abs_()
            if self.form.squared:
                wells.square_()
                outside.square_()
            total += wells.add_(outside).sum(dtype=torch.float64).item()
        return self.factor * total / (len(weights) if self.form.reduction == "mean" else 1)

    def progress(self, fraction: float) -> None:
        pass


class _TrainableRepresentatives:
    """What RM and RE share: representatives that begin among the weights and collect a gradient."""

    def __init__(self, weights: Float[Tensor, " n"], num_levels: int, form: PenaltyForm) -> None:
        self.form = form
        if form.initial == "quantiles":
            representatives = quantiles(weights, num_levels)
        elif form.initial == "kmeans":
            representatives = kmeans(weights, num_levels)
        else:
            representatives = grid(weights.min().item(), weights.max().item(), num_levels).to(weights)
        self.representatives = representatives.clone().requires_grad_()
        self.representatives.grad = torch.zeros_like(representatives)

    def _piece_gradient(self, weight: Float[Tensor, " n"], strength: float) -> Float[Tensor, " n"]:
        """strength · ∂penalty/∂w of a piece; adds strength · ∂penalty/∂r to `representatives.grad`."""
        raise NotImplementedError

    def _piece_values(self, weight: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Penalty of each weight of a piece."""
        raise NotImplementedError

    def add_gradient(self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"], strength: float) -> None:
        if self.form.reduction == "mean":
            strength /= len(weights)
        for weight, grad in _pieces(weights, gradient):
            grad.add_(self._piece_gradient(weight, strength))

    def value(self, weights: Float[Tensor, " n"]) -> float:
        total = sum(self._piece_values(weight).sum(dtype=torch.float64).item() for (weight,) in _pieces(weights))
        return total / (len(weights) if self.form.reduction == "mean" else 1)

    def progress(self, fraction: float) -> None:
        pass


class NearestDistance(_TrainableRepresentatives):
    """RM: the distance of each weight to its nearest representative, or its square."""

    def _offsets(self, weight: Float[Tensor, " n"]) -> tuple[Tensor, Tensor, Tensor]:
        """Signed distance to the nearest representative, its level, and which weights lie midway between two."""
        representatives = self.representatives.detach()
        boundaries = (representatives[1:] + representatives[:-1]) / 2
        level = torch.bucketize(weight, boundaries)
        upper = torch.cat([boundaries, boundaries.new_full((1,), math.inf)])
        return weight - representatives[level], level, weight == upper[level]

    def _piece_gradient(self, weight: Float[Tensor, " n"], strength: float) -> Float[Tensor, " n"]:
        offset, level, midway = self._offsets(weight)
        slope = offset.mul_(2) if self.form.squared else offset.sign_()
        slope.masked_fill_(midway, 0.0).mul_(strength)
        assert self.representatives.grad is not None
        self.representatives.grad.index_add_(0, level, slope, alpha=-1)
        return slope

    def _piece_values(self, weight: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        offset, _, _ = self._offsets(weight)
        return offset.square_() if self.form.squared else offset.abs_()


class SoftMinimum(_TrainableRepresentatives):
    """RE: the soft minimum of the squared distances at temperature τ, or bounded wells around the nearest one.

    τ is `temperature` squared mean spacings at the start of the phase and falls geometrically to
    `final_temperature`: at a fixed wide τ, two representatives that attract the same weights merge.
    """

    def __init__(self, weights: Float[Tensor, " n"], num_levels: int, form: PenaltyForm) -> None:
        super().__init__(weights, num_levels, form)
        self.unit = mean_spacing(self.representatives.detach()) ** 2
        self.tau = form.temperature * self.unit

    def progress(self, fraction: float) -> None:
        fall = self.form.final_temperature / self.form.temperature
        self.tau = self.form.temperature * fall**fraction * self.unit

    def _piece_gradient(self, weight: Float[Tensor, " n"], strength: float) -> Float[Tensor, " n"]:
        offsets, share = self._shares(weight)
        slopes = offsets.mul_(share).mul_(2 * strength)
        assert self.representatives.grad is not None
        self.representatives.grad.sub_(slopes.sum(0))
        return slopes.sum(1)

    def _shares(self, weight: Float[Tensor, " n"]) -> tuple[Tensor, Tensor]:
        """Distance to every representative, and how much of the weight's pull each has; both (n, k)."""
        offsets = weight[:, None] - self.representatives.detach()
        logits = offsets.square().div_(-self.tau)
        if not self.form.bounded:
            return offsets, logits.softmax(1)
        well = logits.exp().div_(1.0 if self.form.scale else self.tau)
        return offsets, well.mul_(logits == logits.max(1, keepdim=True).values)

    def _piece_values(self, weight: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        logits = (weight[:, None] - self.representatives.detach()).square_().div_(-self.tau)
        if not self.form.bounded:
            return logits.logsumexp(1).mul_(-self.tau)
        return (-torch.expm1(logits.max(1).values)).mul_(self.tau if self.form.scale else 1.0)


def mean_spacing(representatives: Float[Tensor, " k"]) -> float:
    """Mean distance of neighbouring representatives; 1 where all are equal, so that it can be divided by."""
    return float(representatives[-1] - representatives[0]) / (len(representatives) - 1) or 1.0


REGULARIZERS: dict[str, Callable[[Float[Tensor, " n"], int, PenaltyForm], Regularizer]] = {
    "RS": PeriodicWells.sine,
    "RC": PeriodicWells.cosine,
    "RM": NearestDistance,
    "RE": SoftMinimum,
}
"""Makes the regularizer of a layer from its flat weights, K and the switches; `none` has none."""
