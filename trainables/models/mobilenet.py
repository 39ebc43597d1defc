"""MobileNetV2 for 32×32 images."""

from torch import nn

from trainables.models.initialization import channels, kaiming

_STAGES = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, number of blocks, and stride of the first block, of each stage."""


def mobilenet_v2(image_shape: tuple[int, int, int], num_classes: int, width: float) -> nn.Module:
    """Return MobileNetV2 for 32×32 images, with 2.2 million parameters at width 1 and 10 classes.

    The first convolution and the second stage have a stride of 1 instead of 2, so that the last feature map of a 32×32
    image has 4×4 pixels. Channels scale with the width without being rounded to multiples of 8.

    Source: Sandler et al., "MobileNetV2", arXiv 1801.04381, Table 2; the blocks are torchvision's.
    """
    from torchvision.models.mobilenetv2 import InvertedResidual
    from torchvision.ops import Conv2dNormActivation

    inputs = channels(32, width)
    layers: list[nn.Module] = [Conv2dNormActivation(image_shape[0], inputs, activation_layer=nn.ReLU6)]
    for expansion, base, blocks, stride in _STAGES:
        for place in range(blocks):
            outputs = channels(base, width)
            layers.append(InvertedResidual(inputs, outputs, stride if place == 0 else 1, expansion))
            inputs = outputs
    features = channels(1280, width)
    layers.append(Conv2dNormActivation(inputs, features, kernel_size=1, activation_layer=nn.ReLU6))
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, num_classes))
    kaiming(model, "fan_out")
    return model
