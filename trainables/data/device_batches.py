"""Shuffled batches whose place in the epoch is counted in device memory."""

import torch
from torch import Tensor

from trainables.data.batches import Split
from trainables.shapes import Float, Int


class DeviceBatches:
    """Batches of a split, in the order and with the crops and flips of `Split.batches`.

    All random numbers of an epoch are drawn at its beginning, on the CPU, so that the result of a seed does not depend
    on the device. Taking a batch is then work of the device alone, the same for every batch of a size.

    Attributes:
        index: (1,), int64: number of the next batch, from 0.
    """

    def __init__(self, split: Split, augmentation: str) -> None:
        """Prepare the batches of a split, on its device."""
        device = split.labels.device
        self._split = split
        self._augmentation = augmentation
        self._order: Tensor = torch.zeros(len(split), dtype=torch.int64, device=device)
        self._crop_flips: Tensor | None = None
        if augmentation != "none":
            self._crop_flips = torch.zeros(len(split), 3, dtype=torch.int64, device=device)
        self._next = torch.zeros(1, dtype=torch.int64, device=device)
        self.index = torch.zeros(1, dtype=torch.int64, device=device)

    def begin_epoch(self, generator: torch.Generator) -> None:
        """Draw the order of the images, and their crops and flips."""
        order, crop_flips = self._split.draw(generator, self._augmentation)
        self._order.copy_(order)
        if self._crop_flips is not None and crop_flips is not None:
            self._crop_flips.copy_(crop_flips)
        self._next.zero_()
        self.index.zero_()

    def take(self, size: int) -> tuple[Float[Tensor, "b c h w"], Int[Tensor, " b"]]:
        """Return the next `size` images and their classes; `index` is then that of the batch that follows."""
        at = self._next + torch.arange(size, device=self._next.device)
        self._next.add_(size)
        self.index.add_(1)
        crop_flips = None if self._crop_flips is None else self._crop_flips.index_select(0, at)
        return self._split.read(self._order.index_select(0, at), crop_flips)
