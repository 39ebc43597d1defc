"""The kernels as operators of PyTorch: one launch each, which `FakeTensorMode` and CUDA graphs take as one.

An operator gets the layers' weights as tensors, and looks up where they lie in memory. Weights must not move from one
captured graph's replay to the next, as parameters do not.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op

ROWS = 64
"""Chunks whose partial sums are added at once."""

BLOCK = 64
"""Levels that a program handles at once."""


@lru_cache(maxsize=64)
def _table(addresses: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(addresses, dtype=torch.int64, device=device)


def _addresses(weights: Sequence[Tensor]) -> Tensor:
    """Return a table of where weights lie, (layers,), int64, on their device; made once for the same places."""
    return _table(tuple(weight.data_ptr() for weight in weights), weights[0].device)


@custom_op("qar::pull_weights", mutates_args=("weights", "slopes", "partial"))
def pull_weights(
    weights: Sequence[Tensor],
    slopes: Tensor,
    partial: Tensor,
    chunks: Tensor,
    sizes: Tensor,
    constants: Tensor,
    values: Tensor,
    controls: Tensor,
    family: str,
    squared: bool,
    scale: bool,
    trained: bool,
    apply: str,
    chunk: int,
) -> None:
    """Apply the penalty's gradient to all weights; see `kernels.pull_weights`."""
    from trainables.fused import kernels

    kernels.pull_weights[(len(chunks),)](
        _addresses(weights),
        slopes,
        partial,
        chunks,
        sizes,
        constants,
        values,
        controls,
        partial.shape[1],
        FAMILY=family,
        SQUARED=squared,
        SCALE=scale,
        TRAINED=trained,
        APPLY=apply,
        CHUNK=chunk,
    )


@custom_op("qar::sum_by_level", mutates_args=("partial",))
def sum_by_level(gradient: Tensor, levels: Tensor, partial: Tensor, chunks: Tensor, sizes: Tensor, chunk: int) -> None:
    """Sum gradients, (n,), by the level of their weights, chunk by chunk; see `kernels.sum_by_level`."""
    from trainables.fused import kernels

    kernels.sum_by_level[(len(chunks),)](gradient, levels, partial, chunks, sizes, partial.shape[1], CHUNK=chunk)


@custom_op("qar::train_representatives", mutates_args=("steps", "state", "moved", "gradient"))
def train_representatives(
    partial: Tensor,
    firsts: Tensor,
    sizes: Tensor,
    constants: Tensor,
    controls: Tensor,
    steps: Tensor,
    state: Tensor,
    moved: Tensor,
    gradient: Tensor,
    sign: int,
    sort: bool,
) -> None:
    """Take Adam's step with the representatives of all layers, and sort them; see `kernels.train_representatives`."""
    from trainables.fused import kernels

    kernels.train_representatives[(len(sizes),)](
        partial,
        firsts,
        sizes,
        constants,
        controls,
        steps,
        state,
        moved,
        gradient,
        state.shape[1],
        partial.shape[1],
        SIGN=sign,
        SORT=sort,
        ROWS=ROWS,
        BLOCK=BLOCK,
    )


@custom_op("qar::write_levels", mutates_args=("weights",))
def write_levels(
    weights: Sequence[Tensor], levels: Tensor, values: Tensor, chunks: Tensor, sizes: Tensor, chunk: int
) -> None:
    """Write the representative of each weight into the network; see `kernels.write_levels`."""
    from trainables.fused import kernels

    kernels.write_levels[(len(chunks),)](_addresses(weights), levels, values, chunks, sizes, CHUNK=chunk)


def _nothing(*_: Any) -> None:
    """Stand for an operator where there is no data, as in `FakeTensorMode`."""


OPERATORS = (pull_weights, sum_by_level, train_representatives, write_levels)
"""All operators; each launches one kernel."""

for _operator in OPERATORS:
    _operator.register_fake(_nothing)
