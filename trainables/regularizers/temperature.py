"""The temperature of RE."""

from trainables.config import PenaltyForm


class FallingTemperature:
    """A temperature τ that falls geometrically over the phase.

    At a fixed large τ, two representatives that attract the same weights merge.

    Attributes:
        tau: the current temperature, in squared units of the weights.
    """

    def __init__(self, form: PenaltyForm, spacing: float) -> None:
        """Start at the first temperature.

        Args:
            form: for `temperature` and `final_temperature`, in squared spacings.
            spacing: mean distance of the layer's representatives when the phase begins, in units of the weights.
        """
        self._form = form
        self._unit = spacing**2
        self.tau = form.temperature * self._unit

    def progress(self, fraction: float) -> None:
        """Set τ to its value when `fraction` of the phase, in [0, 1], is over."""
        fall = self._form.final_temperature / self._form.temperature
        self.tau = self._form.temperature * fall**fraction * self._unit
