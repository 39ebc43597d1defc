"""The regularizers by the name of their family."""

from collections.abc import Callable

from torch import Tensor

from trainables.config import PenaltyForm
from trainables.import_path import is_import_path
from trainables.regularizers.entropy_constrained import EntropyConstrainedDistance
from trainables.regularizers.exponential.bounded_wells import BoundedWells
from trainables.regularizers.exponential.soft_minimum import SoftMinimum
from trainables.regularizers.nearest import NearestDistance
from trainables.regularizers.own.own_family import QuantizerFactory, own_quantizer
from trainables.regularizers.periodic import PeriodicWells
from trainables.regularizers.protocol import Regularizer, WeightTransform
from trainables.regularizers.siblings.bin_regularization import BinRegularization
from trainables.regularizers.siblings.learned_step import LearnedStep
from trainables.regularizers.siblings.piecewise_affine import PiecewiseAffine
from trainables.regularizers.siblings.soft_clusters import SoftClusters
from trainables.shapes import Float


def _exponential(weights: Float[Tensor, " n"], num_levels: int, form: PenaltyForm) -> SoftMinimum | BoundedWells:
    """Return the penalty of RE that `form.bounded` selects."""
    return (BoundedWells if form.bounded else SoftMinimum)(weights, num_levels, form)


REGULARIZERS: dict[str, Callable[[Float[Tensor, " n"], int, PenaltyForm], Regularizer]] = {
    "RS": PeriodicWells.sine,
    "RC": PeriodicWells.cosine,
    "RM": NearestDistance.free,
    "RE": _exponential,
    "SinReQ": PeriodicWells.symmetric_sine,
    "MSQE": NearestDistance.on_grid,
    "BinReg": BinRegularization,
    "RH": EntropyConstrainedDistance,
}
"""Families with a penalty. Each makes the regularizer of a layer from its flat weights, (n,), K and the switches."""

TRANSFORMS: dict[str, Callable[[Float[Tensor, " n"], int, PenaltyForm], WeightTransform]] = {
    "PARQ": PiecewiseAffine,
    "LSQ": LearnedStep,
    "DKM": SoftClusters,
}
"""Families that transform the weights for the forward pass, and have no penalty."""

QUANTIZERS: dict[str, QuantizerFactory] = {**REGULARIZERS, **TRANSFORMS}
"""All families with representatives of their own in the regularize phase."""


def quantizer_of(family: str) -> QuantizerFactory | None:
    """Return the function that makes the quantizer of a layer; None for a family without representatives.

    Args:
        family: key of `trainables.families.FAMILIES`, or import path of a family.

    Raises:
        PartError: a family named by import path can't be imported or made.
    """
    return own_quantizer(family) if is_import_path(family) else QUANTIZERS.get(family)
