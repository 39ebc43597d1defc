"""Networks by name, and which of their parameters are quantized."""

from collections.abc import Callable

import torch
from torch import nn

from trainables.families import choose


def _small_cnn(image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Three convolutions and two linear layers: 72,000 weights for the digits, and seconds to train."""
    channels, _, _ = image_shape

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *block(channels, 32),
        *block(32, 64),
        nn.MaxPool2d(2),
        *block(64, 64),
        nn.AdaptiveMaxPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 64),
        nn.ReLU(),
        nn.Linear(64, num_classes),
    )


MODELS: dict[str, Callable[[tuple[int, int, int], int], nn.Module]] = {"small_cnn": _small_cnn}


def build_model(name: str, image_shape: tuple[int, int, int], num_classes: int, seed: int) -> nn.Module:
    """Builds a network with fresh weights.

    Args:
        name: a key of `MODELS`; ValueError if not.
        image_shape: (channels, height, width).
        num_classes: outputs of the network.
        seed: decides the weights; the global generator is left as it was.
    """
    builder = MODELS[choose("model", name, MODELS)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return builder(image_shape, num_classes)


def quantized_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that are quantized, by name: those of convolutions and linear layers, found by type."""
    return {
        f"{name}.weight": module.weight
        for name, module in model.named_modules()
        if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)) and isinstance(module.weight, nn.Parameter)
    }
