"""Initial weights of networks for ReLU."""

from torch import nn


def kaiming(module: nn.Module, mode: str = "fan_in") -> None:
    """Draw the weights of convolutions and linear layers for ReLU, and set their biases to 0.

    Args:
        module: network or part of one.
        mode: `fan_in` keeps the variance of activations, `fan_out` that of gradients.

    Source: He et al., "Delving Deep into Rectifiers", arXiv 1502.01852, Sec. 2.2.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight, mode=mode, nonlinearity="relu")  # type: ignore[arg-type]
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def channels(base: int, width: float) -> int:
    """Return a number of channels times the width multiplier, at least 1."""
    return max(1, round(base * width))
