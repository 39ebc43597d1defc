"""Shapes of a network's tensors, computed without allocating them."""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from trainables.models.registry import build_model, check_model_name


class _WithoutMemory(TorchFunctionMode):
    """Mode in which functions that create tensors return tensors with a shape but without memory."""

    FACTORIES = frozenset({torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn})

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        changed = {"device": "meta"} if func in self.FACTORIES else {}
        return func(*args, **(dict(kwargs or {}) | changed))


def model_shapes(
    name: str,
    image_shape: tuple[int, int, int],
    num_classes: int,
    width: float,
    options: Mapping[str, Any] | None = None,
) -> dict[str, torch.Size]:
    """Return the shapes of a network's floats, by name in `state_dict`, without allocating them.

    Args:
        name: name of the network, as in `build_model`.
        image_shape: (channels, height, width).
        num_classes: outputs of the network.
        width: multiplier of the channels.
        options: further keyword arguments of the network.

    Raises:
        ValueError: there is no such network, or it can't have these sizes.
    """
    check_model_name(name)
    try:
        with _WithoutMemory(), warnings.catch_warnings(action="ignore"):
            model = build_model(name, image_shape, num_classes, 0, width, options)
    except (RuntimeError, OverflowError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ValueError(
            f"model {name!r} can't have image shape {image_shape}, {num_classes} classes and width {width}: "
            f"{' '.join(str(error).split())}"
        ) from None
    return {key: tensor.shape for key, tensor in model.state_dict().items() if tensor.is_floating_point()}
