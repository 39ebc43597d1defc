"""Reduction of a layer's penalty: the sum over its weights, or their mean."""

from trainables.config import PenaltyForm


def reduction_divisor(form: PenaltyForm, num_weights: int) -> int:
    """Return what the sum over a layer's weights is divided by: 1, or the number of weights for the mean."""
    return num_weights if form.reduction == "mean" else 1
