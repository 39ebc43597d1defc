"""The regularize phase: float weights are trained, with a penalty or a weight transform."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from trainables.codebooks.assignment import Codebook, assign
from trainables.codebooks.placement import place_representatives
from trainables.config import TrialConfig
from trainables.groups import layer_settings
from trainables.models import decayed_weights
from trainables.phases.optimizers import (
    group_sizes,
    representative_optimizer,
    set_learning_rates,
    sort_representatives,
    weight_optimizer,
)
from trainables.phases.schedule import pull_share, sum_of_pull_shares, warmup_share
from trainables.regularizers.application import draw
from trainables.regularizers.chunks import flat
from trainables.regularizers.protocol import LayerQuantizer, ProximalRegularizer, Regularizer, WeightTransform
from trainables.regularizers.registry import quantizer_of
from trainables.result import REGULARIZE


class RegularizePhase:
    """Trains float weights, and the quantizers' trainable states, on cross-entropy + λ · penalty.

    Attributes:
        quantizers: of the layers, by name of the weight; empty for a family without representatives.
        regularizers: those of them that have a penalty.
        transforms: those of them that transform the weights for the forward pass.
    """

    name = REGULARIZE
    on_device = False

    def __init__(
        self,
        config: TrialConfig,
        model: nn.Module,
        weights: dict[str, nn.Parameter],
        num_levels: Mapping[str, int] | None = None,
        batches_per_epoch: int = 1,
    ) -> None:
        """Begin the phase: make the regularizers of the weights to quantize, and the optimizers.

        Args:
            config: of the trial.
            model: the network.
            weights: its weights that can be quantized, by name; those of groups left in float are trained as all else.
            num_levels: K of some of these weights, where it is not that of `layer_settings`: a checkpoint of an earlier
                version has K representatives for a layer with fewer weights too.
            batches_per_epoch: steps of an epoch, which λ in half-spacings is divided over.
        """
        self.config = config
        self._sum_of_shares = sum_of_pull_shares(config, batches_per_epoch)
        settings = layer_settings(config, model, weights)
        self.weights = {name: weights[name] for name in settings}
        self._lams = {name: one.lam for name, one in settings.items()}
        self._placements = {name: one.placement for name, one in settings.items()}
        self._num_levels = {name: one.num_levels for name, one in settings.items()} | dict(num_levels or {})
        self.quantizers: dict[str, LayerQuantizer] = {}
        if make := quantizer_of(config.family):
            self.quantizers = {
                name: make(flat(weight.detach()), self._num_levels[name], config.penalty)
                for name, weight in self.weights.items()
            }
        self.regularizers = {name: one for name, one in self.quantizers.items() if isinstance(one, Regularizer)}
        self.transforms = {name: one for name, one in self.quantizers.items() if isinstance(one, WeightTransform)}
        trained = [
            (quantizer.state, quantizer.representatives)
            for quantizer in self.quantizers.values()
            if quantizer.state.requires_grad
        ]
        self._parameters = list(model.parameters())
        self.optimizers = [self._optimizer_with_decay(list(decayed_weights(model).values()))]
        if optimizer := representative_optimizer(config.recipe, trained):
            self.optimizers.append(optimizer)

    def _optimizer_with_decay(self, weights: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer of all parameters, with weight decay on `weights`, as `Recipe.decay_quantized` says."""
        recipe = self.config.recipe
        spared = self.config.num_levels is not None and not recipe.decay_quantized
        quantized = {id(weight) for weight in self.weights.values()} if spared else set()
        decayed = [weight for weight in weights if id(weight) not in quantized]
        chosen = {id(weight) for weight in decayed}
        others = [parameter for parameter in self._parameters if id(parameter) not in chosen]
        return weight_optimizer(recipe, decayed, others, recipe.learning_rate)

    def forward_weights(self, epochs_done: float) -> AbstractContextManager[None]:
        """Transform the weights for the time of the block; see `Phase.forward_weights`."""
        return self._transformed(epochs_done)

    @contextmanager
    def _transformed(self, epochs_done: float) -> Iterator[None]:
        if self.transforms:
            self._progress(epochs_done)
        before = {}
        for name, transform in self.transforms.items():
            weight = flat(self.weights[name].detach())
            before[name] = weight.clone()
            weight.copy_(transform.transform(before[name]))
        try:
            yield
        finally:
            for name, weight in before.items():
                flat(self.weights[name].detach()).copy_(weight)
        gradients = self._own_gradients() if before else {}
        for name, weight in before.items():
            grad = gradients[name]
            if grad is not None:  # without a backward pass, as where the loss is not finite, there is nothing to chain
                self.transforms[name].chain(weight, flat(grad))

    def _own_gradients(self) -> dict[str, Tensor | None]:
        """Return the gradients of the weights to quantize, which may be changed in place.

        PyTorch leaves gradients of several parameters on the same memory where a network adds views of them up. Then
        each gets a copy of its own.
        """
        gradients = (parameter.grad for parameter in self._parameters)
        owners = Counter(_memory(gradient) for gradient in gradients if gradient is not None)
        for weight in self.weights.values():
            if weight.grad is not None and owners[_memory(weight.grad)] > 1:
                weight.grad = weight.grad.clone()
        return {name: weight.grad for name, weight in self.weights.items()}

    def _progress(self, epochs_done: float) -> None:
        """Tell the quantizers how much of the phase is over."""
        for quantizer in self.quantizers.values():
            quantizer.progress(epochs_done / self.config.regularize_epochs)

    def begin_epoch(self, epoch: int) -> None:
        """Do nothing: a step is told how much of the phase is over."""

    def set_learning_rates(self, share: float) -> None:
        """Set every learning rate to a share of its highest."""
        set_learning_rates(self.optimizers, share)

    def step(self, epochs_done: float) -> None:
        """Update all that is trained; see `Phase.step`."""
        self._progress(epochs_done)
        weight_optimizer, *representative_optimizers = self.optimizers
        if self.config.recipe.penalty_application == "coupled":
            self._own_gradients()
            for lam, regularizer, weight, grad in self._layers():
                regularizer.add_gradient(weight, grad, self.amount(lam, epochs_done, 0.0))
            weight_optimizer.step()
        else:
            weight_optimizer.step()
            self._draw(epochs_done)
        for optimizer in representative_optimizers:
            optimizer.step()
            for group in optimizer.param_groups:
                sort_representatives(optimizer, *group["params"])
            optimizer.zero_grad(set_to_none=False)

    def amount(self, lam: float, epochs_done: float, learning_rate: float) -> float:
        """Return the strength of a layer's penalty in one step, from the layer's λ.

        Returns:
            With `coupled`, the factor of the penalty's gradient. Otherwise the length of the penalty's step: at slope 1
            and in units of the weights (`lam_unit: gradient`), or at the steepest slope and in half-spacings.
        """
        recipe = self.config.recipe
        if recipe.lam_unit == "half_spacings":
            return lam * pull_share(self.config, epochs_done) / self._sum_of_shares
        warmed = lam * warmup_share(epochs_done, recipe.lam_warmup_epochs)
        return warmed if recipe.penalty_application == "coupled" else warmed * learning_rate

    def distance(self, amount: float, regularizer: Regularizer) -> float:
        """Return how far a weight at slope 1 is drawn, in units of the weights, from a result of `amount`."""
        if self.config.recipe.lam_unit == "half_spacings":
            return amount * regularizer.half_spacing / regularizer.steepest
        return amount

    def _layers(self) -> Iterator[tuple[float, Regularizer, Tensor, Tensor]]:
        """Yield each layer's λ and regularizer, with its weights and their gradient, both flat views, (n,)."""
        for name, regularizer in self.regularizers.items():
            weight = self.weights[name]
            assert weight.grad is not None
            yield self._lams[name], regularizer, flat(weight.detach()), flat(weight.grad)

    def _draw(self, epochs_done: float) -> None:
        """Take the decoupled or proximal step of the penalty.

        The gradients are no longer needed and serve as scratch memory.
        """
        recipe = self.config.recipe
        learning_rate = self.optimizers[0].param_groups[0]["lr"]
        proximal = recipe.penalty_application == "proximal"
        for lam, regularizer, weight, scratch in self._layers():
            distance = self.distance(self.amount(lam, epochs_done, learning_rate), regularizer)
            if proximal:
                assert isinstance(regularizer, ProximalRegularizer)
                regularizer.shrink(weight, scratch, distance)
            else:
                draw(regularizer, weight, scratch, distance)

    def codebooks(self) -> dict[str, Codebook]:
        """Return the current codebooks; see `Phase.codebooks`."""
        result = {}
        for name, weight in self.weights.items():
            quantizer = self.quantizers.get(name)
            own = None if quantizer is None else quantizer.representatives.detach()
            representatives = place_representatives(
                self._placements[name], flat(weight.detach()), self._num_levels[name], own
            )
            result[name] = representatives, assign(weight.detach(), representatives)
        return result

    def penalty(self) -> float:
        """Return the sum of the layers' penalties; see `Phase.penalty`."""
        return sum(
            regularizer.value(flat(self.weights[name].detach())) for name, regularizer in self.regularizers.items()
        )

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next step depends on; see `Phase.state_dict`."""
        return {
            "representatives": {name: quantizer.state for name, quantizer in self.quantizers.items()},
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a result of `state_dict`."""
        for name, quantizer in self.quantizers.items():
            quantizer.state.data.copy_(state["representatives"][name])
        if group_sizes(state["optimizers"][0]) != group_sizes(self.optimizers[0].state_dict()):
            # Earlier versions decayed every parameter of two and more axes: such a trial goes on as it began.
            self.optimizers[0] = self._optimizer_with_decay([p for p in self._parameters if p.ndim > 1])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)


def _memory(tensor: Tensor) -> int:
    """Return what identifies the memory of a tensor, also of one without data."""
    return tensor.untyped_storage()._cdata
