"""The regularize phase whose penalties are applied by compiled loops."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from torch import nn

from trainables.config import PenaltyForm, TrialConfig
from trainables.phases import RegularizePhase
from trainables.regularizers.exponential.soft_minimum import SoftMinimum
from trainables.regularizers.nearest import NearestDistance
from trainables.regularizers.protocol import LayerQuantizer

WIDEST_TEMPERATURE = 0.03
"""RE's τ, in squared mean spacings, above which many weights feel more than two representatives."""


def can_compile(quantizers: list[LayerQuantizer], form: PenaltyForm) -> bool:
    """Return whether there are loops for the penalties of these layers, and Numba to compile them."""
    kinds = {type(one) for one in quantizers}
    if kinds == {SoftMinimum}:
        known = max(form.temperature, form.final_temperature) <= WIDEST_TEMPERATURE
    else:
        known = kinds == {NearestDistance} and all(one.state is one.representatives for one in quantizers)
    return known and min(len(one.representatives) for one in quantizers) >= 2 and find_spec("numba") is not None


class CompiledRegularizePhase(RegularizePhase):
    """`RegularizePhase` whose penalty, where it is RM or the soft minimum of RE and decoupled, is applied by loops.

    Its checkpoints are those of `RegularizePhase`, which handles all else.
    """

    def __init__(
        self,
        config: TrialConfig,
        model: nn.Module,
        weights: dict[str, nn.Parameter],
        num_levels: Mapping[str, int] | None = None,
        batches_per_epoch: int = 1,
    ) -> None:
        """Begin the phase; see `RegularizePhase`."""
        super().__init__(config, model, weights, num_levels, batches_per_epoch)
        quantizers = list(self.quantizers.values())
        self.is_compiled = config.recipe.penalty_application == "decoupled" and can_compile(quantizers, config.penalty)
        if self.is_compiled:
            from trainables.compiled.layers import CompiledLayer  # Numba takes 0.2 s to load

            half_spacings = config.recipe.lam_unit == "half_spacings"
            self._compiled = {
                name: CompiledLayer(regularizer, weights[name], half_spacings)  # type: ignore[arg-type]  # see above
                for name, regularizer in self.regularizers.items()
            }
            self._adopt()

    def _adopt(self) -> None:
        for layer in self._compiled.values():
            layer.adopt(self.optimizers[1])

    def step(self, epochs_done: float) -> None:
        """Update all that is trained; see `Phase.step`."""
        if not self.is_compiled:
            super().step(epochs_done)
            return
        weight_optimizer, representative_optimizer = self.optimizers
        weight_optimizer.step()
        fraction = epochs_done / self.config.regularize_epochs
        learning_rate = weight_optimizer.param_groups[0]["lr"]
        layers = zip(self._compiled.items(), representative_optimizer.param_groups, strict=True)
        for (name, layer), group in layers:
            layer.draw(self.amount(self._lams[name], epochs_done, learning_rate), fraction)
            layer.train(group["lr"])

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a result of `state_dict`."""
        super().load_state_dict(state)
        if self.is_compiled:
            self._adopt()
