"""The kinds of parts that can be checked, and which kind a name is of."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from trainables.choices import choose
from trainables.conformance.datasets import check_dataset
from trainables.conformance.families import check_family
from trainables.conformance.finding import Finding
from trainables.conformance.models import check_model
from trainables.conformance.placements import check_placement_function
from trainables.conformance.transforms import check_transform
from trainables.data.datasets import DATASETS
from trainables.families import PLACEMENTS, family_of
from trainables.import_path import PATH_PREFIXES, TORCHVISION, PartError, is_import_path, resolve
from trainables.models import MODELS
from trainables.regularizers.own.own_family import is_declared
from trainables.regularizers.registry import QUANTIZERS, REGULARIZERS, TRANSFORMS, quantizer_of

KINDS = ("family", "model", "dataset", "placement")

_PLACEMENT_ARGUMENTS = {"weights", "num_levels", "own"}


def kind_of(name: str) -> str:
    """Return the kind of the part with a name.

    An import path is imported. A declared function or class is a family, and so is a function of `weights` and
    `representatives`; a function of `weights`, `num_levels` or `own` is a placement; a class of networks, or a function
    of `image_shape` or `num_classes`, is a model; and any other function is a data set.

    Raises:
        ValueError: the name is unknown.
    """
    if name.startswith(PATH_PREFIXES) or name in DATASETS:
        return "dataset"
    if name.startswith(TORCHVISION) or name in MODELS:
        return "model"
    if name in PLACEMENTS:
        return "placement"
    if not is_import_path(name):
        family_of(name)
        return "family"
    part = resolve("part", name)
    if is_declared(part):
        return "family"
    if not callable(part):
        raise PartError(f"part {name!r} must be a function or a class, got {type(part).__name__}; correct the name")
    arguments = set(inspect.signature(part).parameters)
    if {"weights", "representatives"} <= arguments:  # a penalty that lacks its declaration: the check says so
        return "family"
    if arguments and arguments <= _PLACEMENT_ARGUMENTS:
        return "placement"
    is_network = inspect.isclass(part) and issubclass(part, nn.Module)
    return "model" if is_network or arguments & {"image_shape", "num_classes"} else "dataset"


def check_part(
    name: str,
    kind: str | None = None,
    *,
    image_shape: tuple[int, int, int] = (3, 32, 32),
    num_classes: int = 10,
    options: Mapping[str, Any] | None = None,
    data_dir: str = "data",
) -> Iterator[Finding]:
    """Check a part.

    Args:
        name: name or import path of the part.
        kind: one of `KINDS`; None for that of `kind_of`.
        image_shape: (channels, height, width) of the images of a model.
        num_classes: number of classes of a model.
        options: further keyword arguments of a model.
        data_dir: folder of data sets.

    Raises:
        ValueError: the name or the kind is unknown, or the part can't be imported; one line.
    """
    kind = kind_of(name) if kind is None else choose("kind of part", kind, KINDS)
    if kind == "model":
        return check_model(name, image_shape, num_classes, options)
    if kind == "dataset":
        return check_dataset(name, data_dir)
    if kind == "placement":
        return check_placement_function(name)
    if name in TRANSFORMS:
        return check_transform(TRANSFORMS[name])
    if not is_import_path(name) and name not in REGULARIZERS:
        known = sorted(QUANTIZERS)
        raise ValueError(
            f"family must have representatives of its own to be checked, got {name!r}; choose from {known}"
        )
    make = quantizer_of(name)
    assert make is not None
    return check_family(make)
