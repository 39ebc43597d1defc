"""Data sets: images as uint8 arrays, seeded splits, and batches that live on the device."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainables.families import choose
from trainables.shapes import Float, Int


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A prepared data set.

    Attributes:
        x_train: training images, uint8, (n, height, width, channels).
        y_train: their classes, int64, (n,).
        x_test: test images; only confirmed trials look at them.
        y_test: their classes.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    @property
    def num_classes(self) -> int:
        return int(self.y_train.max()) + 1

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width), as networks take images."""
        height, width, channels = self.x_train.shape[1:]
        return channels, height, width


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


def _digits() -> Dataset:
    """1,797 grey 8×8 images of handwritten digits that come with scikit-learn; a fixed fifth is the test split.

    Source: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998.
    """
    from sklearn.datasets import load_digits  # ponderous, and needed for this data set alone

    bunch = load_digits()
    images = (bunch.images * (255 / 16)).round().astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int64)
    # The test split is the data set's, not the trial's: its seed never changes.
    train, test = stratified_split(labels, 0.2, np.random.default_rng(0))
    return Dataset(x_train=images[train], y_train=labels[train], x_test=images[test], y_test=labels[test])


DATASETS: dict[str, Callable[[], Dataset]] = {"digits": _digits}


def load_dataset(name: str) -> Dataset:
    """Loads a data set by name; raises ValueError for a name that is no key of `DATASETS`."""
    return DATASETS[choose("dataset", name, DATASETS)]()


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images of one split on a device, normalized as they are read.

    Attributes:
        images: uint8, (n, channels, height, width).
        labels: int64, (n,).
        mean: of each channel over the training split, in units of uint8.
        std: likewise.
    """

    images: Int[Tensor, "n c h w"]
    labels: Int[Tensor, " n"]
    mean: Float[Tensor, " c"]
    std: Float[Tensor, " c"]

    def __len__(self) -> int:
        return len(self.labels)

    def batches(
        self, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[tuple[Float[Tensor, "b c h w"], Int[Tensor, " b"]]]:
        """Yields normalized images and their classes: shuffled by `generator`, or in order without one."""
        order = None if generator is None else torch.randperm(len(self), generator=generator).to(self.labels.device)
        for start in range(0, len(self), batch_size):
            stop = min(start + batch_size, len(self))
            if stop - start == 1 and generator is not None and start > 0:
                return  # batch normalization can't train on a single image
            chosen = slice(start, stop) if order is None else order[start:stop]
            images = self.images[chosen].float()
            yield images.sub_(self.mean[:, None, None]).div_(self.std[:, None, None]), self.labels[chosen]


def train_and_validation(
    dataset: Dataset, validation_fraction: float, rng: np.random.Generator, device: torch.device
) -> tuple[Split, Split]:
    """Splits the training images, stratified by class, and puts both parts on the device."""
    train, validation = stratified_split(dataset.y_train, validation_fraction, rng)
    pixels = dataset.x_train[train].reshape(-1, dataset.x_train.shape[-1])
    mean = torch.from_numpy(pixels.mean(0)).float().to(device)
    std = torch.from_numpy(pixels.std(0)).float().clamp(min=1.0).to(device)

    def split(indices: np.ndarray) -> Split:
        images = torch.from_numpy(dataset.x_train[indices]).permute(0, 3, 1, 2).contiguous()
        labels = torch.from_numpy(dataset.y_train[indices])
        return Split(images=images.to(device), labels=labels.to(device), mean=mean, std=std)

    return split(train), split(validation)
