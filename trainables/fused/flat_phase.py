"""The regularize phase of small networks on a CPU: the penalties of all layers at once."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trainables.config import PenaltyForm, TrialConfig
from trainables.fused.flat_nearest import FlatNearestDistance
from trainables.fused.flat_soft_minimum import FlatSoftMinimum
from trainables.fused.layers import fit
from trainables.fused.layout import CHUNK, CONSTANTS, Layout
from trainables.fused.trained import FusedRepresentatives
from trainables.phases import RegularizePhase
from trainables.phases.optimizers import sort_representatives
from trainables.regularizers.exponential.soft_minimum import SoftMinimum
from trainables.regularizers.nearest import NearestDistance
from trainables.regularizers.protocol import LayerQuantizer

MOST_WEIGHTS = 1 << 18
"""Quantized weights of a network above which its layers no longer stay in the cache together."""

WIDEST_TEMPERATURE = 0.03
"""RE's τ, in squared mean spacings, above which many weights feel more than two representatives."""

BETAS, EPSILON = (0.9, 0.999), 1e-20


def is_small(config: TrialConfig, weights: Mapping[str, Tensor]) -> bool:
    """Return whether a network's layers are drawn at once on a CPU, as far as its configuration says."""
    total = sum(weight.numel() for weight in weights.values())
    return config.recipe.penalty_application == "decoupled" and total <= MOST_WEIGHTS


def _fits(quantizers: list[LayerQuantizer], form: PenaltyForm) -> bool:
    kinds = {type(one) for one in quantizers}
    if kinds == {SoftMinimum}:
        known = max(form.temperature, form.final_temperature) <= WIDEST_TEMPERATURE
    else:
        known = kinds == {NearestDistance} and all(one.state is one.representatives for one in quantizers)
    values = [one.representatives for one in quantizers]
    return known and fit(values) and min(len(one) for one in values) >= 2


class FlatRegularizePhase(RegularizePhase):
    """`RegularizePhase` whose penalty, where it is RM or the soft minimum of RE, goes over all layers at once.

    Its checkpoints are those of `RegularizePhase`. Other families are handled layer by layer.
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
        self._penalty: FlatNearestDistance | FlatSoftMinimum | None = None
        quantizers = list(self.quantizers.values())
        if not quantizers or not _fits(quantizers, config.penalty):
            return
        own = [weights[name] for name in self.quantizers]
        kind = FlatSoftMinimum if isinstance(quantizers[0], SoftMinimum) else FlatNearestDistance
        self._penalty = kind(quantizers, own)  # type: ignore[arg-type]  # as `_fits` says
        sizes = [weight.numel() for weight in own]
        levels = [len(one.representatives) for one in quantizers]
        constants = torch.zeros((len(own), CONSTANTS), dtype=torch.float64)
        layout = Layout.build(sizes, levels, constants, own[0].device, CHUNK)
        self._representatives = FusedRepresentatives(layout, [one.representatives for one in quantizers])
        self._layer = torch.repeat_interleave(torch.tensor(levels))
        self._begins = self._layer.diff() > 0
        self._representatives.adopt(self.optimizers[1])
        # Of a squared distance, half a spacing and the steepest slope are in the same ratio throughout.
        constant = config.recipe.lam_unit == "half_spacings" and kind is FlatSoftMinimum
        self._ratios = [self.distance(1.0, one) for one in self.regularizers.values()] if constant else None

    @property
    def draws_at_once(self) -> bool:
        """Whether the penalty is one that goes over all layers at once."""
        return self._penalty is not None

    def step(self, epochs_done: float) -> None:
        """Update all that is trained; see `Phase.step`."""
        if self._penalty is None:
            super().step(epochs_done)
            return
        self.optimizers[0].step()
        values = self._representatives.values
        self._penalty.progress(epochs_done / self.config.regularize_epochs, values)
        learning_rate = self.optimizers[0].param_groups[0]["lr"]
        amounts = [self.amount(self._lams[name], epochs_done, learning_rate) for name in self.regularizers]
        if self._ratios is None:
            pairs = zip(amounts, self.regularizers.values(), strict=True)
            distances = [self.distance(amount, regularizer) for amount, regularizer in pairs]
        else:
            distances = [amount * ratio for amount, ratio in zip(amounts, self._ratios, strict=True)]
        pull = self._penalty.draw(distances, values)
        self._representatives.gradient.copy_(pull).nan_to_num_(0.0, 0.0, 0.0)
        self._step_representatives()

    def _step_representatives(self) -> None:
        """Take Adam's step with all representatives at once, and keep them in order.

        Source: Kingma and Ba, "Adam", arXiv 1412.6980, Algorithm 1.
        """
        all_levels = self._representatives
        groups = self.optimizers[1].param_groups
        (beta_1, beta_2), grad = BETAS, all_levels.gradient
        all_levels.steps.add_(1)
        taken = all_levels.steps[0].item()
        # The operators of torch's Adam, in its order: NumPy would cost less, but round otherwise.
        value, mean, square = all_levels.state
        mean.lerp_(grad, 1 - beta_1)
        square.mul_(beta_2).addcmul_(grad, grad, value=1 - beta_2)
        deviation = square.sqrt().div_((1 - beta_2**taken) ** 0.5).add_(EPSILON)
        rates = torch.tensor([group["lr"] / (1 - beta_1**taken) for group in groups])
        value.addcdiv_(mean * rates[self._layer], deviation, value=-1)
        if not bool(((value.diff() >= 0) | self._begins).all()):
            for group in groups:
                sort_representatives(self.optimizers[1], *group["params"])

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a result of `state_dict`."""
        super().load_state_dict(state)
        if self._penalty is not None:
            self._representatives.adopt(self.optimizers[1])
