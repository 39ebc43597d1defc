"""The regularize phase whose penalties are applied by compiled loops."""

import shutil
import warnings
from collections.abc import Mapping
from functools import cache

from torch import nn

from trainables.config import TrialConfig
from trainables.phases import RegularizePhase
from trainables.regularizers.exponential.soft_minimum import SoftMinimum
from trainables.regularizers.nearest import NearestDistance
from trainables.regularizers.protocol import LayerQuantizer


def have_loops(quantizers: list[LayerQuantizer]) -> bool:
    """Return whether there are loops for the penalties of these layers."""
    kinds = {type(one) for one in quantizers}
    known = kinds == {SoftMinimum} or (
        kinds == {NearestDistance} and all(one.state is one.representatives for one in quantizers)
    )
    return known and min(len(one.representatives) for one in quantizers) >= 2


@cache
def loops_run() -> bool:
    """Return whether Numba can compile the loops here; a damaged cache is deleted and compiled anew."""
    try:
        from trainables.compiled import compiler, loops  # Numba takes 0.2 s to load, which not all trials need
    except ImportError as error:
        if error.name != "numba":  # that is not installed where a GPU does the work
            warnings.warn(f"RM and RE are slower here: Numba can't be loaded ({error}); reinstall numba", stacklevel=2)
        return False
    try:
        loops.try_out()
    except Exception:  # of many kinds: the files may be cut off, or hold anything
        shutil.rmtree(compiler.cache_folder(loops.__file__), ignore_errors=True)
        try:
            loops.try_out()
        except Exception as error:
            warnings.warn(
                f"RM and RE are slower here: Numba can't compile their loops ({error}); reinstall numba", stacklevel=2
            )
            return False
    return True


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
        known = config.recipe.penalty_application == "decoupled" and have_loops(list(self.quantizers.values()))
        self.uses_loops = known and loops_run()
        if self.uses_loops:
            from trainables.compiled.layers import CompiledLayer

            half_spacings = config.recipe.lam_unit == "half_spacings"
            self._compiled = {
                name: CompiledLayer(regularizer, weights[name], half_spacings)  # type: ignore[arg-type]  # see above
                for name, regularizer in self.regularizers.items()
            }

    def step(self, epochs_done: float) -> None:
        """Update all that is trained; see `Phase.step`."""
        if not self.uses_loops:
            super().step(epochs_done)
            return
        weight_optimizer, representative_optimizer = self.optimizers
        weight_optimizer.step()
        fraction = epochs_done / self.config.regularize_epochs
        learning_rate = weight_optimizer.param_groups[0]["lr"]
        layers = zip(self._compiled.items(), representative_optimizer.param_groups, strict=True)
        for (name, layer), group in layers:
            layer.draw(self.amount(self._lams[name], epochs_done, learning_rate), fraction)
            layer.train(representative_optimizer, group)
