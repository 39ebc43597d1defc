"""ResNet-20 for small images (He et al., arXiv 1512.03385, Sec. 4.2), with any number of channels."""

import torch
from torch import Tensor, nn
from torch.nn.functional import relu


class Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(after)
        self.second = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(after)
        self.padding = after - before
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        inner = relu(self.first_norm(self.first(x)))
        shortcut = nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.padding))
        return relu(shortcut + self.second_norm(self.second(inner)))


class ResNet20(nn.Module):
    def __init__(self, channels: int, num_classes: int, base: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, base, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(base)
        widths = [base, 2 * base, 4 * base]
        blocks, before = [], base
        for width in widths:
            for place in range(3):
                blocks.append(Block(before, width, stride=2 if place == 0 and width > base else 1))
                before = width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(before, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        features = self.blocks(relu(self.norm(self.stem(x))))
        return self.head(torch.flatten(features.mean((2, 3)), 1))


def resnet20(image_shape: tuple[int, int, int], num_classes: int, base: int = 16) -> nn.Module:
    return ResNet20(image_shape[0], num_classes, base)
