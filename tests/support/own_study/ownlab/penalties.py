"""A penalty of ten lines, and one whose gradient is wrong."""

import torch
from torch import Tensor

from trainables.regularizers import family


@family(formula="min_k |w − r_k|^1.5", source="a first try", trained=True)
def pull(weights: Tensor, representatives: Tensor) -> Tensor:
    distances = (weights[:, None] - representatives).abs()
    return distances.amin(1).clamp(min=1e-6) ** 1.5


class TwiceTheGradient(torch.autograd.Function):
    @staticmethod
    def forward(context, distances: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        context.save_for_backward(distances)
        return distances.square()

    @staticmethod
    def backward(context, gradient: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        (distances,) = context.saved_tensors
        return 4 * distances * gradient


@family(formula="min_k (w − r_k)²", source="a mistake", trained=False)
def wrong(weights: Tensor, representatives: Tensor) -> Tensor:
    nearest = (weights[:, None] - representatives).abs().argmin(1)
    return TwiceTheGradient.apply(weights - representatives[nearest])
