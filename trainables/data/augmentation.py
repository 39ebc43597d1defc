"""Augmentation of training batches: random crops and flips, for all images of a batch at once, on their device."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from trainables.shapes import Float, Int

AUGMENTATIONS = ("none", "crop_flip")
PADDING = 4


def draw_crop_flips(count: int, generator: torch.Generator) -> Int[Tensor, "n 3"]:
    """First row and first column of each image's crop, in [0, 8], and whether it is flipped, 0 or 1.

    Drawn on the CPU, so that what a seed decides does not depend on the device.
    """
    corners = torch.randint(2 * PADDING + 1, (count, 2), generator=generator)
    flips = torch.randint(2, (count, 1), generator=generator)
    return torch.cat([corners, flips], dim=1)


def crop_flip(images: Float[Tensor, "b c h w"], crop_flips: Int[Tensor, "b 3"]) -> Float[Tensor, "b c h w"]:
    """Crops of the images' own size out of images padded by 4 zeros, some of them flipped left to right.

    Args:
        images: normalized, so that the padding is the mean of each channel.
        crop_flips: of each image, as `draw_crop_flips` draws them; row and column 4 leave it where it is.

    Returns:
        Images in channels-last memory format.

    Source: He et al., "Deep Residual Learning", arXiv 1512.03385, Sec. 4.2: 4 pixels of padding around images
    whose mean was subtracted, as here; airbench reflects instead (github.com/KellerJordan/cifar10-airbench).
    """
    height, width = images.shape[2:]
    first_row, first_column, flip = crop_flips.unsqueeze(-1).unbind(1)
    column = torch.arange(width, device=images.device)
    rows = first_row + torch.arange(height, device=images.device)
    columns = first_column + torch.where(flip == 1, width - 1 - column, column)
    padded = pad(images.permute(0, 2, 3, 1), (0, 0, PADDING, PADDING, PADDING, PADDING))
    image = torch.arange(len(images), device=images.device)
    # One gather for the batch; channels stay together, which makes the result channels-last.
    return padded[image[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
