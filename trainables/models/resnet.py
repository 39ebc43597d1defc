"""Residual networks for CIFAR-10: `resnet20` and `resnet56`.

Source: He et al., "Deep Residual Learning for Image Recognition", arXiv 1512.03385, Sec. 4.2: a convolution, three
stages of n blocks with 16, 32 and 64 channels, global average pooling and one linear layer, 6n + 2 layers in all. All
shortcuts are identities without parameters (option A); where channels grow, the new ones are 0.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from trainables.models.initialization import channels, kaiming


class Block(nn.Module):
    """Two 3×3 convolutions with batch normalization, and an identity shortcut around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        """Create the block; the first convolution has the stride."""
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self._stride, self._added = stride, outputs - inputs

    def forward(self, images: Tensor) -> Tensor:
        """Return (n, outputs, h, w) for images (n, inputs, h · stride, w · stride)."""
        residual = self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(images)))))
        shortcut = images[:, :, :: self._stride, :: self._stride]
        before = self._added // 2
        return torch.relu(residual + pad(shortcut, (0, 0, 0, 0, before, self._added - before)))


def _resnet(image_shape: tuple[int, int, int], num_classes: int, width: float, blocks: int) -> nn.Module:
    """Return a network of 6 · blocks + 2 layers."""
    inputs = channels(16, width)
    layers: list[nn.Module] = [
        nn.Conv2d(image_shape[0], inputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(inputs),
        nn.ReLU(),
    ]
    for stage, base in enumerate((16, 32, 64)):
        for place in range(blocks):
            outputs = channels(base, width)
            layers.append(Block(inputs, outputs, stride=2 if stage and not place else 1))
            inputs = outputs
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, num_classes))
    kaiming(model)
    return model


def resnet20(image_shape: tuple[int, int, int], num_classes: int, width: float) -> nn.Module:
    """Return ResNet-20, with 0.27 million parameters at width 1."""
    return _resnet(image_shape, num_classes, width, blocks=3)


def resnet56(image_shape: tuple[int, int, int], num_classes: int, width: float) -> nn.Module:
    """Return ResNet-56, with 0.85 million parameters at width 1."""
    return _resnet(image_shape, num_classes, width, blocks=9)
