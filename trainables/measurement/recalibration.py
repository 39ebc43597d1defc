"""Statistics of batch normalization, estimated anew for quantized weights: batches of images, no training."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

BatchNorm = nn.modules.batchnorm._BatchNorm


def normalizations(model: nn.Module) -> list[BatchNorm]:
    """Return the layers of batch normalization of a network."""
    return [module for module in model.modules() if isinstance(module, BatchNorm)]


@torch.no_grad()
def recalibrate(model: nn.Module, layers: list[BatchNorm], batches: Iterable[Tensor]) -> None:
    """Replace the statistics of layers by their plain means over batches.

    Args:
        model: the network, which is left in evaluation mode except for the layers.
        layers: layers of batch normalization; without any, nothing is computed.
        batches: images, each batch of shape (n, channels, height, width).
    """
    if not layers:
        return
    model.eval()
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean over the batches
        layer.train()
    for images in batches:
        model(images)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


@contextmanager
def recalibrated(model: nn.Module, layers: list[BatchNorm], batches: Iterable[Tensor]) -> Iterator[bool]:
    """Replace the statistics as `recalibrate` does for the time of the block; yields whether there are any layers."""
    before = [{name: buffer.clone() for name, buffer in layer.named_buffers()} for layer in layers]
    recalibrate(model, layers, batches)
    try:
        yield bool(layers)
    finally:
        for layer, buffers in zip(layers, before, strict=True):
            layer.load_state_dict(buffers, strict=False)
