"""Where the numbers of each layer lie in the tables that the kernels read."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.regularizers.entropy_constrained import EntropyConstrainedDistance
from trainables.regularizers.exponential.bounded_wells import BoundedWells
from trainables.regularizers.exponential.soft_minimum import SoftMinimum
from trainables.regularizers.nearest import NearestDistance
from trainables.regularizers.periodic import PeriodicWells
from trainables.regularizers.protocol import LayerQuantizer
from trainables.regularizers.reduction import reduction_divisor
from trainables.regularizers.representatives import mean_spacing
from trainables.regularizers.siblings.bin_regularization import BinRegularization
from trainables.shapes import Float, Int

CHUNK = 4096
"""Weights that one program of a kernel handles."""

MOST_LEVELS = 1024
"""Largest K for which the kernels keep a sum for each level and chunk. They need these sums where a penalty or the
finetune phase trains representatives, and for PARQ and DKM. If any layer has more levels, all go one by one."""

FACTOR, REACH, SPACED, LOW, HIGH, ORIGIN, SPACING, UNIT, LEARNING_RATE, LAM, ENTROPY_WEIGHT = range(11)
CONSTANTS = 11
"""Number of columns of the table of constants.

- FACTOR: factor of the slope; for LSQ, of the gradient of the step.
- REACH: distance that a unit of λ draws a weight at slope 1. SPACED: 1 if REACH is a multiple of the current spacing.
- LOW, HIGH, SPACING: interval and spacing of RS and RC. ORIGIN: a point of their grid, the nearest to 0.
- UNIT: the squared spacing that is the unit of τ, or 0 for the current one, as always for RH. For DKM: a spacing.
- LEARNING_RATE: peak learning rate of the representatives. LAM: λ. ENTROPY_WEIGHT: γ of RH.
"""

RATE, AMOUNT, TEMPERATURE, REPRESENTATIVE_SHARE = range(4)
CONTROLS = 4
"""Number of controls, the values that change from step to step.

- RATE: learning rate of the weights.
- AMOUNT: effect of λ = 1 in this step; see `RegularizePhase.amount`.
- TEMPERATURE: of RE, in squared spacings; of DKM, in spacings. For PARQ: the inverse slope of its map.
- REPRESENTATIVE_SHARE: learning rate of the representatives as a share of its peak.
"""

FAMILIES: dict[type, str] = {
    PeriodicWells: "periodic",
    NearestDistance: "nearest",
    SoftMinimum: "soft",
    BoundedWells: "bounded",
    EntropyConstrainedDistance: "cheapest",
    BinRegularization: "bins",
}
"""Regularizers that the kernels know, and the names of their formulas there."""

COUNTED = ("cheapest", "bins")
"""Formulas that depend on how many weights are nearest to each level."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Tables of all layers, on their device.

    Attributes:
        num_levels: K of each layer.
        chunks: (chunks, 3), int64: layer, first weight in the layer, first weight among those of all layers.
        firsts: (layers + 1,), int64: first chunk of each layer.
        sizes: (layers, 3), int64: weights, first level, levels.
        constants: (layers, CONSTANTS), float64.
        chunk: weights in a chunk.
    """

    num_levels: tuple[int, ...]
    chunks: Int[Tensor, "c 3"]
    firsts: Int[Tensor, " l1"]
    sizes: Int[Tensor, "l 3"]
    constants: Float[Tensor, "l columns"]
    chunk: int

    @property
    def tables(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Tables that the kernels read: `chunks`, `firsts`, `sizes` and `constants`."""
        return self.chunks, self.firsts, self.sizes, self.constants

    @property
    def digits(self) -> int:
        """Binary digits of the levels of all layers."""
        return (max(self.num_levels) - 1).bit_length()

    @classmethod
    def build(
        cls, sizes: Sequence[int], num_levels: Sequence[int], constants: Tensor, device: torch.device, chunk: int
    ) -> "Layout":
        """Return the tables of layers with these numbers of weights and levels; `constants` is one row a layer."""
        chunks, firsts, rows = [], [0], []
        weights = levels = 0
        for layer, (size, count) in enumerate(zip(sizes, num_levels, strict=True)):
            chunks += [[layer, start, weights + start] for start in range(0, size, chunk)]
            firsts.append(len(chunks))
            rows.append([size, levels, count])
            weights += size
            levels += count
        integers = {"dtype": torch.int64, "device": device}
        return cls(
            num_levels=tuple(num_levels),
            chunks=torch.tensor(chunks, **integers),  # type: ignore[arg-type]
            firsts=torch.tensor(firsts, **integers),  # type: ignore[arg-type]
            sizes=torch.tensor(rows, **integers),  # type: ignore[arg-type]
            constants=constants.to(device),
            chunk=chunk,
        )


def constants_of(quantizer: LayerQuantizer, num_weights: int, half_spacings: bool, lam: float) -> list[float]:
    """Return the constants of a layer but for the learning rate, which is 0.

    Args:
        quantizer: the layer's penalty, of a type in `FAMILIES`.
        num_weights: weights in the layer.
        half_spacings: whether λ counts half-spacings; otherwise, a unit of λ draws a weight at slope 1 by 1.
        lam: λ of the layer.
    """
    assert isinstance(quantizer, tuple(FAMILIES))
    divisor: float = reduction_divisor(quantizer.form, num_weights)  # type: ignore[attr-defined]  # all of `FAMILIES` have it
    row = [0.0] * CONSTANTS
    row[FACTOR] = 1 / divisor
    row[REACH], row[LAM] = 1.0, lam
    if isinstance(quantizer, PeriodicWells):
        row[FACTOR] *= quantizer.factor
        row[LOW], row[HIGH], row[SPACING] = quantizer.low, quantizer.high, quantizer.spacing
        row[ORIGIN] = math.remainder(float(quantizer.representatives[0]), quantizer.spacing)
        if half_spacings:
            row[REACH] = quantizer.half_spacing / quantizer.steepest
        return row
    squared = isinstance(quantizer, SoftMinimum)
    if isinstance(quantizer, NearestDistance | EntropyConstrainedDistance):
        squared = quantizer.form.squared
        row[ENTROPY_WEIGHT] = quantizer.form.entropy_weight
    elif isinstance(quantizer, BinRegularization):
        squared = True
        row[FACTOR] = quantizer.factor(num_weights, len(quantizer.representatives))
        divisor = num_weights / (len(quantizer.representatives) * row[FACTOR])
    elif quantizer.form.temperature_spacing == "initial":  # type: ignore[attr-defined]
        row[UNIT] = mean_spacing(quantizer.representatives.detach()) ** 2
    if half_spacings:
        # The greatest slope of a squared distance is in proportion to the spacing.
        row[SPACED] = float(not squared)
        row[REACH] = 0.5 * divisor
    return row
