"""Data sets that users load by a function of their own, named by import path."""

import operator
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trainables.data.prepared import ARRAYS, Dataset, DatasetRuleError, checked_dataset
from trainables.import_path import PartError, arguments_for, reason_of, resolve

RETURNS = "four arrays x_train, y_train, x_test, y_test, or two map-style data sets of (image, label)"

_loaded: dict[tuple[Callable[..., Any], str], Dataset] = {}
"""The data set that this process loaded last, by function and folder: all trials of a process share it."""


def load_own_dataset(name: str, data_dir: str | Path, *, anew: bool = False) -> Dataset:
    """Load a data set by a user's function, once per process.

    The function is called with `data_dir` if it names it. It returns the arrays of a prepared data set as a tuple or a
    mapping, or two map-style torch data sets, for training and test, whose items are pairs of an image (Pillow, an
    array H×W or H×W×C, or a tensor C×H×W; uint8, or float from 0 to 1) and a label.

    Args:
        name: import path of the function.
        data_dir: folder of data sets.
        anew: whether to call the function again if this process has called it.

    Raises:
        PartError: the function can't be imported or called, or fails; one line.
        DatasetRuleError: its result breaks a rule of `checked_dataset`.
    """
    function = resolve("dataset", name)
    arguments = arguments_for("dataset", name, function, {"data_dir": data_dir})
    key = (function, str(data_dir))
    if anew or key not in _loaded:
        try:
            result = function(**arguments)
        except Exception as error:  # code of users may raise anything
            raise PartError(f"dataset {name!r} must return {RETURNS}, got {reason_of(error)}; mend it") from None
        dataset = checked_dataset(Path(name), _arrays(name, result))
        _loaded.clear()
        _loaded[key] = dataset
    return _loaded[key]


def _arrays(name: str, result: Any) -> dict[str, np.ndarray]:
    if isinstance(result, Dataset):
        return {array: getattr(result, array) for array in ARRAYS}
    if isinstance(result, Mapping) and set(ARRAYS) <= set(result):
        return {key: np.asanyarray(value) for key, value in result.items()}
    if isinstance(result, tuple | list) and len(result) == len(ARRAYS):
        return dict(zip(ARRAYS, map(np.asanyarray, result), strict=True))
    if isinstance(result, tuple | list) and len(result) == 2:
        arrays = {}
        for part, source in zip(("train", "test"), result, strict=True):
            arrays[f"x_{part}"], arrays[f"y_{part}"] = _decoded(name, part, source)
        return arrays
    got = f"{type(result).__name__} of {len(result)}" if hasattr(result, "__len__") else type(result).__name__
    raise PartError(f"dataset {name!r} must return {RETURNS}, got {got}; mend it")


def _decoded(name: str, part: str, source: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return images, uint8, (n, height, width, channels), and labels, int64, (n,), of a map-style data set."""
    images: list[np.ndarray] = []
    labels: list[int] = []
    try:
        for place in range(len(source)):
            image, label = source[place]
            images.append(_pixels(image))
            labels.append(operator.index(label.item() if hasattr(label, "item") else label))
    except Exception as error:  # code of users may raise anything
        reason = str(error) if isinstance(error, DatasetRuleError) else reason_of(error)
        raise PartError(
            f"dataset {name!r} must return {RETURNS}, got for item {len(images)} of the {part} data set: {reason}; "
            "mend it"
        ) from None
    shapes = sorted({image.shape for image in images})
    if len(shapes) != 1:
        raise PartError(
            f"dataset {name!r} must return images of one shape, got {shapes[:2]} in the {part} data set; resize them"
        )
    return np.stack(images), np.array(labels, dtype=np.int64)


def _pixels(image: Any) -> np.ndarray:
    """Return the pixels of an image, uint8, (height, width, channels)."""
    from torch import Tensor

    if isinstance(image, Tensor):
        pixels = image.permute(1, 2, 0).numpy() if image.ndim == 3 else image.numpy()
    else:
        pixels = np.asarray(image)
    if pixels.dtype.kind == "f":
        if not (pixels.min() >= 0 and pixels.max() <= 1):
            raise DatasetRuleError(
                f"a float image must have values from 0 to 1, found {pixels.min():g} to {pixels.max():g}; leave "
                "out its normalization, which trials do"
            )
        pixels = (pixels * 255).round()
    elif pixels.dtype != np.uint8:
        raise DatasetRuleError(f"an image must be uint8 or float, found {pixels.dtype}; convert it")
    if pixels.ndim not in (2, 3):
        raise DatasetRuleError(f"an image must have 2 or 3 axes, found shape {pixels.shape}; correct it")
    return pixels.astype(np.uint8).reshape(*pixels.shape[:2], -1)
