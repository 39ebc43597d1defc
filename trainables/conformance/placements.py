"""Checks of a placement of representatives."""

from collections.abc import Iterator
from functools import partial

import torch

from trainables.codebooks.placement import place_representatives
from trainables.conformance.finding import Finding, require, run_checks

LEVELS = (2, 3, 16)


def check_placement_function(name: str) -> Iterator[Finding]:
    """Check a placement on layers of several shapes.

    Args:
        name: name or import path of the placement.
    """
    generator = torch.Generator().manual_seed(0)
    normal = 0.05 * torch.randn(5000, generator=generator)
    layers = {"normal weights": normal, "few weights": normal[:20], "equal weights": torch.full((50,), 0.3)}

    def placed(weights: torch.Tensor) -> str:
        before = weights.clone()
        for levels in LEVELS:
            own = torch.linspace(weights.min().item(), weights.max().item(), levels)
            values = place_representatives(name, weights, levels, own)
            require(values.shape == (levels,), f"{tuple(values.shape)} representatives for K = {levels}")
            require(bool((values[1:] >= values[:-1]).all()), f"not in increasing order for K = {levels}")
            require(torch.equal(weights, before), "it changes the weights")
            again = place_representatives(name, weights, levels, own)
            require(torch.equal(values, again), f"another result the second time, for K = {levels}")
        return f"K finite representatives for K in {list(LEVELS)}"

    return run_checks({kind: partial(placed, weights) for kind, weights in layers.items()})
