"""RE: a soft minimum of the squared distances to all representatives, or bounded wells around the nearest one."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from trainables.codebooks.placement import assign
from trainables.config import PenaltyForm
from trainables.regularizers.chunks import CPU_PIECE, pieces
from trainables.regularizers.dynamic import mean_spacing, per_weight, trainable_representatives
from trainables.regularizers.lookup import DyadicBins
from trainables.shapes import Float, Int

NEGLIGIBLE = 16.0
"""A representative whose share of a weight is below exp(−16) = 1e-7 is left out."""
NARROWEST, WIDEST = 0.02, 0.07
"""Greatest width of a table's bins, in √τ: as narrow as `BINS` of them allow, since narrow bins are seldom sharp."""
BINS = 1 << 13
TOLERANCE = 2e-5
"""Error of a tabulated slope, in distances of representatives, above which a bin's weights are worked out singly."""
LEFT_OUT = 1e-5
"""Share of a tabulated slope, in √τ, that is left out where it spares all weights of a layer a look-up."""
MOST_BINS = 1 << 16


class SoftMinimum:
    """A weight pays −τ log Σ_k exp(−(w − r_k)²/τ), or with bounded wells 1 − max_k exp(−(w − r_k)²/τ).

    `scale` multiplies the bounded wells by τ, so that they, like the soft minimum, have the curvature of the squared
    distance. τ is `temperature` squared mean spacings when the phase begins and falls geometrically to
    `final_temperature`: at a fixed wide τ, two representatives that attract the same weights merge.

    Attributes:
        representatives: (k,), trained.
        tau: the temperature as of now, in squared units of the weights.

    Source: `trainables.families`, RE.
    """

    def __init__(self, weights: Float[Tensor, " n"], num_levels: int, form: PenaltyForm) -> None:
        self.form = form
        self.representatives = trainable_representatives(weights, num_levels, form.initial)
        self._unit = mean_spacing(self.representatives.detach()) ** 2
        self.tau = form.temperature * self._unit

    def progress(self, fraction: float) -> None:
        fall = self.form.final_temperature / self.form.temperature
        self.tau = self.form.temperature * fall**fraction * self._unit

    def add_gradient(self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"], strength: float) -> None:
        strength *= per_weight(self.form, len(weights))
        values = self.representatives.detach()
        table = None if self.form.bounded else SlopeTable.make(weights, values, self.tau)
        if table is not None:
            pull = table.add_gradient(weights, gradient, strength)
        elif self.form.bounded:
            pull = self._add_bounded(weights, gradient, strength)
        else:
            slopes, pull = each_slope(weights, values, self.tau, strength)
            gradient.add_(slopes)
        assert self.representatives.grad is not None
        self.representatives.grad.sub_(pull.to(values.dtype))

    def _add_bounded(
        self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"], strength: float
    ) -> Float[Tensor, " k"]:
        values = self.representatives.detach()
        if not self.form.scale:
            strength /= self.tau
        pull = torch.zeros_like(values, dtype=torch.float64)
        for weight, grad in pieces(weights, gradient):
            level = assign(weight, values)
            offset = weight - values.index_select(0, level)
            slope = offset.mul(offset.square().div_(-self.tau).exp_()).mul_(2 * strength)
            # Midway between two representatives the penalty has a kink.
            following = values.index_select(0, (level + 1).clamp_(max=len(values) - 1))
            slope.masked_fill_((offset == following - weight) & (offset > 0), 0.0)
            pull.index_add_(0, level, slope.double())
            grad.add_(slope)
        return pull

    def _blocks(self, *tensors: Float[Tensor, " n"]) -> Iterator[tuple[Tensor, ...]]:
        rows = max(1, CPU_PIECE // len(self.representatives))
        return zip(*(tensor.split(rows) for tensor in tensors), strict=True)

    def value(self, weights: Float[Tensor, " n"]) -> float:
        values = self.representatives.detach()
        total = 0.0
        for (weight,) in self._blocks(weights):
            logits = (weight[:, None] - values).square_().div_(-self.tau)
            if self.form.bounded:
                penalty = torch.expm1(logits.amax(1)).neg_().mul_(self.tau if self.form.scale else 1.0)
            else:
                penalty = logits.logsumexp(1).mul_(-self.tau)
            total += penalty.sum(dtype=torch.float64).item()
        return total * per_weight(self.form, len(weights))


class SlopeTable:
    """Slope of the soft minimum as a function of the weight, tabulated over bins that hold all weights of a layer.

    The slope is the same smooth function for every weight of a layer: a cubic in each bin, or a quadratic where all
    bins are narrow enough for it, replaces K exponentials a weight. For the gradient of the representatives the
    weights are first gathered into three moments a bin, and each bin then works as one weight. The weights of the few
    bins where the slope turns too sharply for a cubic (midway between two representatives that are far apart for the
    temperature) are worked out one by one.

    In a bin with centre c, with shares p_k = softmax_k(−(c − r_k)²/τ), mean μ = Σ p_k r_k and central moments m_j of
    the representatives under these shares: slope 2(c − μ); μ′ = (2/τ) m_2, μ″ = (2/τ)² m_3,
    μ‴ = (2/τ)³ (m_4 − 3 m_2²), the cumulants of an exponential family.
    """

    def __init__(
        self, bins: DyadicBins, values: Float[Tensor, " k"], tau: float, first: Int[Tensor, " b"], size: int
    ) -> None:
        self._bins = bins
        self._values = values
        self._tau = tau
        # Window: the representatives that count in a bin. Beyond the last one there is only padding, infinitely far.
        self._window = first[:, None] + torch.arange(size, device=values.device)
        self._padded = torch.cat([values, values.new_full((size,), math.inf)])
        self._centre = bins.centre().to(values)
        offset = self._centre[:, None] - self._padded[self._window]
        share = offset.square().div_(-tau).softmax(1)
        offset.masked_fill_(offset.isinf(), 0.0)  # its share is 0
        mean = (share * offset).sum(1)  # of c − r
        off = mean[:, None] - offset  # r − μ
        self._share, self._offset, self._off = share, offset, off
        rate = 2 / tau
        weighted = share * off
        second = (weighted * off).sum(1)
        weighted.mul_(off)
        third = (weighted * off).sum(1)
        fourth = (weighted.mul_(off) * off).sum(1)
        self._second = second
        self._sharp = self._remainder(rate) > TOLERANCE
        self._any_sharp = bool(self._sharp.any())
        # By powers of the way from the centre in widths of a bin, which is between −1/2 and 1/2.
        constant = 2 * mean
        linear = 2 * (1 - rate * second) * bins.width
        quadratic = -third * (rate * bins.width) ** 2
        cubic = -(fourth - 3 * second.square()) * (rate * bins.width) ** 3 / 3
        cubic[self._sharp] = 0.0
        self._polynomial = [constant, linear, quadratic, cubic]
        # A quadratic spares a look-up a weight. Of all lines, 3/16 t comes nearest to t³: within 1/32.
        if float(cubic.abs().max()) / 32 < LEFT_OUT * math.sqrt(tau):
            self._polynomial = [constant, linear.add_(cubic, alpha=3 / 16), quadratic]

    def _remainder(self, rate: float) -> Float[Tensor, " b"]:
        """Bounds the error of a cubic at the ends of its bin, in distances of the representatives."""
        # Between two representatives a distance s apart, the fifth cumulant is m_2 s³ at most.
        level = torch.searchsorted(self._values, self._centre)
        padded = torch.cat([self._values[:1], self._values, self._values[-1:]])
        gap = (padded[level + 1] - padded[level]).clamp_(min=math.sqrt(self._tau))
        return self._second * gap.square_() * (rate * self._bins.width / 2) ** 4 / 12

    @classmethod
    def make(cls, weights: Float[Tensor, " n"], values: Float[Tensor, " k"], tau: float) -> "SlopeTable | None":
        """The table of a layer; None where it would cost more than working out every weight by itself."""
        low, high = (bound.item() for bound in weights.aminmax())
        if not math.isfinite(high - low):
            return None  # a training that diverged: each weight shows it
        unit = math.sqrt(tau)
        bins = DyadicBins(low, high, min(max((high - low) / BINS, NARROWEST * unit), WIDEST * unit))
        if bins.count > min(MOST_BINS, len(weights)) or not bins.exact:
            return None
        centre = bins.centre().to(values)
        nearest = (centre - values[assign(centre, values)]).abs() + bins.width
        radius = (nearest.square() + NEGLIGIBLE * tau).sqrt()
        first = torch.searchsorted(values, centre - radius)
        last = torch.searchsorted(values, centre + radius, right=True)
        size = int((last - first).max())
        # A bin costs about as much as four weights that are worked out by themselves.
        if 4 * bins.count * size > len(weights) * len(values):
            return None
        return cls(bins, values, tau, first, size)

    def add_gradient(
        self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"], strength: float
    ) -> Float[Tensor, " k"]:
        """Adds strength · slope to `gradient`; returns the same, summed over the weights by representative."""
        *lower, highest = (row.mul(strength).masked_fill_(self._sharp, 0.0) for row in self._polynomial)
        moments = torch.zeros(3, self._bins.count, dtype=torch.float64, device=weights.device)
        pull = torch.zeros_like(self._padded, dtype=torch.float64)
        for weight, grad in pieces(weights, gradient):
            at, way = self._bins.positions(weight)
            slope = highest.index_select(0, at)
            for coefficient in reversed(lower):
                slope = torch.addcmul(coefficient.index_select(0, at), slope, way)
            grad.add_(slope)
            if self._any_sharp:
                self._add_sharp(weight, grad, at, pull, strength)
            moments.add_(self._moments(at, way))
        moments[:, self._sharp] = 0.0
        pull.add_(self._pull_of_bins(moments.to(weights.dtype)), alpha=2 * strength)
        return pull[: len(self._values)]

    def _moments(self, at: Int[Tensor, " m"], way: Float[Tensor, " m"]) -> Float[Tensor, "3 b"]:
        """Sums by bin of the powers 0, 1 and 2 of the way, which is written over."""
        moments = torch.zeros(3, self._bins.count, dtype=way.dtype, device=way.device)
        moments[0] = torch.bincount(at, minlength=self._bins.count)
        bin_of = at.long()
        moments[1].scatter_add_(0, bin_of, way)
        moments[2].scatter_add_(0, bin_of, way.square_())
        return moments

    def _add_sharp(
        self,
        weights: Float[Tensor, " m"],
        gradient: Float[Tensor, " m"],
        at: Int[Tensor, " m"],
        pull: Float[Tensor, " padded"],
        strength: float,
    ) -> None:
        """The weights of sharp bins, one by one: adds to their gradient and to `pull`."""
        chosen = self._sharp.index_select(0, at).nonzero().squeeze(1)
        window = self._window[at[chosen]]
        offset = weights[chosen, None] - self._padded[window]
        share = offset.square().div_(-self._tau).softmax(1)
        pulls = offset.masked_fill_(offset.isinf(), 0.0).mul_(share).mul_(2 * strength)
        gradient.index_add_(0, chosen, pulls.sum(1))
        pull.index_add_(0, window.flatten(), pulls.flatten().double())

    def _pull_of_bins(self, moments: Float[Tensor, "3 b"]) -> Float[Tensor, " padded"]:
        """Σ p_k (w − r_k) over the weights that have these moments about the centres of their bins, in widths."""
        # g_k = p_k (w − r_k) and its derivatives: p_k′ = p_k a_k, a_k = (2/τ)(r_k − μ), a_k′ = −(2/τ)² m_2.
        rate = 2 / self._tau
        zeroth, first, second = (moment[:, None] * self._bins.width**power for power, moment in enumerate(moments))
        tilt = self._off * rate
        pull = tilt.square().sub_(rate**2 * self._second[:, None]).mul_(self._offset).add_(tilt, alpha=2)
        pull.mul_(second / 2).add_(tilt.mul_(self._offset).add_(1).mul_(first)).add_(self._offset * zeroth)
        pull.mul_(self._share)
        total = torch.zeros_like(self._padded, dtype=torch.float64)
        return total.index_add_(0, self._window.flatten(), pull.flatten().double())


def each_slope(
    weights: Float[Tensor, " n"], values: Float[Tensor, " k"], tau: float, strength: float
) -> tuple[Float[Tensor, " n"], Float[Tensor, " k"]]:
    """strength · slope of each weight, and its sums by representative: against every representative, O(n k)."""
    slopes = torch.empty_like(weights)
    pull = torch.zeros_like(values, dtype=torch.float64)
    rows = max(1, CPU_PIECE // len(values))
    for weight, slope in zip(weights.split(rows), slopes.split(rows), strict=True):
        offset = weight[:, None] - values
        pulls = offset.mul_(offset.square().div_(-tau).softmax(1)).mul_(2 * strength)
        pull.add_(pulls.sum(0, dtype=torch.float64))
        slope.copy_(pulls.sum(1))
    return slopes, pull
