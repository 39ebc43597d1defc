"""The oracle of closed forms: penalties and their gradients by float64 autograd."""

import math
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from torch import Tensor

from trainables.config import PenaltyForm
from trainables.regularizers.periodic import interval_of

STATIC = ("RS", "RC", "SinReQ")


FREE = ("RM", "RE", "RH")


ON_GRID = ("MSQE", "BinReg")


TRAINED = FREE + ON_GRID


SQUARED = ("SinReQ", "MSQE")


RELATIVE = 1e-5


FLOAT32_EPS = 2.0**-23


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The formulas, in float64, of a layer whose phase began with weights in [low, high].

    Attributes:
        low: lower end of the interval when the phase began: a. For SinReQ: minus the largest magnitude.
        high: upper end: b.
        num_levels: K.
        tau: RE's temperature now.
        cost_of_bit: of RH, in units of the penalty.
    """

    family: str
    form: PenaltyForm
    low: float
    high: float
    num_levels: int
    tau: float = 1.0
    cost_of_bit: float = 0.0

    @classmethod
    def of(
        cls, family: str, form: PenaltyForm, weights: Tensor, representatives: Tensor, fraction: float = 0.0
    ) -> "Reference":
        """The layer as its phase begins, `fraction` of the phase later."""
        spacing = (representatives[-1].item() - representatives[0].item()) / (len(representatives) - 1) or 1.0
        low, high = interval_of(weights, form)  # tests/trainables/regularizers/test_application.py tests the interval
        if family == "SinReQ":
            high = weights.abs().max().item()
            low = -high
        temperature = form.temperature * (form.final_temperature / form.temperature) ** fraction
        return cls(
            family=family,
            form=replace(form, squared=True) if family in SQUARED else form,
            low=low,
            high=high,
            num_levels=len(representatives),
            tau=temperature * spacing**2,
            cost_of_bit=form.entropy_weight * (spacing / 2) ** (2 if form.squared else 1),
        )

    @property
    def with_ends(self) -> bool:
        """Whether the ends of the interval are zeros of a static family."""
        return self.family != "RC"

    @property
    def spacing(self) -> float:
        """Distance between the zeros of RS and RC; 1 where the interval has no width."""
        return (self.high - self.low) / (self.num_levels - self.with_ends) or 1.0

    def zeros(self) -> list[float]:
        """Return the zeros of RS and RC by their definition."""
        k, width = self.num_levels, self.high - self.low
        if self.with_ends:
            return [self.low + j * width / (k - 1) for j in range(k)]
        return [self.low + (2 * j + 1) * width / (2 * k) for j in range(k)]

    def penalties(self, weights: Tensor, representatives: Tensor) -> Tensor:
        """Penalty of each weight, (n,), differentiable but for the kinks that `at_kink` tells."""
        if self.family in STATIC:
            return self._wells(weights)
        if self.family == "RH":
            return self._with_costs(weights, representatives)[0].amin(1)
        squares = (weights[:, None] - representatives).square()
        nearest = squares.gather(1, squares.argmin(1, keepdim=True)).squeeze(1)
        if self.family == "BinReg":
            return self._bins(nearest, squares.argmin(1))
        if self.family in ("RM", "MSQE"):
            offset = (weights[:, None] - representatives).gather(1, squares.argmin(1, keepdim=True)).squeeze(1)
            return nearest if self.form.squared else offset.abs()
        if self.form.bounded:
            wells = 1 - torch.exp(-nearest / self.tau)
            return self.tau * wells if self.form.scale else wells
        # Less the nearest square: far outside, rounding would otherwise tell on the shares even in float64.
        return nearest - self.tau * torch.logsumexp((nearest[:, None] - squares) / self.tau, 1)

    def _with_costs(self, weights: Tensor, representatives: Tensor) -> tuple[Tensor, Tensor]:
        """Distance and cost of each weight at each level of RH, (n, K), and the costs, (K,)."""
        held = representatives.detach()
        middles = (held[1:] + held[:-1]) / 2
        levels = (weights.detach()[:, None] > middles).sum(1)
        counts = torch.bincount(levels, minlength=len(held)).double()
        costs = -self.cost_of_bit * torch.log2((counts + 0.5) / (len(weights) + len(held) / 2))
        offsets = weights[:, None] - representatives
        return (offsets.square() if self.form.squared else offsets.abs()) + costs, costs

    def _two_cheapest(self, weights: Tensor, representatives: Tensor) -> tuple[Tensor, Tensor]:
        """Penalty of each weight at its cheapest value, and at the next other one, (n,) each."""
        table, _ = self._with_costs(weights, representatives)
        values, group = representatives.unique(return_inverse=True)
        by_value = table.new_full((len(weights), len(values)), math.inf)
        by_value = by_value.scatter_reduce(1, group.expand_as(table), table, "amin")
        return by_value.topk(2, 1, largest=False).values.unbind(1)  # type: ignore[return-value]

    def _between_costs(self, weights: Tensor, representatives: Tensor) -> Tensor:
        """Weights of RH whose cheapest level rests on rounding, or whose nearest one does, (n,).

        Those with an uncertain nearest level go first. Then shares change with each weight that goes, until none does.
        """
        if len(representatives.unique()) == 1:
            return torch.zeros(len(weights), dtype=torch.bool)
        left_out = self._near_kink(weights, representatives)
        while not left_out.all():
            kept = weights[~left_out]
            first, second = self._two_cheapest(kept, representatives)
            _, costs = self._with_costs(kept, representatives)
            size = weights.abs().max() + representatives.abs().max()
            rounding = 8 * FLOAT32_EPS * ((size**2 if self.form.squared else size) + costs.max())
            near = second - first <= rounding
            if not near.any():
                break
            left_out[(~left_out).nonzero().squeeze(1)[near]] = True
        return left_out

    def _bins(self, nearest: Tensor, level: Tensor) -> Tensor:
        """The squared distances of BinReg, each divided by the number of weights in its bin."""
        sizes = torch.bincount(level, minlength=self.num_levels)
        return nearest / sizes[level] * (len(nearest) / self.num_levels if self.form.scale else 1.0)

    def _wells(self, weights: Tensor) -> Tensor:
        inside = weights.clamp(self.low, self.high)
        position = (inside - self.low) / (self.high - self.low) if self.high > self.low else torch.zeros_like(inside)
        wave = torch.sin if self.with_ends else torch.cos
        periods = self.num_levels - self.with_ends
        wells = wave(math.pi * periods * position) if self.high > self.low else torch.zeros_like(inside)
        # Outside: the distance to the nearer end besides, as steep as the wells are at their zeros.
        outside = (weights - inside) * math.pi / self.spacing
        penalty = wells.square() + outside.square() if self.form.squared else wells.abs() + outside.abs()
        size = self.spacing / math.pi if self.form.scale else 1.0
        return penalty * (size**2 if self.form.squared else size)

    def at_kink(self, weights: Tensor, representatives: Tensor) -> Tensor:
        """Weights exactly on a kink, where the derivative is 0 by convention, (n,)."""
        if self.family in STATIC:
            if self.form.squared:
                return torch.zeros(len(weights), dtype=torch.bool)
            held = set(representatives.tolist())
            return torch.tensor([self._at_static_kink(weight, held) for weight in weights.tolist()])
        if self.family == "RH" or (self.family == "RE" and not self.form.bounded):
            return torch.zeros(len(weights), dtype=torch.bool)
        distances = (weights[:, None] - representatives).abs()
        nearest = distances == distances.amin(1, keepdim=True)
        lowest = torch.where(nearest, representatives, math.inf).amin(1)
        highest = torch.where(nearest, representatives, -math.inf).amax(1)
        return lowest < highest

    def _at_static_kink(self, weight: float, held: set[float]) -> bool:
        """Whether a weight is an end, or a zero both by the formula, without rounding, and as the layer holds it."""
        if weight in (self.low, self.high):
            return True
        if weight not in held or not self.low < weight < self.high:
            return False
        low, high = Fraction(self.low), Fraction(self.high)
        periods = (Fraction(weight) - low) / (high - low) * (self.num_levels - self.with_ends)
        return (periods if self.with_ends else periods - Fraction(1, 2)).denominator == 1

    def uncertain(self, weights: Tensor, representatives: Tensor) -> Tensor:
        """Weights whose derivative in float32 rests on rounding: near a kink, and not exactly on it, (n,)."""
        if self.family == "RE" and not self.form.bounded:
            return self._blurred(weights, representatives)
        if self.family == "RH":
            return self._between_costs(weights, representatives)
        return self._near_kink(weights, representatives) & ~self.at_kink(weights, representatives)

    def _blurred(self, weights: Tensor, representatives: Tensor) -> Tensor:
        """Weights torn between representatives so far away (in √τ) that float32 can't tell which is nearer."""
        values, counts = representatives.unique(return_counts=True)
        exponents = counts.log() - (weights[:, None] - values).square() / self.tau
        largest, nearest = exponents.max(1)
        distance = (weights - values[nearest]).abs()
        rounding = 2 * FLOAT32_EPS * distance.square() / self.tau
        others = exponents.scatter(1, nearest[:, None], -math.inf).logsumexp(1)
        share_of_others = torch.sigmoid(others - largest + rounding)
        slope_error = rounding.clamp(max=1) * share_of_others * 4 * distance
        return slope_error > RELATIVE / 2 * self.typical(representatives, len(weights))[1]

    def _near_kink(self, weights: Tensor, representatives: Tensor) -> Tensor:
        rounding = 4 * FLOAT32_EPS
        if self.family in STATIC:
            kinks = torch.tensor([*self.zeros(), self.low, self.high], dtype=torch.float64)
            distance = (weights[:, None] - kinks).abs().amin(1)
            near = distance <= rounding * max(abs(self.low), abs(self.high))
            return near & (not self.form.squared)
        distinct = representatives.unique()
        if len(distinct) == 1:
            return torch.zeros(len(weights), dtype=torch.bool)
        nearest, second = (weights[:, None] - distinct).abs().topk(2, 1, largest=False).values.unbind(1)
        return second - nearest <= rounding * (weights.abs() + representatives.abs().max())

    def gradients(self, weights: Tensor, representatives: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives of the summed penalty by weights, (n,), and by representatives, (k,); 0 at kinks."""
        weights = weights.detach().clone().requires_grad_()
        representatives = representatives.detach().clone().requires_grad_()
        penalties = self.penalties(weights, representatives)
        at_kink = self.at_kink(weights.detach(), representatives.detach())
        total = torch.where(at_kink, penalties.detach(), penalties).sum()
        if not total.requires_grad:
            return torch.zeros_like(weights), torch.zeros_like(representatives)
        by_weight, by_representative = torch.autograd.grad(total, (weights, representatives), allow_unused=True)
        return by_weight, torch.zeros_like(representatives) if by_representative is None else by_representative

    def typical(self, representatives: Tensor, num_weights: int) -> tuple[float, float]:
        """Largest penalty and slope of a weight in the interval: the unit of errors where all gradients vanish.

        Those of BinReg without `form.scale` are in inverse proportion to the number of weights in the layer.
        """
        margin = 0.0 if self.high > self.low else 1.0
        sample = torch.linspace(self.low - margin, self.high + margin, 203, dtype=torch.float64)
        slopes, _ = self.gradients(sample, representatives)
        size = len(sample) / num_weights if self.family == "BinReg" and not self.form.scale else 1.0
        penalties = self.penalties(sample, representatives)
        return size * penalties.abs().max().item(), size * slopes.abs().max().item()
