"""Table of the soft minimum's slope over one layer, which replaces K exponentials a weight."""

import math

import torch
from torch import Tensor

from trainables.codebooks.assignment import assign
from trainables.regularizers.chunks import chunks
from trainables.regularizers.lookup.bins import DyadicBins
from trainables.shapes import Float, Int

NEGLIGIBLE = 16.0
"""A representative is left out if its share of a weight is below exp(−16) = 1e-7 of the nearest one's."""
NEGLIGIBLE_IN_BINS = 20.0
"""The same for a bin of the table, exp(−20) = 2e-9: what is left out adds up over all weights of the bin."""
NARROWEST, WIDEST = 0.02, 0.03
"""Bounds of the `widest` of `DyadicBins`, in √τ. Between them it is as small as the number of bins allows."""
BINS = 1 << 13
"""Target number of bins. There are more only if bins would be wider than `WIDEST`."""
WEIGHTS_A_BIN = 16
"""Weights per bin below which bins are made wider, if they may be: a bin costs as much as evaluating some weights."""
TOLERANCE = 5e-6
"""A bin is sharp if the error of its cubic may exceed this part of the gap between the representatives beside it."""
LEFT_OUT = 1e-6
"""Largest error of the slope, in √τ, at which quadratics replace the cubics, which saves a look-up per weight."""
MOST_BINS = 1 << 16


class SlopeTable:
    """Slope of the soft minimum as a function of the weight, tabulated over bins that hold all weights of a layer.

    The slope is the same smooth function for every weight of a layer, so each bin holds a cubic, or a quadratic if all
    bins are narrow enough. For the gradient of the representatives, the weights are first reduced to four moments a
    bin; then each bin is treated as one weight. A bin is sharp if the slope turns too quickly there for a cubic: midway
    between two representatives that are far apart relative to √τ. Weights in sharp bins are evaluated one by one.

    In a bin with centre c, with shares p_k = softmax_k(−(c − r_k)²/τ), mean μ = Σ p_k r_k and central moments m_j of
    the representatives under these shares: slope 2(c − μ); μ′ = (2/τ) m_2, μ″ = (2/τ)² m_3,
    μ‴ = (2/τ)³ (m_4 − 3 m_2²), the cumulants of an exponential family.
    """

    def __init__(
        self, bins: DyadicBins, values: Float[Tensor, " k"], tau: float, first: Int[Tensor, " b"], size: int
    ) -> None:
        """Tabulate the slope; `build` decides whether to.

        Args:
            bins: b bins that hold all weights.
            values: (K,), the representatives, in increasing order.
            tau: the temperature, in squared units of the weights.
            first: (b,), the first representative that counts in each bin.
            size: how many representatives from the first one on count.
        """
        self._bins = bins
        self._values = values
        self._tau = tau
        # A column holds the representatives that count in a bin. Past the last one, it is repeated with share 0. Sums
        # over so few rows are vectorized over the bins, which those over the short rows of a transposed table are not.
        window = first + torch.arange(size, device=values.device)[:, None]
        self._repeated = window >= len(values)
        self._window = window.clamp(max=len(values) - 1)
        self._centres = bins.centres().to(values)
        self._offset = self._centres - values.index_select(0, self._window.flatten()).view(size, -1)  # c − r
        exponents = self._offset.square().div_(-tau)
        share = exponents.sub_(exponents.amax(0)).exp_().masked_fill_(self._repeated, 0.0)
        self._share = share.div_(share.sum(0))
        mean_offset = (self._share * self._offset).sum(0)  # c − μ
        self._deviation = mean_offset - self._offset  # r − μ
        second, third, fourth = self._central_moments()
        self._second, self._third = second, third
        rate = 2 / tau
        self._sharp = self._remainder(rate) > TOLERANCE
        self._any_sharp = bool(self._sharp.any())
        # Coefficients of powers of the offset from the centre, in widths of a bin, which is in [−1/2, 1/2].
        constant = 2 * mean_offset
        linear = 2 * (1 - rate * second) * bins.width
        quadratic = -third * (rate * bins.width) ** 2
        cubic = -(fourth - 3 * second.square()) * (rate * bins.width) ** 3 / 3
        cubic[self._sharp] = 0.0
        self._polynomial = [constant, linear, quadratic, cubic]
        # A quadratic saves a look-up per weight. Of all lines, 3/16 t is the nearest to t³, within 1/32.
        if float(cubic.abs().max()) / 32 < LEFT_OUT * math.sqrt(tau):
            self._polynomial = [constant, linear.add_(cubic, alpha=3 / 16), quadratic]

    @classmethod
    def build(cls, weights: Float[Tensor, " n"], values: Float[Tensor, " k"], tau: float) -> "SlopeTable | None":
        """Return the table of a layer, or None if it would cost more than evaluating each weight.

        Args:
            weights: (n,), the layer's weights.
            values: (K,), the representatives, in increasing order.
            tau: the temperature, in squared units of the weights.
        """
        low, high = (bound.item() for bound in weights.aminmax())
        if not math.isfinite(high - low):
            return None  # training has diverged; evaluating each weight keeps what is not finite
        unit = math.sqrt(tau)
        narrowest = (high - low) / min(BINS, max(1, len(weights) // WEIGHTS_A_BIN))
        bins = DyadicBins(low, high, min(max(narrowest, NARROWEST * unit), WIDEST * unit))
        if bins.count > min(MOST_BINS, len(weights)) or not bins.exact:
            return None
        centres = bins.centres().to(values)
        nearest = values.index_select(0, assign(centres, values)).sub_(centres).abs_().add_(bins.width)
        radius = nearest.square_().add_(NEGLIGIBLE_IN_BINS * tau).sqrt_()
        first = torch.searchsorted(values, centres - radius)
        last = torch.searchsorted(values, centres + radius, right=True)
        size = int((last - first).max())
        # A bin costs about as much as evaluating four weights.
        if 4 * bins.count * size > len(weights) * len(values):
            return None
        return cls(bins, values, tau, first, size)

    def _central_moments(self) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"], Float[Tensor, " b"]]:
        """Return m_2, m_3 and m_4 of each bin."""
        weighted = self._share * self._deviation
        second = weighted.mul_(self._deviation).sum(0)
        third = weighted.mul_(self._deviation).sum(0)
        fourth = weighted.mul_(self._deviation).sum(0)
        return second, third, fourth

    def _remainder(self, rate: float) -> Float[Tensor, " b"]:
        """Return a bound on the error of each bin's cubic, as a part of the gap of the representatives beside it."""
        # Between two representatives a distance s apart, the fifth cumulant is at most m_2 s³.
        level = torch.searchsorted(self._values, self._centres)
        padded = torch.cat([self._values[:1], self._values, self._values[-1:]])
        gap = padded.diff().clamp_(min=math.sqrt(self._tau)).index_select(0, level)
        return self._second * gap.square_() * (rate * self._bins.width / 2) ** 4 / 12

    def add_gradient(
        self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"], strength: float
    ) -> Float[Tensor, " k"]:
        """Add strength · slope to `gradient` in place.

        Args:
            weights: (n,), within the bins of the table.
            gradient: (n,), changed in place.
            strength: factor of the slope.

        Returns:
            (K,), float64: the parts of strength · slope that each representative causes, summed over the weights.
        """
        *lower, highest = (row.mul(strength).masked_fill_(self._sharp, 0.0) for row in self._polynomial)
        moments = torch.zeros(4, self._bins.count, dtype=torch.float64, device=weights.device)
        pull = torch.zeros_like(self._values, dtype=torch.float64)
        for weight, grad in chunks(weights, gradient):
            bins, offset = self._bins.positions(weight)
            slope = highest.index_select(0, bins)
            for coefficient in reversed(lower):
                slope = torch.addcmul(coefficient.index_select(0, bins), slope, offset)
            grad.add_(slope)
            if self._any_sharp:
                self._add_sharp(weight, grad, bins, pull, strength)
            moments.add_(self._moments(bins, offset))
        moments[:, self._sharp] = 0.0
        pull.add_(self._pull_of_bins(moments.to(weights.dtype)), alpha=2 * strength)
        return pull

    def _moments(self, bins: Int[Tensor, " m"], offset: Float[Tensor, " m"]) -> Float[Tensor, "4 b"]:
        """Return the sums by bin of the offset's powers 0 to 3, float64; overwrites `offset`."""
        moments = torch.zeros(4, self._bins.count, dtype=torch.float64, device=offset.device)
        moments[0] = torch.bincount(bins, minlength=self._bins.count)
        index = bins.long()
        # Equal weights pull on their representative by the difference of the first two sums: rounding would tell.
        moments[1].scatter_add_(0, index, offset.double())
        square = offset.square()
        for moment, power in zip(moments[2:], (square, offset.mul_(square)), strict=True):
            moment.copy_(torch.zeros_like(moment, dtype=power.dtype).scatter_add_(0, index, power))
        return moments

    def _add_sharp(
        self,
        weights: Float[Tensor, " m"],
        gradient: Float[Tensor, " m"],
        bins: Int[Tensor, " m"],
        pull: Float[Tensor, " k"],
        strength: float,
    ) -> None:
        """Evaluate the weights of sharp bins one by one; add to their gradient and to `pull` in place."""
        chosen = self._sharp.index_select(0, bins).nonzero().squeeze(1)
        columns = bins.index_select(0, chosen)
        window = self._window.index_select(1, columns)
        offset = weights[chosen] - self._values.index_select(0, window.flatten()).view_as(window)
        share = (
            offset.square().div_(-self._tau).masked_fill_(self._repeated.index_select(1, columns), -math.inf).softmax(0)
        )
        pulls = offset.mul_(share).mul_(2 * strength)
        gradient.index_add_(0, chosen, pulls.sum(0))
        pull.index_add_(0, window.flatten(), pulls.flatten().double())

    def _pull_of_bins(self, moments: Float[Tensor, "4 b"]) -> Float[Tensor, " k"]:
        """Return Σ p_k (w − r_k) by representative, over the weights that have these moments in their bins."""
        # Taylor's series of p_k (w − r_k) around the bin's centre, by p_k′ = p_k a_k with a_k = (2/τ)(r_k − μ),
        # a_k′ = −(2/τ)² m_2 and a_k″ = −(2/τ)³ m_3: p_k″ = p_k (a_k² + a_k′), p_k‴ = p_k (a_k³ + 3 a_k a_k′ + a_k″).
        rate = 2 / self._tau
        zeroth, first, second, third = (
            moment * (self._bins.width**power / math.factorial(power)) for power, moment in enumerate(moments)
        )
        tilt = self._deviation * rate
        bend = tilt.square().sub_(rate**2 * self._second)
        turn = (bend - 2 * rate**2 * self._second).mul_(tilt).sub_(rate**3 * self._third)
        pull = self._offset * zeroth
        pull.add_((tilt * self._offset).add_(1).mul_(first))
        pull.add_((bend * self._offset).add_(tilt, alpha=2).mul_(second))
        pull.add_(turn.mul_(self._offset).add_(bend, alpha=3).mul_(third))
        pull.mul_(self._share)
        total = torch.zeros_like(self._values, dtype=torch.float64)
        return total.index_add_(0, self._window.flatten(), pull.flatten().double())
