"""Regularizers: how weights move towards representatives while a network trains.

Each object belongs to one layer. A `Regularizer` adds the gradient of its penalty in place. A `WeightTransform` gives
the values that the forward pass uses. Built-in gradients have a closed form and are computed in chunks of the weights,
without a table of all weights and all levels; penalties of users may go through autograd. `trainables.families` gives
the formulas and says which parts are the paper's. Where a built-in penalty has a kink, its derivative is 0.
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
