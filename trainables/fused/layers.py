"""The quantized layers of a network as one: what moves their weights and representatives."""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from trainables.fused import launching
from trainables.fused.layout import (
    CHUNK,
    CONSTANTS,
    COUNTED,
    FAMILIES,
    LEARNING_RATE,
    MOST_LEVELS,
    Layout,
    constants_of,
)
from trainables.fused.trained import BLOCK, FusedGrids, FusedRepresentatives
from trainables.regularizers.chunks import flat
from trainables.regularizers.protocol import LayerQuantizer

MOST_DIGITS_IN_REGISTERS = 6
"""Binary digits of a level up to which each thread keeps a sum for each level."""

WARPS_OF_PIECE = 4
SUMS = 2048
"""Sums by level and chunk that are added at once."""


def can_fuse(quantizers: Collection[LayerQuantizer]) -> bool:
    """Return whether the kernels know the penalties of these layers, and all their levels fit."""
    kinds = {type(quantizer) for quantizer in quantizers}
    if len(kinds) != 1 or not kinds <= set(FAMILIES):
        return False
    return levels_fit([one.representatives for one in quantizers if one.state.requires_grad])


def are_float32(weights: Collection[Tensor]) -> bool:
    """Return whether the kernels can read weights, which they take for float32 numbers."""
    return all(weight.dtype == torch.float32 for weight in weights)


def levels_fit(representatives: Collection[Tensor]) -> bool:
    """Return whether no layer has more than `MOST_LEVELS` representatives."""
    return all(len(values) <= MOST_LEVELS for values in representatives)


def flat_gradients(weights: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
    """Return the gradients of each layer's weights, (n,), for a kernel; zeros where the network hasn't used them."""
    return tuple(
        torch.zeros_like(weight) if gradient is None else flat(gradient)
        for weight, gradient in zip(weights, gradients, strict=True)
    )


def sizes_at_once(layout: Layout, weights_of_thread: int = 1) -> dict[str, int]:
    """Return how many weights and levels a kernel handles at once, and by how many warps.

    With few levels, a thread has few weights at a time, and a sum for each level in its registers: a program has few
    threads, and a processor many programs, which hide each other's waits.

    Args:
        layout: of the layers.
        weights_of_thread: weights that a thread has at a time, if they are few.
    """
    block = min(1 << layout.digits, BLOCK)
    sizes = {"DIGITS": layout.digits, "BLOCK": block, "ROWS": SUMS // block, "CHUNK": layout.chunk}
    if layout.digits > MOST_DIGITS_IN_REGISTERS:
        return sizes | {"PIECE": layout.chunk}
    piece = 32 * WARPS_OF_PIECE * weights_of_thread
    return sizes | {"PIECE": min(piece, layout.chunk), "num_warps": WARPS_OF_PIECE}


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
            learning_rates: peak learning rate of each layer's representatives; empty if these are not trained.
            lams: λ of each layer; 1 by default.
            chunk: weights that a program handles.
        """
        self._weights = [flat(weight.detach()) for weight in weights]
        self._family = FAMILIES[type(quantizers[0])]
        form = quantizers[0].form  # type: ignore[attr-defined]  # all of `FAMILIES` have it, and alike
        self._squared, self._scale = form.squared, form.scale
        self._slopes_are_signs = self._family in ("nearest", "cheapest") and not form.squared
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
        multiples = [one for one in (getattr(one, "multiples", None) for one in quantizers) if one is not None]
        self.representatives: FusedRepresentatives
        if multiples:
            self._train = "grid"
            self.representatives = FusedGrids(layout, [one.state for one in quantizers], multiples)
        else:
            self._train = "sorted levels" if self.trained else "nothing"
            self.representatives = FusedRepresentatives(layout, representatives, self.trained)
        self._slopes: Tensor | None = None

    @property
    def proximal_step(self) -> str:
        """Value of APPLY for the proximal step: "shrink" for squared distances, otherwise "draw".

        With slopes of 1 and −1, "draw" is exact, since each weight stops at its representative.
        """
        return "shrink" if self._squared or self._family == "bins" else "draw"

    def move(self, controls: Tensor, apply: str) -> None:
        """Move the weights as the penalty draws them, by `draw` or by `shrink`, and train the representatives.

        See `kernels.pull_weights`.
        """
        # Only "gradient" writes slopes: any tensor fills their place here.
        self._pull(self.representatives.gradient, controls, apply)

    def add_gradient(self, gradients: Sequence[Tensor], controls: Tensor) -> None:
        """Add λ times the penalty's gradient to those of the weights, in place, and train the representatives."""
        if self._slopes is None:
            self._slopes = torch.empty(sum(len(one) for one in self._weights), device=gradients[0].device)
        self._pull(self._slopes, controls, "gradient")
        slopes = self._slopes.split([len(one) for one in self._weights])
        torch._foreach_add_([flat(gradient) for gradient in gradients], list(slopes))

    def _pull(self, slopes: Tensor, controls: Tensor, apply: str) -> None:
        own = self.representatives
        layout = own.layout
        programs = len(layout.chunks)
        if self._family in COUNTED:
            launching.launch(
                "kernels.count_levels",
                programs,
                self._weights,
                own.counts,
                own.starts,
                own.costs,
                own.arrived,
                layout.tables,
                own.values,
                FAMILY=self._family,
                SQUARED=self._squared,
                DIGITS=layout.digits,
                CHUNK=layout.chunk,
            )
        launching.launch(
            "kernels.pull_weights",
            programs,
            self._weights,
            slopes,
            own.partial,
            own.counts,
            own.starts,
            layout.tables,
            own.values,
            controls,
            own.training,
            own.state.shape[1],
            own.partial.shape[1],
            FAMILY=self._family,
            SQUARED=self._squared,
            SCALE=self._scale,
            APPLY=apply,
            TRAIN=self._train,
            SIGNS=self._slopes_are_signs,
            **sizes_at_once(layout, 1 if self.trained else 4),
        )


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
            learning_rates: peak learning rate of each layer's representatives.
            chunk: weights that a program handles.
        """
        self._weights = [flat(weight.detach()) for weight in weights]
        constants = torch.zeros(len(weights), CONSTANTS, dtype=torch.float64)
        constants[:, LEARNING_RATE] = torch.tensor(learning_rates, dtype=torch.float64)
        sizes = [len(weight) for weight in self._weights]
        layout = Layout.build(sizes, [len(one) for one in representatives], constants, weights[0].device, chunk)
        self.representatives = FusedRepresentatives(layout, representatives)
        self.levels = torch.cat([flat(one) for one in assignments])

    def step(self, gradients: Sequence[Tensor | None], controls: Tensor) -> None:
        """Train the representatives with the sums of the gradients of their weights, and write these."""
        own = self.representatives
        layout = own.layout
        launching.launch(
            "kernels.train_codebooks",
            len(layout.chunks),
            flat_gradients(self._weights, gradients),
            self.levels,
            own.partial,
            layout.tables,
            controls,
            own.training,
            own.state.shape[1],
            own.partial.shape[1],
            **sizes_at_once(layout),
        )
        self.write_weights()

    def write_weights(self) -> None:
        """Write the representative of each weight into the network."""
        layout = self.representatives.layout
        launching.launch(
            "kernels.write_levels",
            len(layout.chunks),
            self._weights,
            self.levels,
            self.representatives.values,
            layout.tables,
            CHUNK=layout.chunk,
        )
