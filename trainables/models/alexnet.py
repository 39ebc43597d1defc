"""AlexNet for 32×32 images, as published and with batch normalization.

Source: Krizhevsky, "One weird trick for parallelizing convolutional neural networks", arXiv 1404.5997, whose channels
torchvision has. The first convolution has a stride of 1 and a kernel of 3, pooling is by 2, and the linear layers have
1,024 units.
"""

from torch import nn

from trainables.choices import choose
from trainables.models.initialization import channels, kaiming

_LAYOUT = ((64, 3, True), (192, 5, True), (384, 3, False), (256, 3, False), (256, 3, True))
"""Channels, kernel size, and whether pooling follows, of each convolution."""

INITIALIZATIONS = ("pytorch", "kaiming")


def alexnet(
    image_shape: tuple[int, int, int],
    num_classes: int,
    width: float,
    *,
    dropout: float = 0.5,
    initialization: str = "pytorch",
) -> nn.Module:
    """Return AlexNet, with 4.6 million parameters at width 1.

    Args:
        image_shape: (channels, height, width).
        num_classes: number of outputs.
        width: multiplies the channels of every layer.
        dropout: probability with which an input of the first two linear layers is dropped; 0 leaves dropout out.
        initialization: `pytorch`, which is too small for a network this deep without normalization, or `kaiming`.

    Raises:
        ValueError: an option is invalid.
    """
    choose("trial.model_options.initialization", initialization, INITIALIZATIONS)
    model = _build(image_shape[0], num_classes, width, dropout, batch_norm=False)
    if initialization == "kaiming":
        kaiming(model)
    return model


def alexnet_bn(image_shape: tuple[int, int, int], num_classes: int, width: float, *, dropout: float = 0.0) -> nn.Module:
    """Return AlexNet with batch normalization after each convolution, and Kaiming initialization.

    Args:
        image_shape: (channels, height, width).
        num_classes: number of outputs.
        width: multiplies the channels of every layer.
        dropout: probability with which an input of the first two linear layers is dropped; 0 leaves dropout out.

    Raises:
        ValueError: an option is invalid.
    """
    model = _build(image_shape[0], num_classes, width, dropout, batch_norm=True)
    kaiming(model)
    return model


def _build(inputs: int, num_classes: int, width: float, dropout: float, *, batch_norm: bool) -> nn.Module:
    if not 0 <= dropout < 1:
        raise ValueError(f"trial.model_options.dropout must be at least 0 and below 1, got {dropout!r}; try 0.5")
    layers: list[nn.Module] = []
    for base, kernel, pool in _LAYOUT:
        outputs = channels(base, width)
        layers.append(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=not batch_norm))
        layers += [nn.BatchNorm2d(outputs)] if batch_norm else []
        layers += [nn.ReLU(inplace=True), *([nn.MaxPool2d(2)] if pool else [])]
        inputs = outputs
    hidden = channels(1024, width)
    layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    for features in (4 * inputs, hidden):
        layers += [nn.Dropout(dropout)] if dropout else []
        layers += [nn.Linear(features, hidden), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(hidden, num_classes))
