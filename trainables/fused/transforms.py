"""The forward transforms of all layers at once: the values that the forward pass uses in place of the weights."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from trainables.config import PenaltyForm
from trainables.fused import launching
from trainables.fused.layers import flat_gradients, levels_fit
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
        trained: whether `chain` trains them, by Adam.
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
            learning_rates: peak learning rate of each layer's state; empty if it is not trained.
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
        self.representatives = self._make_representatives(layout, quantizers)

    def control(self, form: PenaltyForm, fraction: float) -> float:
        """Return the control `TEMPERATURE` after a fraction of the phase: by default the temperature."""
        return form.temperature_at(fraction)

    @abstractmethod
    def apply(self, controls: Tensor) -> None:
        """Keep the weights aside, and write the values for the forward pass in their place."""

    @property
    def is_being_captured(self) -> bool:
        """Whether launches are captured as a CUDA graph, and not executed."""
        return self._kept.device.type == "cuda" and torch.cuda.is_current_stream_capturing()

    def put_back(self) -> None:
        """Put the weights back in their place."""
        torch._foreach_copy_(self._weights, list(self._kept.split(self._sizes)))

    def chain(self, gradients: Sequence[Tensor | None], controls: Tensor) -> None:
        """Put the weights back, and convert the gradients of the transformed weights to theirs, in place.

        The base class leaves the gradients unchanged.

        Args:
            gradients: of each layer; None for one that the forward pass has not used.
            controls: of the step.
        """
        del gradients, controls
        self.put_back()

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

    def _launch(self, kernel: str, *arguments: Any, **constants: Any) -> None:
        """Launch a kernel with a program for each chunk of weights."""
        layout = self._layout
        launching.launch(kernel, len(layout.chunks), *arguments, CHUNK=layout.chunk, **constants)


class FusedLearnedSteps(FusedTransform):
    """`LearnedStep` of all layers."""

    trained = True

    def _make_representatives(self, layout: Layout, quantizers: Sequence[LearnedStep]) -> FusedRepresentatives:
        steps, multiples = [one.state for one in quantizers], [one.multiples for one in quantizers]
        return FusedGrids(layout, steps, multiples, columns=1)

    def _set_constants(self, row: Tensor, quantizer: LearnedStep, size: int) -> None:
        row[FACTOR] = quantizer.step_scale(size)

    def apply(self, controls: Tensor) -> None:
        """Write the representative nearest to each weight in its place; see `FusedTransform.apply`."""
        del controls
        layout, values = self._layout, self.representatives.values
        kernel = "transform_kernels.quantize_weights"
        self._launch(kernel, self._weights, self._kept, layout.tables, values, DIGITS=layout.digits)

    def chain(self, gradients: Sequence[Tensor | None], controls: Tensor) -> None:
        """Stop the gradients of weights beyond their grid, and train the steps; see `FusedTransform.chain`."""
        layout, grids = self._layout, self.representatives
        self._launch(
            "transform_kernels.pass_quantized",
            self._weights,
            flat_gradients(self._weights, gradients),
            self._kept,
            grids.partial,
            layout.tables,
            controls,
            grids.training,
            grids.state.shape[1],
            grids.partial.shape[1],
            DIGITS=layout.digits,
            ROWS=ROWS,
            BLOCK=BLOCK,
        )


class FusedPiecewiseAffine(FusedTransform):
    """`PiecewiseAffine` of all layers."""

    def control(self, form: PenaltyForm, fraction: float) -> float:
        """Return the inverse slope of the proximal map; see `FusedTransform.control`."""
        del form
        return inverse_slope(fraction)

    def apply(self, controls: Tensor) -> None:
        """Move the representatives, and write the proximal map of each weight; see `FusedTransform.apply`."""
        layout, own = self._layout, self.representatives
        self._launch(
            "transform_kernels.take_means",
            self._weights,
            self._kept,
            own.partial,
            self._totals,
            layout.tables,
            own.values,
            own.arrived,
            own.partial.shape[1],
            DIGITS=layout.digits,
            ROWS=ROWS,
            BLOCK=BLOCK,
        )
        self._launch(
            "transform_kernels.map_weights",
            self._weights,
            self._kept,
            layout.tables,
            own.values,
            controls,
            DIGITS=layout.digits,
        )


class FusedSoftClusters(FusedTransform):
    """`SoftClusters` of all layers; those that have converged take no part in the iterations that are left."""

    def _make_representatives(self, layout: Layout, quantizers: Sequence[SoftClusters]) -> FusedRepresentatives:
        representatives = super()._make_representatives(layout, quantizers)
        values = representatives.values
        self._centroids = torch.zeros((MOST_ITERATIONS + 1, len(values)), device=values.device)
        self._attention = torch.zeros_like(self._centroids)
        self._by_means, self._carried = torch.zeros_like(values), torch.zeros_like(values)
        self._gradient = torch.empty_like(self._kept)
        self._performed = torch.zeros(len(layout.sizes), dtype=torch.int32, device=values.device)
        self._converged = torch.zeros_like(self._performed)
        return representatives

    def _set_constants(self, row: Tensor, quantizer: SoftClusters, size: int) -> None:
        del size
        row[UNIT] = quantizer.spacing

    def apply(self, controls: Tensor) -> None:
        """Move the centroids, and write the soft-clustered weights; see `FusedTransform.apply`."""
        layout, own = self._layout, self.representatives
        levels = len(own.values)
        for iteration in range(MOST_ITERATIONS):
            self._launch(
                "cluster_kernels.move_centroids",
                self._weights,
                self._kept,
                own.partial,
                self._totals,
                layout.tables,
                controls,
                self._centroids,
                self._attention,
                own.values,
                self._performed,
                self._converged,
                own.arrived,
                iteration,
                CONVERGED,
                levels,
                own.partial.shape[1],
                KEEP=iteration == 0,
                ROWS=ROWS,
                BLOCK=BLOCK,
            )
        self._launch(
            "cluster_kernels.cluster_weights",
            self._weights,
            self._kept,
            layout.tables,
            controls,
            self._centroids,
            self._performed,
            levels,
        )

    def chain(self, gradients: Sequence[Tensor | None], controls: Tensor) -> None:
        """Pass the gradients through the clustered weights and all iterations; see `FusedTransform.chain`."""
        layout, own, changed = self._layout, self.representatives, flat_gradients(self._weights, gradients)
        later = [("middle", iteration) for iteration in reversed(range(1, MOST_ITERATIONS))]
        for stage, iteration in (("output", 0), *later, ("first", 0)):
            self._launch(
                "cluster_kernels.pass_attention",
                self._weights,
                changed,
                self._kept,
                self._gradient,
                own.partial,
                self._totals,
                layout.tables,
                controls,
                self._centroids,
                self._attention,
                self._by_means,
                self._carried,
                self._performed,
                own.arrived,
                iteration,
                len(own.values),
                own.partial.shape[1],
                STAGE=stage,
                ROWS=ROWS,
                BLOCK=BLOCK,
            )


FUSED_TRANSFORMS: dict[type, type[FusedTransform]] = {
    LearnedStep: FusedLearnedSteps,
    PiecewiseAffine: FusedPiecewiseAffine,
    SoftClusters: FusedSoftClusters,
}
"""Transforms that the kernels know."""


def can_fuse_transforms(quantizers: Collection[LayerQuantizer]) -> bool:
    """Return whether the kernels know the transforms of these layers, whose levels must fit but for LSQ."""
    kinds = {type(quantizer) for quantizer in quantizers}
    if len(kinds) != 1 or not kinds <= set(FUSED_TRANSFORMS):
        return False
    return kinds == {LearnedStep} or levels_fit([one.representatives for one in quantizers])
