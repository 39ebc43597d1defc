"""The forward transforms of all layers at once: the values that the forward pass uses in place of the weights."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from trainables.config import PenaltyForm
from trainables.fused import launching
from trainables.fused.layers import fit
from trainables.fused.layout import CHUNK, CONSTANTS, FACTOR, LEARNING_RATE, UNIT, Layout
from trainables.fused.trained import BLOCK, ROWS, FusedGrids, FusedRepresentatives
from trainables.regularizers.chunks import flat
from trainables.regularizers.protocol import LayerQuantizer
from trainables.regularizers.siblings.learned_step import LearnedStep
from trainables.regularizers.siblings.piecewise_affine import PiecewiseAffine, inverse_slope
from trainables.regularizers.siblings.soft_clusters import CONVERGED, MOST_ITERATIONS, SoftClusters


class FusedTransform(ABC):
    """Base of the transforms of all layers.

    Attributes:
        representatives: of the layers.
        trained: whether an optimizer trains them.
    """

    trained: ClassVar[bool] = False

    def __init__(
        self,
        weights: Sequence[Tensor],
        quantizers: Sequence[Any],
        learning_rates: Sequence[float] = (),
        chunk: int = CHUNK,
    ) -> None:
        """Make the transforms of layers.

        Args:
            weights: float32, dense, in any shape.
            quantizers: one for each, all of the type that this class stands for.
            learning_rates: the highest of each layer's state; empty if it is not trained.
            chunk: weights that a program handles.
        """
        self._weights = [flat(weight.detach()) for weight in weights]
        self._sizes = [len(weight) for weight in self._weights]
        constants = torch.zeros(len(weights), CONSTANTS, dtype=torch.float64)
        for row, quantizer, size in zip(constants, quantizers, self._sizes, strict=True):
            self._set_constants(row, quantizer, size)
        if learning_rates:
            constants[:, LEARNING_RATE] = torch.tensor(learning_rates, dtype=torch.float64)
        levels = [len(quantizer.representatives) for quantizer in quantizers]
        layout = Layout.build(self._sizes, levels, constants, weights[0].device, chunk)
        self._layout = layout
        self._kept = torch.empty(sum(self._sizes), device=weights[0].device)
        self._gradient = torch.empty_like(self._kept)
        self.representatives = self._make_representatives(layout, quantizers)

    def control(self, form: PenaltyForm, fraction: float) -> float:
        """Return the number that changes over the phase, which is in the place of the temperature."""
        return form.temperature_at(fraction)

    def apply(self, controls: Tensor) -> None:
        """Replace the weights by the values for the forward pass."""
        torch.cat(self._weights, out=self._kept)
        self._transform(controls)

    @property
    def is_being_captured(self) -> bool:
        """Whether launches are captured as a CUDA graph, and not executed."""
        return self._kept.device.type == "cuda" and torch.cuda.is_current_stream_capturing()

    def put_back(self) -> None:
        """Put the weights back in their place."""
        torch._foreach_copy_(self._weights, list(self._kept.split(self._sizes)))

    def chain(self, gradients: Sequence[Tensor | None], controls: Tensor) -> None:
        """Turn the gradients of what was in the place of the weights into theirs, in place.

        Args:
            gradients: of each layer; None for one that the forward pass has not used.
            controls: of the step.
        """
        own = [
            weight.new_zeros(len(weight)) if gradient is None else flat(gradient)
            for weight, gradient in zip(self._weights, gradients, strict=True)
        ]
        torch.cat(own, out=self._gradient)
        self._chain(controls)
        torch._foreach_copy_(own, list(self._gradient.split(self._sizes)))

    def step_representatives(self, controls: Tensor) -> None:
        """Train the representatives, if an optimizer does, with the gradient that `chain` has left."""
        if self.trained:
            self.representatives.step(controls, sign=1)

    def _make_representatives(self, layout: Layout, quantizers: Sequence[Any]) -> FusedRepresentatives:
        """Let the layers' states, (K,), be views of one tensor."""
        representatives = FusedRepresentatives(layout, [quantizer.state for quantizer in quantizers])
        for quantizer, state in zip(quantizers, representatives.by_layer(representatives.state[0]), strict=True):
            quantizer.state = state
        self._totals = torch.zeros_like(representatives.partial)
        return representatives

    def _set_constants(self, row: Tensor, quantizer: Any, size: int) -> None:
        """Set the constants of a layer, but for the learning rate; none by default."""
        del row, quantizer, size

    @abstractmethod
    def _transform(self, controls: Tensor) -> None:
        """Write the values for the forward pass into the network."""

    def _chain(self, controls: Tensor) -> None:
        """Change the gathered gradients of these values to those of the weights; by default they are the same."""
        del controls

    def _launch_on_weights(self, kernel: str, *arguments: Any, **constants: Any) -> None:
        """Launch a kernel with a program for each chunk of weights."""
        layout = self._layout
        launching.launch(kernel, len(layout.chunks), *arguments, CHUNK=layout.chunk, **constants)

    def _launch_on_layers(self, kernel: str, *arguments: Any, **constants: Any) -> None:
        """Launch a kernel with a program for each layer."""
        launching.launch(kernel, len(self._layout.sizes), *arguments, ROWS=ROWS, BLOCK=BLOCK, **constants)


class FusedLearnedSteps(FusedTransform):
    """`LearnedStep` of all layers."""

    trained = True

    def _make_representatives(self, layout: Layout, quantizers: Sequence[LearnedStep]) -> FusedRepresentatives:
        steps, multiples = [one.state for one in quantizers], [one.multiples for one in quantizers]
        return FusedGrids(layout, steps, multiples, by_step=True)

    def _set_constants(self, row: Tensor, quantizer: LearnedStep, size: int) -> None:
        row[FACTOR] = quantizer.step_scale(size)

    def _transform(self, controls: Tensor) -> None:
        del controls
        layout, values = self._layout, self.representatives.values
        self._launch_on_weights(
            "transform_kernels.quantize_weights", self._weights, self._kept, layout.chunks, layout.sizes, values
        )

    def _chain(self, controls: Tensor) -> None:
        del controls
        layout, grids = self._layout, self.representatives
        assert isinstance(grids, FusedGrids)
        self._launch_on_weights(
            "transform_kernels.pass_quantized",
            self._kept,
            self._gradient,
            grids.partial,
            layout.chunks,
            layout.sizes,
            layout.constants,
            grids.state,
            grids.multiples,
            grids.values,
            grids.partial.shape[1],
        )


class FusedPiecewiseAffine(FusedTransform):
    """`PiecewiseAffine` of all layers."""

    def control(self, form: PenaltyForm, fraction: float) -> float:
        """Return the inverse slope of the proximal map; see `FusedTransform.control`."""
        del form
        return inverse_slope(fraction)

    def chain(self, gradients: Sequence[Tensor | None], controls: Tensor) -> None:
        """Leave the gradients as they are; see `PiecewiseAffine.chain`."""

    def _transform(self, controls: Tensor) -> None:
        layout, own = self._layout, self.representatives
        width = own.partial.shape[1]
        sums = own.partial, self._totals
        self._launch_on_weights(
            "transform_kernels.sum_nearest", self._kept, *sums, layout.chunks, layout.sizes, own.values, width
        )
        self._launch_on_layers("transform_kernels.take_means", *sums, layout.firsts, layout.sizes, own.values, width)
        self._launch_on_weights(
            "transform_kernels.map_weights",
            self._weights,
            self._kept,
            layout.chunks,
            layout.sizes,
            own.values,
            controls,
        )


class FusedSoftClusters(FusedTransform):
    """`SoftClusters` of all layers; a layer whose centroids rest takes no part in the iterations that are left."""

    def _make_representatives(self, layout: Layout, quantizers: Sequence[SoftClusters]) -> FusedRepresentatives:
        representatives = super()._make_representatives(layout, quantizers)
        values = representatives.values
        self._centroids = torch.zeros((MOST_ITERATIONS + 1, len(values)), device=values.device)
        self._attention = torch.zeros_like(self._centroids)
        self._by_means, self._carried = torch.zeros_like(values), torch.zeros_like(values)
        self._performed = torch.zeros(len(layout.sizes), dtype=torch.int32, device=values.device)
        self._resting = torch.zeros_like(self._performed)
        return representatives

    def _set_constants(self, row: Tensor, quantizer: SoftClusters, size: int) -> None:
        del size
        row[UNIT] = quantizer.spacing

    def _transform(self, controls: Tensor) -> None:
        layout, own = self._layout, self.representatives
        levels, width = len(own.values), own.partial.shape[1]
        sums = own.partial, self._totals
        self._centroids[0].copy_(own.values)
        for iteration in range(MOST_ITERATIONS):
            self._launch_on_weights(
                "cluster_kernels.sum_attention",
                self._kept,
                *sums,
                layout.chunks,
                layout.sizes,
                layout.constants,
                controls,
                self._centroids,
                self._resting,
                iteration,
                levels,
                width,
            )
            self._launch_on_layers(
                "cluster_kernels.move_centroids",
                *sums,
                layout.firsts,
                layout.sizes,
                layout.constants,
                self._centroids,
                self._attention,
                own.values,
                self._performed,
                self._resting,
                iteration,
                CONVERGED,
                levels,
                width,
            )
        self._launch_on_weights(
            "cluster_kernels.cluster_weights",
            self._weights,
            self._kept,
            layout.chunks,
            layout.sizes,
            layout.constants,
            controls,
            self._centroids,
            self._performed,
            levels,
        )

    def _chain(self, controls: Tensor) -> None:
        self._pass(controls, MOST_ITERATIONS - 1, output=True)
        for iteration in reversed(range(MOST_ITERATIONS)):
            self._pass(controls, iteration, output=False)

    def _pass(self, controls: Tensor, iteration: int, output: bool) -> None:
        """Pass the gradient through the clustered weights, or through the means of an iteration."""
        layout, own = self._layout, self.representatives
        width = own.partial.shape[1]
        sums = own.partial, self._totals
        self._launch_on_weights(
            "cluster_kernels.pass_attention",
            self._kept,
            self._gradient,
            *sums,
            layout.chunks,
            layout.sizes,
            layout.constants,
            controls,
            self._centroids,
            self._attention,
            self._by_means,
            self._performed,
            iteration,
            len(own.values),
            width,
            OUTPUT=output,
        )
        if output or iteration > 0:
            self._launch_on_layers(
                "cluster_kernels.sum_passed",
                *sums,
                layout.firsts,
                layout.sizes,
                self._by_means,
                self._carried,
                self._performed,
                iteration,
                width,
                OUTPUT=output,
            )


FUSED_TRANSFORMS: dict[type, type[FusedTransform]] = {
    LearnedStep: FusedLearnedSteps,
    PiecewiseAffine: FusedPiecewiseAffine,
    SoftClusters: FusedSoftClusters,
}
"""Transforms that the kernels know."""


def can_fuse_transforms(quantizers: Collection[LayerQuantizer]) -> bool:
    """Return whether the kernels know the transforms of these layers, and all their levels fit."""
    kinds = {type(quantizer) for quantizer in quantizers}
    if len(kinds) != 1 or not kinds <= set(FUSED_TRANSFORMS):
        return False
    return kinds == {LearnedStep} or fit([one.representatives for one in quantizers])
