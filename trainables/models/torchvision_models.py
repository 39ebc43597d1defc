"""torchvision's classifiers of images.

They are taken as they are, except for the number of classes and of the images' channels, and without auxiliary outputs.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from trainables.choices import choose
from trainables.import_path import TORCHVISION, arguments_for

PLAIN_OUTPUT: dict[str, dict[str, bool]] = {
    # By default these two return several outputs while they train, and warn of a default that is to change.
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}
"""Arguments that make a network of torchvision return one tensor of logits."""


def torchvision_classifiers() -> list[str]:
    """Return the names of torchvision's classifiers of 2-D images.

    Detectors, segmenters and networks for video, optical flow or quantized inference live in other modules.
    """
    from torchvision import models

    return list(models.list_models(module=models))


def check_torchvision_name(name: str) -> str:
    """Return `name`, `torchvision:` and a classifier; raise ValueError naming the choices if it is unknown."""
    return TORCHVISION + choose("torchvision classifier", name.removeprefix(TORCHVISION), torchvision_classifiers())


def build_torchvision(name: str, channels: int, num_classes: int, options: Mapping[str, Any]) -> nn.Module:
    """Build a classifier with fresh weights.

    Args:
        name: `torchvision:` and the name of the classifier.
        channels: channels of the images.
        num_classes: number of outputs.
        options: keyword arguments of torchvision's function or class, such as `dropout`.

    Raises:
        ValueError: an option is unknown.
    """
    from torchvision.models import get_model, get_model_builder

    short = name.removeprefix(TORCHVISION)
    plain = PLAIN_OUTPUT.get(short, {})
    offered = {"weights": None, "progress": False, "num_classes": num_classes, **plain}
    builder = get_model_builder(short)
    arguments = offered | arguments_for("model", name, builder, offered, options, "trial.model_options")
    # With weights=None nothing is downloaded: classifiers have no separately loaded backbone.
    del arguments["progress"]
    try:
        model: nn.Module = get_model(short, **arguments)
    except TypeError as error:  # torchvision's functions pass any keyword on to a class
        raise ValueError(
            f"trial.model_options must hold arguments of {name}, got {sorted(options)}: {error}; correct it"
        ) from None
    if channels != 3:
        _take_channels(model, channels)
    return model


def _take_channels(model: nn.Module, channels: int) -> None:
    """Replace the first convolution of a network for colour images by one for images of so many channels.

    Its weights are drawn anew, normally distributed with the standard deviation of those that they replace.
    """
    name, first = next((name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d))
    replacement = nn.Conv2d(
        channels,
        first.out_channels,
        first.kernel_size,  # type: ignore[arg-type]
        first.stride,  # type: ignore[arg-type]
        first.padding,  # type: ignore[arg-type]
        bias=first.bias is not None,
    )
    with torch.no_grad():
        replacement.weight.copy_(torch.randn_like(replacement.weight) * first.weight.std())
        if replacement.bias is not None:
            replacement.bias.zero_()
    model.set_submodule(name, replacement)
