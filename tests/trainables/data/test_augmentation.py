"""Augmentation: the gather on the device equals crops and flips made one image at a time."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.data.augmentation import crop_flip, draw_crop_flips


def cropped_one_by_one(images: torch.Tensor, crop_flips: torch.Tensor) -> torch.Tensor:
    result = []
    _, _, height, width = images.shape
    for image, (row, column, flip) in zip(images, crop_flips.tolist(), strict=True):
        padded = torch.zeros(image.shape[0], height + 8, width + 8)
        padded[:, 4 : 4 + height, 4 : 4 + width] = image
        crop = padded[:, row : row + height, column : column + width]
        result.append(crop.flip(-1) if flip else crop)
    return torch.stack(result)


@given(
    shape=st.tuples(st.integers(1, 12), st.integers(1, 3), st.integers(1, 10), st.integers(1, 10)),
    seed=st.integers(0, 2**32 - 1),
)
def test_crop_flip_equals_crops_made_one_by_one(shape: tuple[int, int, int, int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(shape, generator=generator)
    crop_flips = draw_crop_flips(len(images), generator)
    augmented = crop_flip(images, crop_flips)
    assert augmented.shape == images.shape
    assert augmented.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(augmented, cropped_one_by_one(images, crop_flips))


def test_crop_flip_leaves_images_where_they_are_at_row_and_column_four() -> None:
    images = torch.randn(3, 2, 5, 6)
    assert torch.equal(crop_flip(images, torch.tensor([[4, 4, 0]] * 3)), images)
    assert torch.equal(crop_flip(images, torch.tensor([[4, 4, 1]] * 3)), images.flip(-1))


def test_drawn_crop_flips_cover_every_shift_and_both_flips_equally() -> None:
    drawn = draw_crop_flips(81 * 2 * 200, torch.Generator().manual_seed(0))
    assert drawn.min() == 0
    assert drawn.amax(0).tolist() == [8, 8, 1]
    counts = torch.bincount(drawn @ torch.tensor([18, 2, 1]), minlength=162)
    chi_squared = ((counts - 200.0) ** 2 / 200).sum().item()
    assert chi_squared < 161 + 5 * (2 * 161) ** 0.5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_crop_flip_does_not_depend_on_the_device() -> None:
    images = torch.randn(64, 3, 32, 32)
    crop_flips = draw_crop_flips(64, torch.Generator().manual_seed(1))
    assert torch.equal(crop_flip(images.cuda(), crop_flips.cuda()).cpu(), crop_flip(images, crop_flips))
