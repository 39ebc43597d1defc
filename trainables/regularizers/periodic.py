"""RS and RC: fixed, evenly spaced representatives, each at the bottom of one arch of a sine."""

import math

import torch
from torch import Tensor
from torch.nn.functional import hardshrink

from trainables.codebooks.placement import grid, midpoints
from trainables.config import PenaltyForm
from trainables.regularizers.chunks import pieces
from trainables.shapes import Float

ROUNDING = 4e-7
"""Radians of `PeriodicWells._angle` that float32 can't tell from 0."""


class PeriodicWells:
    """The penalty of evenly spaced representatives on an interval [low, high].

    With s the spacing and d the signed distance to the nearest representative, a weight inside the interval pays
    f·|sin(πd/s)|, or f²·sin²(πd/s) when squared; f = s/π if `scale`, else 1. A weight outside pays what the nearer
    end pays, and its distance e to that end in the same units: e·fπ/s, or its square.

    Attributes:
        representatives: float64, (k,), never trained.

    Source: `trainables.families`, RS and RC.
    """

    def __init__(self, interval: tuple[float, float], representatives: Float[Tensor, " k"], form: PenaltyForm) -> None:
        self.low, self.high = interval
        self.representatives = representatives
        # An interval of no width (a layer of equal weights) has all its representatives in one place.
        self.spacing = float(representatives[1] - representatives[0]) or 1.0
        self.form = form
        per_unit = 1.0 if form.scale else math.pi / self.spacing
        self.factor = per_unit**2 if form.squared else per_unit

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
        """πd/s, in [−π/2, π/2]."""
        # Wells lie at origin + j·s. In float32 a plain (w − origin)/s would lose the fraction of a turn that counts:
        # with the origin next to 0 and s in two parts, w − j·s is exact to the last digit of s.
        origin = math.remainder(float(self.representatives[0]), self.spacing)
        coarse = float(torch.tensor(self.spacing, dtype=inside.dtype))
        turns = inside.mul(1 / self.spacing).sub_(origin / self.spacing).round_()
        distance = torch.add(inside, turns, alpha=-coarse).add_(turns, alpha=coarse - self.spacing).sub_(origin)
        # Below what rounding leaves of a weight that lies on a representative, it lies there.
        return hardshrink(distance.mul_(math.pi / self.spacing), ROUNDING)

    def add_gradient(self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"], strength: float) -> None:
        strength *= self.factor / (len(weights) if self.form.reduction == "mean" else 1)
        for weight, grad in pieces(weights, gradient):
            inside = weight.clamp(self.low, self.high)
            outside = weight - inside
            angle = self._angle(inside)
            if self.form.squared:
                slope = angle.mul_(2).sin_().mul_(self.spacing / math.pi).add_(outside, alpha=2)
            else:
                slope = angle.sign().mul_(angle.cos_()).add_(outside.sign_())
            grad.add_(slope, alpha=strength)

    def value(self, weights: Float[Tensor, " n"]) -> float:
        total = 0.0
        for (weight,) in pieces(weights):
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
