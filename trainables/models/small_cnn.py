"""A small convolutional network for examples and tests."""

from torch import nn

from trainables.models.initialization import channels


def small_cnn(image_shape: tuple[int, int, int], num_classes: int, width: float) -> nn.Module:
    """Return a network of three convolutions and two linear layers.

    For the digits it has 72,000 weights and trains in seconds.
    """
    inputs = image_shape[0]
    first, second = channels(32, width), channels(64, width)

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *block(inputs, first),
        *block(first, second),
        nn.MaxPool2d(2),
        *block(second, second),
        nn.AdaptiveMaxPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * second, second),
        nn.ReLU(),
        nn.Linear(second, num_classes),
    )
