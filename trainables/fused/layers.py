"""The quantized layers of a network as one: their representatives, and what moves these and the weights."""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from trainables.fused import operators
from trainables.fused.layout import CHUNK, CONSTANTS, FAMILIES, LEARNING_RATE, MOST_LEVELS, Layout, constants_of
from trainables.regularizers.chunks import flat
from trainables.regularizers.protocol import LayerQuantizer
from trainables.shapes import Float


def can_fuse(quantizers: Collection[LayerQuantizer]) -> bool:
    """Return whether the kernels know the penalties of these layers, and all their levels fit."""
    kinds = {type(quantizer) for quantizer in quantizers}
    if len(kinds) != 1 or not kinds <= set(FAMILIES):
        return False
    # Representatives that follow from a grid's step are trained by it.
    by_themselves = all(one.state is one.representatives for one in quantizers)
    return by_themselves and fit([one.representatives for one in quantizers])


def fit(representatives: Collection[Tensor]) -> bool:
    """Return whether no layer has more levels than the kernels compare a weight with."""
    return all(len(values) <= MOST_LEVELS for values in representatives)


class FusedRepresentatives:
    """Representatives of all layers in one tensor, with what Adam needs to train them.

    Attributes:
        layout: where each layer's lie.
        state: (3, levels), float32: representatives, and Adam's first and second moments.
        gradient: (levels,), float32: of the last step.
        partial: (chunks, K), float64: sums over the weights of each chunk, by level.
        steps: (layers,), float32: steps of Adam so far.
    """

    def __init__(self, layout: Layout, representatives: Sequence[Tensor]) -> None:
        """Begin with each layer's representatives, (K,)."""
        device = layout.chunks.device
        self.layout = layout
        values = torch.cat([one.detach() for one in representatives]).to(device, torch.float32)
        self.state = torch.stack([values, torch.zeros_like(values), torch.zeros_like(values)])
        self._moved = self.state.clone()
        self.gradient = torch.zeros_like(values)
        self.steps = torch.zeros(len(layout.num_levels), device=device)
        self.partial = torch.zeros((len(layout.chunks), max(layout.num_levels)), dtype=torch.float64, device=device)

    @property
    def values(self) -> Float[Tensor, " levels"]:
        """Representatives of all layers."""
        return self.state[0]

    def adopt(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the tensors and moments of an Adam, one for each layer, be views of these, with the values they have.

        A checkpoint of the optimizer is then what it is where layers are stepped one by one.
        """
        tensors = [tensor for group in optimizer.param_groups for tensor in group["params"]]
        rows = [self.layout.by_layer(row) for row in (*self.state, self.gradient)]
        for tensor, steps, value, mean, square, gradient in zip(tensors, self.steps, *rows, strict=True):
            saved = optimizer.state.get(tensor) or {}
            value.copy_(tensor.detach())
            tensor.data, tensor.grad = value, gradient
            if saved:
                mean.copy_(saved["exp_avg"])
                square.copy_(saved["exp_avg_sq"])
                steps.copy_(saved["step"])
            optimizer.state[tensor] = {"step": steps, "exp_avg": mean, "exp_avg_sq": square}

    def step(self, controls: Tensor, sign: int, sort: bool) -> None:
        """Take Adam's step with `sign` times the sums in `partial` as gradient, and put representatives in order."""
        layout = self.layout
        operators.train_representatives(
            self.partial,
            layout.firsts,
            layout.sizes,
            layout.constants,
            controls,
            self.steps,
            self.state,
            self._moved,
            self.gradient,
            sign,
            sort,
        )


class FusedPenalty:
    """The penalties of all layers.

    Attributes:
        representatives: of the layers.
        trained: whether they are trained.
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        quantizers: Sequence[LayerQuantizer],
        half_spacings: bool,
        learning_rates: Sequence[float],
        lams: Sequence[float] | None = None,
        chunk: int = CHUNK,
    ) -> None:
        """Make the penalties of layers, for which `can_fuse` holds.

        Args:
            weights: float32, dense, in any shape.
            quantizers: one for each.
            half_spacings: whether λ counts half-spacings.
            learning_rates: the highest of each layer's representatives; empty if these are not trained.
            lams: λ of each layer; 1 by default.
            chunk: weights that a program handles.
        """
        self._weights = [flat(weight.detach()) for weight in weights]
        self._family = FAMILIES[type(quantizers[0])]
        form = quantizers[0].form  # type: ignore[attr-defined]  # all of `FAMILIES` have it, and alike
        self._squared, self._scale = form.squared, form.scale
        self.trained = quantizers[0].state.requires_grad
        sizes = [len(weight) for weight in self._weights]
        layers = zip(quantizers, sizes, lams or [1.0] * len(sizes), strict=True)
        constants = torch.tensor(
            [constants_of(one, size, half_spacings, lam) for one, size, lam in layers], dtype=torch.float64
        )
        if self.trained:
            constants[:, LEARNING_RATE] = torch.tensor(learning_rates, dtype=torch.float64)
        representatives = [one.representatives for one in quantizers]
        layout = Layout.build(sizes, [len(one) for one in representatives], constants, weights[0].device, chunk)
        self.representatives = FusedRepresentatives(layout, representatives)
        self._slopes: Tensor | None = None

    def move(self, controls: Tensor, apply: str) -> None:
        """Move the weights as the penalty draws them, by `draw` or by `shrink`; see `kernels.pull_weights`."""
        self._pull(self.representatives.gradient, controls, apply)

    def add_gradient(self, gradients: Sequence[Tensor], controls: Tensor) -> None:
        """Add λ times the penalty's gradient to those of the weights, in place."""
        if self._slopes is None:
            self._slopes = torch.empty(sum(len(one) for one in self._weights), device=gradients[0].device)
        self._pull(self._slopes, controls, "gradient")
        slopes = self._slopes.split([len(one) for one in self._weights])
        torch._foreach_add_([flat(gradient) for gradient in gradients], list(slopes))

    def _pull(self, slopes: Tensor, controls: Tensor, apply: str) -> None:
        layout = self.representatives.layout
        operators.pull_weights(
            self._weights,
            slopes,
            self.representatives.partial,
            layout.chunks,
            layout.sizes,
            layout.constants,
            self.representatives.values,
            controls,
            self._family,
            self._squared,
            self._scale,
            self.trained,
            apply,
            layout.chunk,
        )

    def step_representatives(self, controls: Tensor) -> None:
        """Train the representatives with the gradient that the last move or addition has left; keep their order."""
        if self.trained:
            self.representatives.step(controls, sign=-1, sort=True)


class FusedCodebooks:
    """The codebooks of all layers, with fixed assignments.

    Attributes:
        representatives: of the layers.
        levels: (n,), int32: the level of each weight, of all layers one after the other.
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        representatives: Sequence[Tensor],
        assignments: Sequence[Tensor],
        learning_rates: Sequence[float],
        chunk: int = CHUNK,
    ) -> None:
        """Make the codebooks of layers.

        Args:
            weights: float32, dense, in any shape.
            representatives: of each layer, (K,).
            assignments: the level of each weight, in the shape and memory format of the weights.
            learning_rates: the highest of each layer's representatives.
            chunk: weights that a program handles.
        """
        self._weights = [flat(weight.detach()) for weight in weights]
        constants = torch.zeros(len(weights), CONSTANTS, dtype=torch.float64)
        constants[:, LEARNING_RATE] = torch.tensor(learning_rates, dtype=torch.float64)
        sizes = [len(weight) for weight in self._weights]
        layout = Layout.build(sizes, [len(one) for one in representatives], constants, weights[0].device, chunk)
        self.representatives = FusedRepresentatives(layout, representatives)
        self.levels = torch.cat([flat(one) for one in assignments])
        self._gradient = torch.empty(len(self.levels), device=self.levels.device)

    def step(self, gradients: Sequence[Tensor], controls: Tensor) -> None:
        """Train the representatives with the sums of the gradients of their weights, and write these."""
        layout = self.representatives.layout
        torch.cat([flat(gradient) for gradient in gradients], out=self._gradient)
        operators.sum_by_level(
            self._gradient, self.levels, self.representatives.partial, layout.chunks, layout.sizes, layout.chunk
        )
        self.representatives.step(controls, sign=1, sort=False)
        self.write_weights()

    def write_weights(self) -> None:
        """Write the representative of each weight into the network."""
        layout = self.representatives.layout
        operators.write_levels(
            self._weights, self.levels, self.representatives.values, layout.chunks, layout.sizes, layout.chunk
        )
