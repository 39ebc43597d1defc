"""Seeded splits of a data set, and batches of images on the device."""

import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainables.choices import choose
from trainables.data.augmentation import AUGMENTATIONS, crop_flip, draw_crop_flips
from trainables.data.prepared import Dataset
from trainables.shapes import Float, Int, UInt8

AT_ONCE = 2048
"""Number of images whose pixels are summed in one step; bounds the memory of the float64 copy."""


def stratified_split(labels: np.ndarray, fraction: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Split indices into two parts, with the same share of every class.

    Args:
        labels: class of each image, (n,).
        fraction: share of each class in the second part; rounded, with at least one image of each class.
        rng: source of randomness.

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
    """Choose indices at random, each class in proportion to within one image.

    Args:
        labels: class of each image, (n,).
        size: number of indices.
        rng: source of randomness.

    Returns:
        Exactly `size` indices, in increasing order.

    Raises:
        ValueError: `size` is below 1 or above n.
    """
    if not 1 <= size <= len(labels):
        raise ValueError(
            f"subset must be from 1 to {len(labels)}, the training images available, got {size}; "
            "lower it, or leave it out for all"
        )
    classes, counts = np.unique(labels, return_counts=True)
    quotas, remainders = np.divmod(size * counts, len(labels))
    # Largest-remainder method: images left over by rounding down go to the classes with the largest remainders.
    quotas[np.argsort(-remainders, kind="stable")[: size - quotas.sum()]] += 1
    chosen = [
        rng.permutation(np.flatnonzero(labels == label))[:quota] for label, quota in zip(classes, quotas, strict=True)
    ]
    return np.sort(np.concatenate(chosen))


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images of one split on a device; batches are normalized when they are read.

    Attributes:
        pool: images that include those of the split, uint8, (m, channels, height, width), channels last in memory. On a
            CPU this is the whole data set, which all trials of a node map from the same file without copying it.
        indices: positions of the split's images in the pool, int64, (n,); None if the split is the whole pool.
        labels: classes of the split's images, int64, (n,).
        mean: mean of each channel over the training split, in units of uint8.
        std: standard deviation of each channel over the training split, in units of uint8.
    """

    pool: UInt8[Tensor, "m c h w"]
    labels: Int[Tensor, " n"]
    indices: Int[Tensor, " n"] | None = None
    mean: Float[Tensor, " c"]
    std: Float[Tensor, " c"]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def images(self) -> UInt8[Tensor, "n c h w"]:
        """Images of the split; a copy, unless the split is the whole pool."""
        return self.pool if self.indices is None else self.pool[self.indices]

    def batches(
        self, batch_size: int, generator: torch.Generator | None = None, augmentation: str = "none"
    ) -> Iterator[tuple[Float[Tensor, "b c h w"], Int[Tensor, " b"]]]:
        """Yield batches of normalized images, channels last in memory, and their classes.

        Args:
            batch_size: number of images in a batch, b; the last batch may be smaller.
            generator: shuffles and augments the images; None for the images in order.
            augmentation: one of `AUGMENTATIONS`; `crop_flip` needs a generator.

        Raises:
            ValueError: the augmentation is unknown, or needs a generator and there is none.
        """
        if generator is None:
            if choose("augmentation", augmentation, AUGMENTATIONS) != "none":
                raise ValueError(f"generator must be given for augmentation {augmentation!r}, got None; set it")
            for start in range(0, len(self), batch_size):
                yield self.read(slice(start, start + batch_size))
            return
        device = self.labels.device
        order, crop_flips = self.draw(generator, augmentation)
        order = order.to(device)
        crop_flips = None if crop_flips is None else crop_flips.to(device)
        for size, start in zip(self.batch_sizes(batch_size), range(0, len(self), batch_size), strict=False):
            chosen = slice(start, start + size)
            yield self.read(order[chosen], None if crop_flips is None else crop_flips[chosen])

    def batch_sizes(self, batch_size: int) -> list[int]:
        """Return the sizes of the batches of an epoch of training.

        The last one is smaller, or left out if it were a single image, on which batch normalization can't train.
        """
        whole, rest = divmod(len(self), batch_size)
        return [batch_size] * whole + ([rest] if rest > 1 or (rest == 1 and whole == 0) else [])

    def draw(
        self, generator: torch.Generator, augmentation: str = "none"
    ) -> tuple[Int[Tensor, " n"], Int[Tensor, "n 3"] | None]:
        """Draw the order of an epoch, and in that order the images' crops and flips, if any; both on the CPU."""
        order = torch.randperm(len(self), generator=generator)
        if choose("augmentation", augmentation, AUGMENTATIONS) == "none":
            return order, None
        return order, draw_crop_flips(len(self), generator)

    def read(
        self, chosen: slice | Int[Tensor, " b"], crop_flips: Int[Tensor, "b 3"] | None = None
    ) -> tuple[Float[Tensor, "b c h w"], Int[Tensor, " b"]]:
        """Return images of the split, normalized and augmented, and their classes.

        Args:
            chosen: places of the images in the split, (b,) or a slice.
            crop_flips: (b, 3), crop and flip of each; None for none.

        Returns:
            The images, (b, c, h, w), float32, and their classes, (b,).
        """
        images = self.pool[chosen if self.indices is None else self.indices[chosen]]
        images = images.to(torch.float32, memory_format=torch.channels_last)
        images.sub_(self.mean[:, None, None]).div_(self.std[:, None, None])
        if crop_flips is not None:
            images = crop_flip(images, crop_flips)
        return images, self.labels[chosen]


def channel_moments(
    split_images: Iterable[UInt8[Tensor, "_ c h w"]],
) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
    """Return the mean and the standard deviation of each channel, exact up to the rounding to float32.

    Args:
        split_images: the images in parts, (n, c, h, w) each; all at once in float64 would take eight times their
            memory.

    Returns:
        Two tensors of shape (c,), in units of the pixels, [0, 255].
    """
    totals: list[Tensor] = []
    count = 0
    for images in split_images:
        values = images.permute(0, 2, 3, 1).reshape(-1, images.shape[1]).double()
        totals.append(torch.stack([values.sum(0), values.square().sum(0)]))
        count += len(values)
    # Sums of integers below 2⁵³ have no rounding, whatever their order; Python's integers have none at all.
    sums, squares = ([int(value) for value in row] for row in torch.stack(totals).sum(0).tolist())
    mean = [value / count for value in sums]
    std = [math.sqrt(count * square - value**2) / count for value, square in zip(sums, squares, strict=True)]
    device = totals[0].device
    return torch.tensor(mean, device=device), torch.tensor(std, device=device)


def train_and_validation_indices(
    dataset: Dataset, validation_fraction: float, rng: np.random.Generator, subset: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the training and of the validation split, both stratified by class.

    Args:
        dataset: data set whose training images are split; its test images are not used.
        validation_fraction: share of each class in the validation split.
        rng: source of randomness.
        subset: number of training images to choose, stratified, before they are split; None for all.

    Returns:
        Indices of the training split and of the validation split, among the data set's training images.

    Raises:
        ValueError: there are fewer images than `subset`, or a class would have no image to train on.
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
    return train, validation


def train_and_validation(
    dataset: Dataset,
    validation_fraction: float,
    rng: np.random.Generator,
    device: torch.device,
    subset: int | None = None,
) -> tuple[Split, Split]:
    """Return the training and the validation split of `train_and_validation_indices` on the device."""
    train, validation = train_and_validation_indices(dataset, validation_fraction, rng, subset)
    parts = [_part(dataset, indices, device) for indices in (train, validation)]
    pool, indices, _ = parts[0]
    chunks = (pool if indices is None else indices).split(AT_ONCE)
    mean, std = channel_moments(chunk if indices is None else pool[chunk] for chunk in chunks)
    std = std.clamp(min=1.0)
    trained, held_out = (
        Split(pool=pool, indices=indices, labels=labels, mean=mean, std=std) for pool, indices, labels in parts
    )
    return trained, held_out


def mapped(array: np.ndarray) -> Tensor:
    """Return a tensor that shares the memory of an array; it must not be written to if the array is read-only."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def _part(dataset: Dataset, indices: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor | None, Tensor]:
    """Return pool, indices and labels, as in `Split`, for the training images of the given indices."""
    labels = torch.from_numpy(dataset.y_train[indices]).to(device)
    if device.type == "cpu":
        return mapped(dataset.x_train).permute(0, 3, 1, 2), torch.from_numpy(indices), labels
    return torch.from_numpy(dataset.x_train[indices]).to(device).permute(0, 3, 1, 2), None, labels


def test_split(dataset: Dataset, train: Split) -> Split:
    """Return the test split, on the device of the training split and with its mean and standard deviation."""
    images, labels = (mapped(array).to(train.pool.device) for array in (dataset.x_test, dataset.y_test))
    return Split(pool=images.permute(0, 3, 1, 2), labels=labels, mean=train.mean, std=train.std)
