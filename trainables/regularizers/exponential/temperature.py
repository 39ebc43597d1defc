"""The temperature of RE."""

from trainables.config import PenaltyForm


class Temperature:
    """Temperature τ of RE: a factor that changes geometrically over the phase, times the squared mean spacing.

    With `temperature_spacing` `current`, the spacing is that of the current representatives. Two representatives that
    attract the same weights approach each other. If τ did not shrink with their spacing, their wells would flow into
    one, and the representatives would merge.

    Attributes:
        tau: the current temperature, in squared units of the weights.
    """

    def __init__(self, form: PenaltyForm, spacing: float) -> None:
        """Start at the first temperature.

        Args:
            form: for `temperature`, `final_temperature` and `temperature_spacing`.
            spacing: mean distance of the layer's representatives when the phase begins, in units of the weights.
        """
        self._form = form
        self._initial_spacing = spacing
        self.progress(0.0, spacing)

    def progress(self, fraction: float, spacing: float) -> None:
        """Set τ to its value at a point of the phase.

        Args:
            fraction: share of the phase that is over, in [0, 1].
            spacing: mean distance of the representatives now, in units of the weights.
        """
        unit = spacing if self._form.temperature_spacing == "current" else self._initial_spacing
        self.tau = self._form.temperature_at(fraction) * unit**2
