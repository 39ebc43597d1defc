"""Preflight check of a study's network: a forward and a backward pass on one real batch. Does not depend on Ray."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from trainables.codebooks.placement import own_placement
from trainables.config import TrialConfig
from trainables.data.batches import Split, channel_moments, mapped, train_and_validation_indices
from trainables.data.datasets import load_dataset
from trainables.data.prepared import Dataset
from trainables.errors import message_of
from trainables.groups import allocated_layers, check_groups
from trainables.import_path import TORCHVISION, is_import_path
from trainables.initial_weights import load_initial_weights
from trainables.models import build_model, check_model_name, quantized_weights
from trainables.plausibility import check_width, warnings_for
from trainables.regularizers.own.own_family import check_own_family

IMAGES = 8
"""Number of images in the batch; small, since the driver may have neither a GPU nor much memory."""


def preflight(
    config: TrialConfig,
    most_levels: int | None = None,
    families: Iterable[str] = (),
    placements: Iterable[str] = (),
) -> list[str]:
    """Run the network of a trial forward and backward on one batch of its data set; no weight is updated.

    The batch holds a few training images: at least two, since batch normalization cannot train on one. The check covers
    that the forward and the backward pass work, and the type, shape and finiteness of their results.

    Args:
        config: configuration of the trial.
        families: families of the study, of which those named by import path are checked.
        placements: placements of the study, likewise.
        most_levels: largest K of the study, for a warning if it takes more bits than float weights; None to omit it.

    Returns:
        Warnings about settings that are likely mistakes, one line each.

    Raises:
        ValueError: the data set, its split or the network is not available, the network cannot train on the images,
            or a layer has a single channel. The message is one line.
    """
    check_model_name(config.model)
    check_parts(config, families, placements)
    dataset = load_dataset(config.dataset, config.data_dir)
    rng = np.random.default_rng(config.seed)
    train, _ = train_and_validation_indices(dataset, config.validation_fraction, rng, config.subset)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        images, labels = _batch(dataset, train, config)
        with _one_line(config, dataset):
            model = build_model(
                config.model, dataset.image_shape, dataset.num_classes, config.seed, config.width, config.model_options
            )
            check_passes(model.to(memory_format=torch.channels_last), images, labels, dataset.num_classes)
    check_width(config, model)
    check_groups(config.groups, model)
    if config.allocation.num_levels:
        allocated_layers(config.groups, model)
    if config.initial_weights is not None:
        load_initial_weights(model, config.initial_weights, config.model)
    return warnings_for(config, model, len(train), most_levels)


def check_parts(config: TrialConfig, families: Iterable[str], placements: Iterable[str]) -> None:
    """Import families and placements that are named by import path, and use each on a small layer.

    Args:
        config: configuration of a trial of the study.
        families: names of families.
        placements: names of placements.

    Raises:
        PartError: a part can't be imported, or does not do what its interface requires; one line.
    """
    weights = torch.linspace(-1, 1, 64, dtype=torch.float32)
    proximal = config.recipe.penalty_application == "proximal"
    for family in filter(is_import_path, families):
        check_own_family(family, weights, config.penalty, proximal=proximal)
    for placement in filter(is_import_path, placements):
        own_placement(placement, weights, 3, torch.tensor([-0.5, 0.0, 0.5]))


def _batch(dataset: Dataset, train: np.ndarray, config: TrialConfig) -> tuple[Tensor, Tensor]:
    """Return normalized, augmented images and their labels, chosen at even distances from the training split."""
    size = max(2, min(IMAGES, config.recipe.batch_size, len(train)))
    chosen = torch.from_numpy(train[np.linspace(0, len(train) - 1, size).astype(int)])
    pool = mapped(dataset.x_train).permute(0, 3, 1, 2)
    mean, std = channel_moments([pool[chosen]])
    split = Split(
        pool=pool,
        indices=chosen,
        labels=torch.from_numpy(dataset.y_train)[chosen],
        mean=mean,
        std=std.clamp(min=1.0),
    )
    return next(split.batches(size, torch.Generator().manual_seed(config.seed), config.recipe.augmentation))


def check_passes(model: nn.Module, images: Tensor, labels: Tensor, num_classes: int) -> None:
    """Run a forward and a backward pass, and a forward pass in evaluation mode.

    Args:
        model: the network.
        images: (n, channels, height, width), normalized.
        labels: (n,), classes of the images.
        num_classes: number of classes.

    Raises:
        ValueError: a result has the wrong type, shape or value.
    """
    weights = quantized_weights(model)
    if not weights:
        raise ValueError("it has no convolution and no linear layer whose weights could be quantized")
    model.train()
    logits = model(images)
    _check_logits(logits, len(images), num_classes)
    loss = cross_entropy(logits, labels)
    if not math.isfinite(loss.item()):
        raise ValueError(f"the loss of the first batch is {loss.item()}")
    loss.backward()
    if untrained := [name for name, weight in weights.items() if weight.grad is None]:
        raise ValueError(f"no gradient reaches {untrained[0]}, one of {len(untrained)} weights that would be quantized")
    model.eval()
    with torch.no_grad():
        _check_logits(model(images), len(images), num_classes)


def _check_logits(logits: object, images: int, num_classes: int) -> None:
    """Raise ValueError unless `logits` is a tensor of shape (images, num_classes)."""
    if not isinstance(logits, Tensor):
        raise ValueError(f"it must return one tensor of logits, got {type(logits).__name__}")
    if tuple(logits.shape) != (images, num_classes):
        raise ValueError(f"its logits must have shape {(images, num_classes)}, got {tuple(logits.shape)}")


@contextmanager
def _one_line(config: TrialConfig, dataset: Dataset) -> Iterator[None]:
    """Turn any error of the network into a ValueError whose message is one line."""
    try:
        yield
    except Exception as error:
        channels, height, width = dataset.image_shape
        reason = message_of(error)
        raise ValueError(
            f"trial.model {config.model!r} must be able to train on the images of {config.dataset}, {height}×{width} "
            f"with {channels} channel{'s'[: channels != 1]}, got: {reason[:300]}; "
            f"choose another model, or other images{_smallest_images(config.model, (height, width))}"
        ) from None


def _smallest_images(model: str, size: tuple[int, int]) -> str:
    """Return a hint at the image size that torchvision requires for a network, or "" if the images are large enough."""
    if not model.startswith(TORCHVISION):
        return ""
    from torchvision.models import get_model_weights

    weights = get_model_weights(model.removeprefix(TORCHVISION))
    smallest = min(entry.meta["min_size"] for entry in weights)
    fixed = model.removeprefix(TORCHVISION).startswith(("vit_", "maxvit_"))
    if not fixed and size[0] >= smallest[0] and size[1] >= smallest[1]:
        return ""
    return f" (this one takes {'exactly' if fixed else 'at least'} {smallest[0]}×{smallest[1]} pixels)"
