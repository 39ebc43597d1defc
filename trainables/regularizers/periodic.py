"""RS, RC and SinReQ: fixed, evenly spaced representatives, at the zeros of |sin|, |cos| or sin²."""

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import hardshrink

from trainables.codebooks.placement import grid, midpoints
from trainables.config import PenaltyForm
from trainables.regularizers.chunks import chunks
from trainables.regularizers.reduction import reduction_divisor
from trainables.shapes import Float

ROUNDING = 4e-7
"""Radians below which an angle of `PeriodicWells._turns_and_angle` is rounding error in float32."""


def interval_of(weights: Float[Tensor, " n"], form: PenaltyForm) -> tuple[float, float]:
    """Return the interval [a, b] of a layer's weights, (n,), as `form.interval` says; never wider than their range.

    Both ends are numbers of the weights' type. A weight outside, clamped to an end, is then exactly on the zero that RS
    has there; else the rounding of the end would decide whether the well pulls it too.
    """
    low, high = weights.min().item(), weights.max().item()
    if form.interval == "sigma":
        width = form.interval_sigmas * weights.std(correction=0).item()
        mean = min(max(weights.mean().item(), low), high)  # the mean of equal weights may be rounded away from them
        low, high = max(low, mean - width), min(high, mean + width)
        return weights.new_tensor(low).item(), weights.new_tensor(high).item()
    if form.interval == "quantiles":
        ordered = weights.sort().values
        outside = int(form.interval_quantile * len(ordered))
        return ordered[outside].item(), ordered[len(ordered) - 1 - outside].item()
    return low, high


class PeriodicWells:
    """The penalty of evenly spaced representatives on an interval [low, high].

    With s the spacing and d the signed distance to the nearest representative, the penalty of a weight inside the
    interval is f·|sin(πd/s)|, or f²·sin²(πd/s) with `form.squared`; f = s/π with `form.scale`, else 1. Outside, it is
    the penalty of the nearer end plus the distance e to that end in the same units: e·fπ/s, or its square.

    Attributes:
        representatives: (K,), float64, never trained.
        state: the same tensor.

    Source: `trainables.families`, RS, RC and SinReQ.
    """

    def __init__(
        self,
        interval: tuple[float, float],
        representatives: Float[Tensor, " k"],
        form: PenaltyForm,
        num_weights: int,
    ) -> None:
        """Make the penalty of `num_weights` weights from its representatives, (K,) with K ≥ 2.

        `sine`, `cosine` and `symmetric_sine` place them.
        """
        self.low, self.high = interval
        self.representatives = self.state = representatives
        # In an interval of width 0 (a layer of equal weights) all representatives are equal.
        self.spacing = float(representatives[1] - representatives[0]) or 1.0
        self._origin = math.remainder(float(representatives[0]), self.spacing)
        self.form = form
        per_unit = 1.0 if form.scale else math.pi / self.spacing
        self.factor = per_unit**2 if form.squared else per_unit
        self.half_spacing = self.spacing / 2
        slope = self.factor * (self.spacing / math.pi if form.squared else 1.0)
        self.steepest = slope / reduction_divisor(form, num_weights)

    @classmethod
    def sine(cls, weights: Float[Tensor, " n"], num_levels: int, form: PenaltyForm) -> "PeriodicWells":
        """Return RS with K = `num_levels` on the interval of a layer's weights, (n,)."""
        low, high = interval_of(weights, form)
        return cls((low, high), grid(low, high, num_levels).to(weights.device), form, len(weights))

    @classmethod
    def cosine(cls, weights: Float[Tensor, " n"], num_levels: int, form: PenaltyForm) -> "PeriodicWells":
        """Return RC with K = `num_levels` on the interval of a layer's weights, (n,)."""
        low, high = interval_of(weights, form)
        return cls((low, high), midpoints(low, high, num_levels).to(weights.device), form, len(weights))

    @classmethod
    def symmetric_sine(cls, weights: Float[Tensor, " n"], num_levels: int, form: PenaltyForm) -> "PeriodicWells":
        """Return SinReQ: always squared, on [−m, m] with m the largest magnitude of a layer's weights, (n,)."""
        largest = weights.abs().max().item()
        representatives = grid(-largest, largest, num_levels).to(weights.device)
        return cls((-largest, largest), representatives, replace(form, squared=True), len(weights))

    def _turns_and_angle(self, inside: Float[Tensor, " n"]) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
        """Return the number of the nearest representative, and πd/s, in [−π/2, π/2], of weights inside the interval."""
        # Representatives lie at origin + j·s. In float32, (w − origin)/s would lose the digits of the fraction. With an
        # origin close to 0, and s split into two parts, w − j·s is exact to the last digit of s.
        coarse = float(torch.tensor(self.spacing, dtype=inside.dtype))
        turns = inside.mul(1 / self.spacing).sub_(self._origin / self.spacing).round_()
        distance = torch.add(inside, turns, alpha=-coarse).add_(turns, alpha=coarse - self.spacing).sub_(self._origin)
        # A distance within rounding error of 0 is 0: the weight lies on the representative.
        return turns, hardshrink(distance.mul_(math.pi / self.spacing), ROUNDING)

    def _slope(self, angle: Float[Tensor, " n"], outside: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return the slope at factor 1, from πd/s and the distance from the interval; both are overwritten."""
        if self.form.squared:
            return angle.mul_(2).sin_().mul_(self.spacing / math.pi).add_(outside, alpha=2)
        return angle.sign().mul_(angle.cos_()).add_(outside.sign_())

    def add_gradient(self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"], strength: float) -> None:
        """Add the penalty's gradient in place; see `Regularizer.add_gradient`."""
        strength *= self.factor / reduction_divisor(self.form, len(weights))
        for weight, grad in chunks(weights, gradient):
            inside = weight.clamp(self.low, self.high)
            outside = weight - inside
            _, angle = self._turns_and_angle(inside)
            grad.add_(self._slope(angle, outside), alpha=strength)

    def draw(self, weights: Float[Tensor, " n"], distance: float) -> None:
        """Move each weight by `distance` times the slope; see `DrawnRegularizer.draw`.

        The slope has the sign of the offset from the nearest representative, whose number is known without a search.
        """
        strength = distance * self.factor / reduction_divisor(self.form, len(weights))
        if strength == 0:
            return
        representatives = self.representatives.to(weights.dtype)
        first = round((float(self.representatives[0]) - self._origin) / self.spacing)
        for (weight,) in chunks(weights):
            inside = weight.clamp(self.low, self.high)
            outside = weight - inside
            turns, angle = self._turns_and_angle(inside)
            level = turns.sub_(first).clamp_(0, len(representatives) - 1).nan_to_num_(nan=0.0).long()
            nearest = representatives.index_select(0, level)
            offset = weight - nearest
            left = offset.abs().sub_(self._slope(angle, outside).abs_(), alpha=strength).clamp_(min=0)
            torch.add(nearest, left.copysign_(offset), out=weight)

    def value(self, weights: Float[Tensor, " n"]) -> float:
        """Return the layer's penalty; see `Regularizer.value`."""
        total = 0.0
        for (weight,) in chunks(weights):
            inside = weight.clamp(self.low, self.high)
            wells = self._turns_and_angle(inside)[1].sin_().abs_().mul_(self.spacing / math.pi)
            outside = (weight - inside).abs_()
            if self.form.squared:
                wells.square_()
                outside.square_()
            total += wells.add_(outside).sum(dtype=torch.float64).item()
        return self.factor * total / reduction_divisor(self.form, len(weights))

    def progress(self, fraction: float) -> None:
        """Do nothing: the penalty stays the same over the phase."""
