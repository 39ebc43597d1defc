"""Registry of networks, and selection of the parameters that are quantized or decayed."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from trainables.families import choose

TORCHVISION = "torchvision:"
"""Prefix of the name of any of torchvision's classifiers of images.

The classifier is taken as it is, except for the number of classes and of the images' channels, and without auxiliary
outputs.
"""

PLAIN_OUTPUT: dict[str, dict[str, bool]] = {
    # By default these two return several outputs while they train, and warn of a default that is to change.
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}
"""Arguments that make a network of torchvision return one tensor of logits."""


def _channels(base: int, width: float) -> int:
    return max(1, round(base * width))


def _small_cnn(image_shape: tuple[int, int, int], num_classes: int, width: float) -> nn.Module:
    """Return a network of three convolutions and two linear layers.

    For the digits it has 72,000 weights and trains in seconds.
    """
    inputs = image_shape[0]
    first, second = _channels(32, width), _channels(64, width)

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


def _alexnet(image_shape: tuple[int, int, int], num_classes: int, width: float) -> nn.Module:
    """Return AlexNet for 32×32 images, with 4.6 million parameters at width 1.

    It has torchvision's convolutions, the first with a stride of 1 and a kernel of 3, pooling by 2, and 1,024 units in
    the linear layers.

    Source: Krizhevsky, "One weird trick for parallelizing convolutional neural networks", arXiv 1404.5997, whose
    channels torchvision has.
    """
    inputs = image_shape[0]
    layers: list[nn.Module] = []
    for base, kernel, pool in ((64, 3, True), (192, 5, True), (384, 3, False), (256, 3, False), (256, 3, True)):
        outputs = _channels(base, width)
        layers += [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), nn.ReLU(inplace=True)]
        layers += [nn.MaxPool2d(2)] if pool else []
        inputs = outputs
    hidden = _channels(1024, width)
    head = [nn.Dropout(), nn.Linear(4 * inputs, hidden), nn.ReLU(inplace=True)]
    head += [nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, num_classes)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), *head)


def _vgg16(image_shape: tuple[int, int, int], num_classes: int, width: float) -> nn.Module:
    """Return VGG16 with batch normalization for 32×32 images, with 14.7 million parameters at width 1.

    It has torchvision's convolutions and a single linear layer.

    Source: Simonyan and Zisserman, arXiv 1409.1556, configuration D.
    """
    from torchvision.models.vgg import cfgs, make_layers

    layout: list[int | str] = []
    size = min(image_shape[1:])
    for base in cfgs["D"]:
        if isinstance(base, int):
            layout.append(_channels(base, width))
        elif size >= 2:  # images smaller than 32×32 are pooled less often
            layout.append(base)
            size //= 2
    features = make_layers(layout, batch_norm=True)
    if image_shape[0] != 3:
        features[0] = nn.Conv2d(image_shape[0], _channels(64, width), 3, padding=1)
    for module in features:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(_channels(512, width), num_classes))


MODELS: dict[str, Callable[[tuple[int, int, int], int, float], nn.Module]] = {
    "small_cnn": _small_cnn,
    "alexnet": _alexnet,
    "vgg16": _vgg16,
}
"""Functions that build a network, by its name.

Their arguments are (channels, height, width) of an image, the number of classes, and the width multiplier.
"""


def torchvision_classifiers() -> list[str]:
    """Return the names of torchvision's classifiers of 2-D images.

    Detectors, segmenters and networks for video, optical flow or quantized inference live in other modules.
    """
    from torchvision import models

    return list(models.list_models(module=models))


def check_model_name(name: str) -> str:
    """Return `name` if `build_model` knows it; raise ValueError naming the choices if not."""
    if name.startswith(TORCHVISION):
        return TORCHVISION + choose("torchvision classifier", name.removeprefix(TORCHVISION), torchvision_classifiers())
    return choose("model", name, [*MODELS, f"{TORCHVISION}<name>"])


def build_model(
    name: str, image_shape: tuple[int, int, int], num_classes: int, seed: int, width: float = 1.0
) -> nn.Module:
    """Build a network with fresh weights.

    Args:
        name: a key of `MODELS`, or `torchvision:` and the name of one of its classifiers; ValueError if neither.
        image_shape: (channels, height, width).
        num_classes: outputs of the network.
        seed: decides the weights; the global generator is left as it was.
        width: multiplies the channels of every layer; only for `MODELS`.
    """
    check_model_name(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name.startswith(TORCHVISION):
            if width != 1.0:
                raise ValueError(f"width must be 1 for {name}, got {width}; leave it out")
            return _torchvision(name.removeprefix(TORCHVISION), image_shape[0], num_classes)
        return MODELS[name](image_shape, num_classes, width)


def _torchvision(name: str, channels: int, num_classes: int) -> nn.Module:
    from torchvision.models import get_model

    # With weights=None nothing is downloaded: classifiers have no separately loaded backbone.
    model: nn.Module = get_model(name, weights=None, num_classes=num_classes, **PLAIN_OUTPUT.get(name, {}))
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


class _WithoutMemory(TorchFunctionMode):
    """Mode in which functions that create tensors return tensors with a shape but without memory."""

    FACTORIES = frozenset({torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn})

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        changed = {"device": "meta"} if func in self.FACTORIES else {}
        return func(*args, **(dict(kwargs or {}) | changed))


def model_shapes(name: str, image_shape: tuple[int, int, int], num_classes: int, width: float) -> dict[str, torch.Size]:
    """Return the shapes of a network's floats, by name in `state_dict`, without allocating them.

    Raises:
        ValueError: there is no such network, or it can't have these sizes.
    """
    check_model_name(name)
    try:
        with _WithoutMemory(), warnings.catch_warnings(action="ignore"):
            model = build_model(name, image_shape, num_classes, 0, width)
    except (RuntimeError, OverflowError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ValueError(
            f"model {name!r} can't have image shape {image_shape}, {num_classes} classes and width {width}: "
            f"{' '.join(str(error).split())}"
        ) from None
    return {key: tensor.shape for key, tensor in model.state_dict().items() if tensor.is_floating_point()}


def quantized_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the weights that are quantized, by name: those of all convolutions and linear layers."""
    return {
        f"{name}.weight": module.weight
        for name, module in model.named_modules()
        if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)) and isinstance(module.weight, nn.Parameter)
    }


WEIGHT_MATRICES: dict[type[nn.Module], tuple[str, ...]] = {
    nn.modules.conv._ConvNd: ("weight",),
    nn.Linear: ("weight",),
    nn.Bilinear: ("weight",),
    # Linear maps that PyTorch keeps without a module of their own.
    nn.MultiheadAttention: ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"),
}
"""Parameters that multiply activations in a convolution or a linear map, by the type of the module that owns them."""


def decayed_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that weight decay may shrink, by name: weights of convolutions and of linear maps.

    Biases, normalization, embeddings, position tables, class tokens and layer scales are excluded in any shape.
    A linear layer that shares its weight with an embedding is excluded with it.
    """
    embeddings = {
        id(module.weight) for module in model.modules() if isinstance(module, (nn.Embedding, nn.EmbeddingBag))
    }
    roles = {
        id(parameter)
        for module in model.modules()
        for kind, names in WEIGHT_MATRICES.items()
        if isinstance(module, kind)
        for name in names
        if isinstance(parameter := getattr(module, name), nn.Parameter)
    }
    return {name: p for name, p in model.named_parameters() if id(p) in roles - embeddings}
