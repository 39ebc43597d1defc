"""Regularizers: how weights move towards representatives while a network trains.

A regularizer belongs to one layer. It adds the gradient of its penalty in place, in closed form, in chunks that fit
the cache, so that its extra memory does not depend on the number of levels. `trainables.families` gives the formulas
and says which parts are the paper's. Where a penalty has a kink, its derivative is 0.
"""

from trainables.regularizers.own.own_family import family
from trainables.regularizers.protocol import (
    DrawnRegularizer,
    LayerQuantizer,
    ProximalRegularizer,
    Regularizer,
    WeightTransform,
)
from trainables.regularizers.registry import REGULARIZERS

__all__ = [
    "REGULARIZERS",
    "DrawnRegularizer",
    "LayerQuantizer",
    "ProximalRegularizer",
    "Regularizer",
    "WeightTransform",
    "family",
]
