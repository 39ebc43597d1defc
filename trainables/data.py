"""Seeded splits of a data set, and batches that live on the device."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainables.augmentation import AUGMENTATIONS, crop_flip, draw_crop_flips
from trainables.families import choose
from trainables.prepared import Dataset
from trainables.shapes import Float, Int, UInt8


def stratified_split(labels: np.ndarray, fraction: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Splits indices in two, each class in the same proportion.

    Args:
        labels: class of each image, (n,).
        fraction: share of each class that goes to the second part, rounded, at least one image of each.
        rng: decides which.

    Returns:
        Indices of the first and of the second part, each in increasing order.
    """
    held_out = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        held_out.append(members[: max(1, round(fraction * len(members)))])
    second = np.sort(np.concatenate(held_out))
    return np.setdiff1d(np.arange(len(labels)), second), second


def stratified_choice(labels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Chooses exactly `size` indices, in increasing order, each class in proportion to within one image.

    Raises:
        ValueError: there are fewer.
    """
    if not 1 <= size <= len(labels):
        raise ValueError(
            f"subset must be from 1 to {len(labels)}, the training images available, got {size}; "
            "lower it, or leave it out for all"
        )
    classes, counts = np.unique(labels, return_counts=True)
    quotas, remainders = np.divmod(size * counts, len(labels))
    # Largest remainders: the images that rounding down leaves over go where most was cut off.
    quotas[np.argsort(-remainders, kind="stable")[: size - quotas.sum()]] += 1
    chosen = [
        rng.permutation(np.flatnonzero(labels == label))[:quota] for label, quota in zip(classes, quotas, strict=True)
    ]
    return np.sort(np.concatenate(chosen))


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images of one split on a device, normalized as they are read.

    Attributes:
        images: uint8, (n, channels, height, width), channels last in memory.
        labels: int64, (n,).
        mean: of each channel over the training split, in units of uint8.
        std: likewise.
    """

    images: UInt8[Tensor, "n c h w"]
    labels: Int[Tensor, " n"]
    mean: Float[Tensor, " c"]
    std: Float[Tensor, " c"]

    def __len__(self) -> int:
        return len(self.labels)

    def batches(
        self, batch_size: int, generator: torch.Generator | None = None, augmentation: str = "none"
    ) -> Iterator[tuple[Float[Tensor, "b c h w"], Int[Tensor, " b"]]]:
        """Yields normalized images, channels last in memory, and their classes.

        Args:
            batch_size: images in a batch; the last may be smaller.
            generator: shuffles and augments; without one, images come in order.
            augmentation: one of `AUGMENTATIONS`; `crop_flip` needs a generator.
        """
        device = self.labels.device
        augmented = choose("augmentation", augmentation, AUGMENTATIONS) == "crop_flip"
        if augmented and generator is None:
            raise ValueError("generator must be given for augmentation 'crop_flip', got None; set it")
        order = crop_flips = None
        if generator is not None:
            order = torch.randperm(len(self), generator=generator).to(device)
            crop_flips = draw_crop_flips(len(self), generator).to(device) if augmented else None
        for start in range(0, len(self), batch_size):
            stop = min(start + batch_size, len(self))
            if stop - start == 1 and generator is not None and start > 0:
                return  # batch normalization can't train on a single image
            chosen = slice(start, stop) if order is None else order[start:stop]
            images = self.images[chosen].to(torch.float32, memory_format=torch.channels_last)
            images.sub_(self.mean[:, None, None]).div_(self.std[:, None, None])
            if crop_flips is not None:
                images = crop_flip(images, crop_flips[start:stop])
            yield images, self.labels[chosen]


def channel_moments(images: UInt8[Tensor, "n c h w"]) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
    """Mean and standard deviation of each channel, exact until they are rounded to float32."""
    pixels = images.permute(0, 2, 3, 1).reshape(-1, images.shape[1])
    total = torch.zeros(2, images.shape[1], dtype=torch.float64, device=images.device)
    for part in pixels.split(2**18):  # all pixels in float64 would take eight times the memory of the images
        values = part.double()
        total += torch.stack([values.sum(0), values.square().sum(0)])
    count = len(pixels)
    # Sums of integers below 2⁵³ have no rounding, whatever their order; Python's integers have none at all.
    sums, squares = ([int(value) for value in row] for row in total.tolist())
    mean = [value / count for value in sums]
    std = [math.sqrt(count * square - value**2) / count for value, square in zip(sums, squares, strict=True)]
    return torch.tensor(mean, device=images.device), torch.tensor(std, device=images.device)


def train_and_validation(
    dataset: Dataset,
    validation_fraction: float,
    rng: np.random.Generator,
    device: torch.device,
    subset: int | None = None,
) -> tuple[Split, Split]:
    """Splits the training images, stratified by class, and puts both parts on the device.

    Args:
        dataset: whose test images stay untouched.
        validation_fraction: share of each class that is held out.
        rng: decides which.
        device: where the splits live.
        subset: size of a stratified choice of training images, which alone are then split; None for all.

    Raises:
        ValueError: there are fewer images than `subset`, or the splits would leave a class out of training.
    """
    available = np.arange(len(dataset.y_train))
    if subset is not None:
        available = stratified_choice(dataset.y_train, subset, rng)
    train, validation = (
        available[part] for part in stratified_split(dataset.y_train[available], validation_fraction, rng)
    )
    missing = np.setdiff1d(np.arange(dataset.num_classes), dataset.y_train[train])
    if len(missing):
        raise ValueError(
            f"each class must have images to train on and to validate on, got none to train on of class {missing[0]} "
            f"with {len(available)} images and validation_fraction={validation_fraction}; "
            "raise subset, lower validation_fraction, or give it more images"
        )

    def on_device(indices: np.ndarray) -> tuple[Tensor, Tensor]:
        images = torch.from_numpy(dataset.x_train[indices]).to(device)
        return images.permute(0, 3, 1, 2), torch.from_numpy(dataset.y_train[indices]).to(device)

    images, labels = on_device(train)
    mean, std = channel_moments(images)
    std = std.clamp(min=1.0)
    held_out_images, held_out_labels = on_device(validation)
    return (
        Split(images=images, labels=labels, mean=mean, std=std),
        Split(images=held_out_images, labels=held_out_labels, mean=mean, std=std),
    )


def test_split(dataset: Dataset, train: Split) -> Split:
    """The test images, on the device of the training split and normalized by its moments."""
    images = torch.from_numpy(np.array(dataset.x_test)).to(train.images.device)
    labels = torch.from_numpy(np.array(dataset.y_test)).to(train.images.device)
    return Split(images=images.permute(0, 3, 1, 2), labels=labels, mean=train.mean, std=train.std)
