"""The preflight check: networks that can't train on a data set are refused before a study is written."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainables.config import Recipe, TrialConfig
from trainables.models import MODELS
from trainables.preflight import preflight


def trial(folder: Path, model: str, size: int = 32, channels: int = 3, **changes: Any) -> TrialConfig:
    """A float trial of a network on 16 images of that size."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, size, size, channels), dtype=np.uint8)
    labels = np.arange(20) % 2
    path = folder / f"images{size}x{channels}.npz"
    np.savez(path, x_train=images[:16], y_train=labels[:16], x_test=images[16:], y_test=labels[16:])
    values: dict[str, Any] = {"recipe": Recipe(batch_size=4), "dataset": f"npz:{path}"} | changes
    return TrialConfig(family="none", num_levels=None, model=model, **values)


def refusal(config: TrialConfig) -> str:
    with pytest.raises(
        ValueError, match=r"^trial\.model .* must be able to train on the images of .*, got: .*; "
    ) as caught:
        preflight(config)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("model", ["small_cnn", "torchvision:resnet18", "torchvision:mobilenet_v3_small"])
def test_networks_that_fit_pass_and_leave_the_generator_alone(model: str, channels: int, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    preflight(trial(tmp_path, model, channels=channels))
    assert torch.equal(torch.get_rng_state(), before)


def test_batch_of_two_images_trains_batch_normalization_over_single_pixels(tmp_path: Path) -> None:
    preflight(trial(tmp_path, "torchvision:resnet18", size=1, recipe=Recipe(batch_size=2, augmentation="crop_flip")))


@pytest.mark.parametrize(
    ("model", "size", "rule"),
    [
        ("torchvision:vit_b_16", 32, "exactly 224×224 pixels"),
        ("torchvision:inception_v3", 32, "at least 75×75 pixels"),
        ("torchvision:alexnet", 32, "at least 63×63 pixels"),
        ("small_cnn", 1, "Output size is too small"),
        ("alexnet", 4, "Output size is too small"),
    ],
)
def test_images_of_another_size_are_refused_with_the_rule(model: str, size: int, rule: str, tmp_path: Path) -> None:
    message = refusal(trial(tmp_path, model, size=size))
    for part in (rule, repr(model), f"{size}×{size} with 3 channels"):
        assert part in message


class Odd(nn.Module):
    """A network with one of several faults."""

    def __init__(self, fault: str, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.fault = fault
        inputs = image_shape[0] * image_shape[1] * image_shape[2]
        self.layer = nn.Linear(inputs, num_classes + (fault == "classes"))
        self.unused = nn.Linear(2, 2) if fault == "unused" else nn.Identity()

    def forward(self, images: Tensor) -> Any:
        logits = self.layer(images.flatten(1))
        match self.fault:
            case "tuple":
                return logits, logits
            case "nan":
                return logits * float("nan")
            case "eval" if not self.training:
                return {"out": logits}
        return logits


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("tuple", "one tensor of logits, got tuple"),
        ("eval", "one tensor of logits, got dict"),
        ("classes", "logits must have shape"),
        ("nan", "loss of the first batch is nan"),
        ("unused", "no gradient reaches unused.weight"),
    ],
)
def test_outputs_that_no_trial_can_use_are_refused(
    fault: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODELS, "odd", lambda image_shape, num_classes: Odd(fault, image_shape, num_classes))
    assert reason in refusal(trial(tmp_path, "odd", size=4))


def test_network_without_layers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "flat", lambda: nn.Flatten())
    assert "no convolution and no linear layer" in refusal(trial(tmp_path, "flat", size=4))
