"""The two phases of a trial, and what each trains. No Ray.

`trainables.run` goes through the phases and calls `step` after each backward pass.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from trainables.codebooks.assignment import Codebook, assign
from trainables.codebooks.placement import place_representatives
from trainables.config import Recipe, TrialConfig
from trainables.models import decayed_weights
from trainables.regularizers.application import draw
from trainables.regularizers.chunks import flat
from trainables.regularizers.protocol import LayerQuantizer, ProximalRegularizer, Regularizer, WeightTransform
from trainables.regularizers.registry import quantizer_of
from trainables.regularizers.representatives import mean_spacing
from trainables.result import FINETUNE, REGULARIZE
from trainables.schedule import learning_rate_share, warmup_share


def _weight_optimizer(
    recipe: Recipe, decayed: list[nn.Parameter], others: list[nn.Parameter], learning_rate: float
) -> torch.optim.Optimizer:
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if recipe.optimizer == "adam":
        return torch.optim.AdamW(groups, lr=learning_rate)
    return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9, nesterov=True)


def _representative_optimizer(recipe: Recipe, trained: list[tuple[Tensor, Tensor]]) -> torch.optim.Optimizer | None:
    """Return Adam with a step for each layer in proportion to the spacing of its representatives; None without any.

    Args:
        recipe: recipe of the trial.
        trained: for each layer, the tensor that is trained, and its representatives, (K,).
    """
    groups = [
        {"params": [tensor], "lr": recipe.representative_learning_rate * mean_spacing(representatives.detach())}
        for tensor, representatives in trained
    ]
    # Gradients carry λ, which may be tiny: a small eps keeps Adam's step independent of it.
    return torch.optim.Adam(groups, eps=1e-20) if groups else None


def _group_sizes(optimizer_state: dict[str, Any]) -> list[int]:
    return [len(group["params"]) for group in optimizer_state["param_groups"]]


def _pull_share(config: TrialConfig, epochs_done: float) -> float:
    """Return the share of the strongest pull at a point of the regularize phase: its schedule times λ's warm-up."""
    share = learning_rate_share(config.recipe.schedule, epochs_done / config.regularize_epochs)
    return share * warmup_share(epochs_done, config.recipe.lam_warmup_epochs)


def _sum_of_pull_shares(config: TrialConfig, batches_per_epoch: int) -> float:
    """Return the sum of `_pull_share` over all steps of the phase; 1 if it is 0, so that one can divide by it."""
    steps = config.regularize_epochs * batches_per_epoch
    return sum(_pull_share(config, step / batches_per_epoch) for step in range(steps)) or 1.0


def _sort(optimizer: torch.optim.Optimizer, representatives: Tensor) -> None:
    """Put representatives, (K,), back in increasing order, and Adam's moments with them."""
    values = representatives.detach()
    if values.device.type == "cpu" and bool((values[1:] >= values[:-1]).all()):
        return  # as they nearly always are
    order = values.argsort(stable=True)
    representatives.data.copy_(representatives.data[order])
    for moment in optimizer.state[representatives].values():
        if moment.shape == representatives.shape:
            moment.copy_(moment[order])


def _set_learning_rates(optimizers: list[torch.optim.Optimizer], share: float) -> None:
    """Set every learning rate to a share of its highest."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
            group["lr"] = group["initial_lr"] * share


@runtime_checkable
class Phase(Protocol):
    """The interface of a phase.

    A step of training is a forward and a backward pass within `forward_weights`, then `step`.

    Attributes:
        name: `regularize` or `finetune`.
        optimizers: optimizers whose learning rates follow the recipe's schedule.
        on_device: whether a step reads all that changes from step to step from the device, so that neither its
            argument nor learning rates need to be given, and the host waits for nothing.
    """

    name: str
    on_device: bool
    optimizers: list[torch.optim.Optimizer]

    def forward_weights(self, epochs_done: float) -> AbstractContextManager[None]:
        """Let the network hold the weights that the forward pass uses, for the time of the block.

        At its end, the network has its own weights back, and `.grad` is the gradient with respect to these.

        Args:
            epochs_done: epochs of the phase that are over before this step.
        """

    def begin_epoch(self, epoch: int) -> None:
        """Prepare the steps of an epoch, counted from 0 over the phase; called before each."""

    def set_learning_rates(self, share: float) -> None:
        """Set every learning rate to a share of its highest; called before each step."""

    def step(self, epochs_done: float) -> None:
        """Update all that is trained, from the gradients that a backward pass has left in the weights' `.grad`.

        Args:
            epochs_done: epochs of the phase that are over before this step.
        """

    def codebooks(self) -> dict[str, Codebook]:
        """Return the current codebook of each quantized weight; empty for the float baseline."""

    def penalty(self) -> float | None:
        """Return the current sum of the layers' penalties, not multiplied by λ; None in a phase without one."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next step depends on, besides the network."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a result of `state_dict`."""


class RegularizePhase:
    """Trains float weights, and the states of the families that train them, on cross-entropy + λ · penalty.

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
            weights: its weights that are to be quantized, by name.
            num_levels: K of some of these weights, where it is not `config.num_levels` or, for a layer with fewer
                weights than that, their number: a checkpoint of an earlier version has K representatives there too.
            batches_per_epoch: steps of an epoch, which λ in half-spacings is divided over.
        """
        self.config = config
        self._sum_of_shares = _sum_of_pull_shares(config, batches_per_epoch)
        self.weights = weights
        self._num_levels = {}
        if config.num_levels is not None:
            self._num_levels = {name: min(config.num_levels, weight.numel()) for name, weight in weights.items()}
            self._num_levels |= num_levels or {}
        self.quantizers: dict[str, LayerQuantizer] = {}
        make = quantizer_of(config.family)
        if config.num_levels is not None and make is not None:
            self.quantizers = {
                name: make(flat(weight.detach()), self._num_levels[name], config.penalty)
                for name, weight in weights.items()
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
        if optimizer := _representative_optimizer(config.recipe, trained):
            self.optimizers.append(optimizer)

    def _optimizer_with_decay(self, weights: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer of all parameters, with weight decay on `weights`, as `Recipe.decay_quantized` says."""
        recipe = self.config.recipe
        spared = self.config.num_levels is not None and not recipe.decay_quantized
        quantized = {id(weight) for weight in self.weights.values()} if spared else set()
        decayed = [weight for weight in weights if id(weight) not in quantized]
        chosen = {id(weight) for weight in decayed}
        others = [parameter for parameter in self._parameters if id(parameter) not in chosen]
        return _weight_optimizer(recipe, decayed, others, recipe.learning_rate)

    def forward_weights(self, epochs_done: float) -> AbstractContextManager[None]:
        """Transform the weights for the time of the block; see `Phase.forward_weights`."""
        return self._transformed(epochs_done)

    @contextmanager
    def _transformed(self, epochs_done: float) -> Iterator[None]:
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
        for name, weight in before.items():
            grad = self.weights[name].grad
            if grad is not None:  # without a backward pass, as where the loss is not finite, there is nothing to chain
                self.transforms[name].chain(weight, flat(grad))

    def _progress(self, epochs_done: float) -> None:
        """Tell the quantizers how much of the phase is over."""
        for quantizer in self.quantizers.values():
            quantizer.progress(epochs_done / self.config.regularize_epochs)

    def begin_epoch(self, epoch: int) -> None:
        """Do nothing: a step is told how much of the phase is over."""

    def set_learning_rates(self, share: float) -> None:
        """Set every learning rate to a share of its highest."""
        _set_learning_rates(self.optimizers, share)

    def step(self, epochs_done: float) -> None:
        """Update all that is trained; see `Phase.step`."""
        self._progress(epochs_done)
        weight_optimizer, *representative_optimizers = self.optimizers
        if self.config.recipe.penalty_application == "coupled":
            strength = self.amount(epochs_done, 0.0)
            for regularizer, weight, grad in self._layers():
                regularizer.add_gradient(weight, grad, strength)
            weight_optimizer.step()
        else:
            weight_optimizer.step()
            self._draw(epochs_done)
        for optimizer in representative_optimizers:
            optimizer.step()
            for group in optimizer.param_groups:
                _sort(optimizer, *group["params"])
            optimizer.zero_grad(set_to_none=False)

    def amount(self, epochs_done: float, learning_rate: float) -> float:
        """Return λ as it counts in one step.

        Returns:
            The factor of the penalty's gradient (coupled), or how far a weight is drawn at slope 1: in units of the
            weights, or in half-spacings at the steepest slope, as `Recipe.lam_unit` says.
        """
        recipe = self.config.recipe
        if recipe.lam_unit == "half_spacings":
            return self.config.lam * _pull_share(self.config, epochs_done) / self._sum_of_shares
        warmed = self.config.lam * warmup_share(epochs_done, recipe.lam_warmup_epochs)
        return warmed if recipe.penalty_application == "coupled" else warmed * learning_rate

    def _layers(self) -> Iterator[tuple[Regularizer, Tensor, Tensor]]:
        """Yield each regularizer with its layer's weights and their gradient, both flat views, (n,)."""
        for name, regularizer in self.regularizers.items():
            weight = self.weights[name]
            assert weight.grad is not None
            yield regularizer, flat(weight.detach()), flat(weight.grad)

    def _draw(self, epochs_done: float) -> None:
        """Draw the weights to their representatives. Their gradients, used by then, serve as scratch memory."""
        recipe = self.config.recipe
        amount = self.amount(epochs_done, self.optimizers[0].param_groups[0]["lr"])
        proximal = recipe.penalty_application == "proximal"
        for regularizer, weight, scratch in self._layers():
            distance = amount
            if recipe.lam_unit == "half_spacings":
                distance = amount * regularizer.half_spacing / regularizer.steepest
            if proximal:
                assert isinstance(regularizer, ProximalRegularizer)
                regularizer.shrink(weight, scratch, distance)
            else:
                draw(regularizer, weight, scratch, distance)

    def codebooks(self) -> dict[str, Codebook]:
        """Return the current codebooks; see `Phase.codebooks`."""
        if self.config.num_levels is None:
            return {}
        result = {}
        for name, weight in self.weights.items():
            quantizer = self.quantizers.get(name)
            own = None if quantizer is None else quantizer.representatives.detach()
            representatives = place_representatives(
                self.config.placement, flat(weight.detach()), self._num_levels[name], own
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
        if _group_sizes(state["optimizers"][0]) != _group_sizes(self.optimizers[0].state_dict()):
            # Earlier versions decayed every parameter of two and more axes: such a trial goes on as it began.
            self.optimizers[0] = self._optimizer_with_decay([p for p in self._parameters if p.ndim > 1])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)


class FinetunePhase:
    """Trains representatives with fixed assignments, and the parameters that are not quantized.

    The gradient of a representative is the sum of those of the weights assigned to it.

    Source: Han, Mao, Dally, "Deep Compression", arXiv 1510.00149, Sec. 3 (trained quantization).
    """

    name = FINETUNE
    on_device = False

    def __init__(
        self,
        config: TrialConfig,
        model: nn.Module,
        weights: dict[str, nn.Parameter],
        codebooks: dict[str, Codebook],
    ) -> None:
        """Begin the phase from `codebooks`, by name of the quantized weight; write their values into the network."""
        self.config = config
        self.weights = {name: weights[name] for name in codebooks}
        self.representatives = {
            name: values.detach().clone().requires_grad_() for name, (values, _) in codebooks.items()
        }
        # In the memory layout of the weights, so that flat views of both go together.
        self.assignments = {
            name: torch.empty_like(weights[name], dtype=torch.int32).copy_(levels)
            for name, (_, levels) in codebooks.items()
        }
        quantized = {id(weight) for weight in self.weights.values()}
        free = [parameter for parameter in model.parameters() if id(parameter) not in quantized]
        self.highest_learning_rate = config.recipe.finetune_learning_rate or config.recipe.learning_rate
        self.optimizers = [_weight_optimizer(config.recipe, [], free, self.highest_learning_rate)]
        trained = [(values, values) for values in self.representatives.values()]
        if optimizer := _representative_optimizer(config.recipe, trained):
            self.optimizers.append(optimizer)
        self._write_weights()

    def _write_weights(self) -> None:
        for name, weight in self.weights.items():
            values = self.representatives[name].detach()
            torch.index_select(values, 0, flat(self.assignments[name]), out=flat(weight.detach()))

    def forward_weights(self, epochs_done: float) -> AbstractContextManager[None]:
        """Do nothing: the network holds quantized weights."""
        return nullcontext()

    def begin_epoch(self, epoch: int) -> None:
        """Do nothing: a step is told how much of the phase is over."""

    def set_learning_rates(self, share: float) -> None:
        """Set every learning rate to a share of its highest."""
        _set_learning_rates(self.optimizers, share)

    def step(self, epochs_done: float) -> None:
        """Update all that is trained; see `Phase.step`."""
        for name, weight in self.weights.items():
            values = self.representatives[name]
            assert weight.grad is not None
            values.grad = torch.zeros_like(values).index_add_(0, flat(self.assignments[name]), flat(weight.grad))
        for optimizer in self.optimizers:
            optimizer.step()
        self._write_weights()

    def codebooks(self) -> dict[str, Codebook]:
        """Return the current codebooks; see `Phase.codebooks`."""
        return {name: (values.detach(), self.assignments[name]) for name, values in self.representatives.items()}

    def penalty(self) -> None:
        """Do nothing: this phase has no penalty."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next step depends on; see `Phase.state_dict`."""
        return {
            "representatives": self.representatives,
            "assignments": self.assignments,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a result of `state_dict`."""
        for name, values in self.representatives.items():
            values.data.copy_(state["representatives"][name])
            self.assignments[name].copy_(state["assignments"][name])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self._write_weights()
