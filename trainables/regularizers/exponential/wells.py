"""Base of both forms of RE: trained representatives and a temperature that falls."""

from torch import Tensor

from trainables.config import PenaltyForm
from trainables.regularizers.exponential.temperature import Temperature
from trainables.regularizers.reduction import reduction_divisor
from trainables.regularizers.representatives import mean_spacing, trainable_representatives
from trainables.shapes import Float


class ExponentialWells:
    """Base of the penalties of RE, which have a well around each representative.

    Attributes:
        form: switches of the penalty.
        representatives: (K,), trained.
        state: the same tensor.
    """

    def __init__(self, weights: Float[Tensor, " n"], num_levels: int, form: PenaltyForm) -> None:
        """Place `num_levels` representatives among a layer's weights, (n,), as `form.initial` says."""
        self.form = form
        self.representatives = self.state = trainable_representatives(weights, num_levels, form.initial)
        self._temperature = Temperature(form, mean_spacing(self.representatives.detach()))
        self._divisor = reduction_divisor(form, len(weights))

    @property
    def half_spacing(self) -> float:
        """Half the mean distance of the representatives; see `Regularizer.half_spacing`."""
        return mean_spacing(self.representatives.detach()) / 2

    @property
    def tau(self) -> float:
        """The current temperature τ, in squared units of the weights."""
        return self._temperature.tau

    def progress(self, fraction: float) -> None:
        """Set the temperature; see `LayerQuantizer.progress`."""
        self.anneal(fraction, mean_spacing(self.representatives.detach()))

    def anneal(self, fraction: float, spacing: float) -> None:
        """Set the temperature, where the mean spacing of the representatives is known; see `progress`."""
        self._temperature.progress(fraction, spacing)
