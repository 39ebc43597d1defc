"""The form of a penalty: the switches that a family's formula leaves open."""

import math
from dataclasses import dataclass

from trainables.choices import choose
from trainables.config.rules import require, require_positive


@dataclass(frozen=True, kw_only=True)
class PenaltyForm:
    """The switches of the penalties (`trainables.regularizers.registry`).

    Attributes:
        reduction: `sum` over a layer's weights, so that the pull on a weight does not depend on the size of
            its layer, or `mean`.
        squared: square the distance-like penalties of RS, RC, RM and RH. Those of SinReQ and MSQE always are squares.
        scale: divide out the size of a well, so that one λ means the same pull for every family and K.
        bounded: RE's bounded wells 1 − max_k exp(−(w − r_k)²/τ) instead of the soft minimum.
        temperature: RE's τ at the start, in squared mean spacings of the representatives. Bounded wells reach about
            √τ far, and need a larger one. DKM's τ in mean spacings of its first centroids.
        final_temperature: the same at the end of the phase; τ falls geometrically between the two.
        temperature_spacing: the mean spacing that τ counts in. `current`: that of the representatives at each step, so
            that RE stays the same function of weights in spacings when its representatives approach each other;
            `initial`: that when the phase begins, at which representatives may merge.
        entropy_weight: RH's cost of a bit, in half mean spacings of the representatives, or in their squares with
            `squared`.
        initial: where trainable representatives begin: `quantiles`, `grid` or `kmeans`.
        interval: the interval [a, b] of RS and RC when the phase begins. `minmax`: from the smallest to the largest
            weight; `sigma`: the mean ± `interval_sigmas` standard deviations, but no wider; `quantiles`: without a
            share of `interval_quantile` at each end.
        interval_sigmas: half the width of the interval `sigma`, in standard deviations.
        interval_quantile: share of the weights below, and above, the interval `quantiles`.
    """

    reduction: str = "sum"
    squared: bool = False
    scale: bool = True
    bounded: bool = False
    temperature: float = 0.02
    final_temperature: float = 0.02
    temperature_spacing: str = "current"
    entropy_weight: float = 1.0
    initial: str = "kmeans"
    interval: str = "sigma"
    interval_sigmas: float = 2.5
    interval_quantile: float = 0.005

    def __post_init__(self) -> None:
        choose("reduction", self.reduction, ("sum", "mean"))
        choose("temperature_spacing", self.temperature_spacing, ("current", "initial"))
        choose("initial", self.initial, ("quantiles", "grid", "kmeans"))
        choose("interval", self.interval, ("minmax", "sigma", "quantiles"))
        require_positive(self, "temperature", "final_temperature", "interval_sigmas")
        weight, quantile = self.entropy_weight, self.interval_quantile
        require(math.isfinite(weight) and weight >= 0, "entropy_weight", "finite and at least 0", weight, "try 1.0")
        require(0 <= quantile < 0.5, "interval_quantile", "at least 0 and below 0.5", quantile, "try 0.005")

    def temperature_at(self, fraction: float) -> float:
        """Return the temperature after a share of the phase, in [0, 1]; it falls geometrically."""
        return self.temperature * (self.final_temperature / self.temperature) ** fraction
