"""Augmentation of training batches: random crops and flips, for all images of a batch at once, on their device."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from trainables.shapes import Float, Int

AUGMENTATIONS = ("none", "crop_flip")
PADDING = 4


def draw_crop_flips(count: int, generator: torch.Generator) -> Int[Tensor, "n 3"]:
    """Draw the crop and the flip of each image.

    The values are drawn on the CPU, so that the result of a seed does not depend on the device.

    Args:
        count: number of images, n.
        generator: source of randomness.

    Returns:
        Per image: first row and first column of its crop, in [0, 8], and 1 if it is flipped, else 0.
    """
    corners = torch.randint(2 * PADDING + 1, (count, 2), generator=generator)
    flips = torch.randint(2, (count, 1), generator=generator)
    return torch.cat([corners, flips], dim=1)


def crop_flip(images: Float[Tensor, "b c h w"], crop_flips: Int[Tensor, "b 3"]) -> Float[Tensor, "b c h w"]:
    """Pad images by 4 zeros on each side, crop them to their original size, and flip some of them left to right.

    Args:
        images: (b, c, h, w), normalized, so that zeros are the mean of each channel.
        crop_flips: (b, 3), crop and flip of each image, from `draw_crop_flips`; row 4 and column 4 leave it in place.

    Returns:
        (b, c, h, w), images in channels-last memory format.

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
    # A single gather for the whole batch; it leaves channels last in memory.
    return padded[image[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
