"""Networks by name: the built-in ones, torchvision's classifiers, and those that users name by import path."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from trainables.choices import choose
from trainables.import_path import IMPORT_PATH_FORM, TORCHVISION, arguments_for, is_import_path, reason_of, resolve
from trainables.models.alexnet import alexnet, alexnet_bn
from trainables.models.mobilenet import mobilenet_v2
from trainables.models.resnet import resnet20, resnet56
from trainables.models.small_cnn import small_cnn
from trainables.models.torchvision_models import build_torchvision, check_torchvision_name
from trainables.models.vgg import vgg16

MODELS: dict[str, Callable[..., nn.Module]] = {
    "small_cnn": small_cnn,
    "alexnet": alexnet,
    "alexnet_bn": alexnet_bn,
    "vgg16": vgg16,
    "resnet20": resnet20,
    "resnet56": resnet56,
    "mobilenet_v2": mobilenet_v2,
}
"""Functions that build a network, by its name.

Their arguments are `image_shape` (channels, height, width), `num_classes`, `width` (the multiplier of all channels),
and options by keyword.
"""

OPTIONS_KEY = "trial.model_options"


def check_model_name(name: str) -> str:
    """Return `name` if it has the form of a model's name; raise ValueError naming the choices if not.

    A model named by import path is not imported.
    """
    if name.startswith(TORCHVISION):
        return check_torchvision_name(name)
    if is_import_path(name):
        return name
    return choose("model", name, [*MODELS, f"{TORCHVISION}<name>", IMPORT_PATH_FORM])


def build_model(
    name: str,
    image_shape: tuple[int, int, int],
    num_classes: int,
    seed: int,
    width: float = 1.0,
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build a network with fresh weights.

    Args:
        name: a key of `MODELS`, `torchvision:` and the name of one of its classifiers, or an import path
            `module:attribute` of a function or class that returns a network. It is called with those of the keyword
            arguments `image_shape`, `num_classes` and `width` that its signature names, and with all options.
        image_shape: (channels, height, width).
        num_classes: outputs of the network.
        seed: decides the weights; the global generator is left as it was.
        width: multiplies the channels of every layer; 1 for networks without that argument.
        options: further keyword arguments.

    Raises:
        ValueError: there is no such network, or it can't be called like this; one line.
    """
    check_model_name(name)
    options = options or {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name.startswith(TORCHVISION):
            _refuse_width(name, width)
            return build_torchvision(name, image_shape[0], num_classes, options)
        builder = MODELS[name] if name in MODELS else resolve("model", name)
        offered = {"image_shape": image_shape, "num_classes": num_classes, "width": width}
        arguments = arguments_for("model", name, builder, offered, options, OPTIONS_KEY)
        if "width" not in arguments:
            _refuse_width(name, width)
        return builder(**arguments) if name in MODELS else _built(name, builder, arguments)


def _refuse_width(name: str, width: float) -> None:
    if width != 1.0:
        raise ValueError(f"width must be 1 for {name}, got {width}; leave it out")


def _built(name: str, builder: Callable[..., Any], arguments: Mapping[str, Any]) -> nn.Module:
    """Return the network of a user's function; raise ValueError, in one line, if it fails or returns another thing."""
    try:
        model = builder(**arguments)
    except Exception as error:  # code of users may raise anything
        raise ValueError(f"model {name!r} must return a network, got {reason_of(error)}; mend it") from None
    if not isinstance(model, nn.Module):
        raise ValueError(f"model {name!r} must return a torch.nn.Module, got {type(model).__name__}; mend it")
    return model
