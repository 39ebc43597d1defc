"""Training on a GPU: captured, without a wait, bitwise after a restore, and as layer by layer."""

from pathlib import Path

import numpy as np
import pytest
import torch
from device_checks import CHECKS, CUDA_CHECKS

from trainables.config import Recipe, TrialConfig
from trainables.families import FAMILIES
from trainables.regularizers.registry import QUANTIZERS


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of colour images, 16 × 16."""
    rng = np.random.default_rng(0)
    file = tmp_path_factory.mktemp("images") / "images.npz"
    train, test = (rng.integers(0, 256, (size, 16, 16, 3), np.uint8) for size in (700, 20))
    np.savez(file, x_train=train, y_train=np.arange(700) % 4, x_test=test, y_test=np.arange(20) % 4)
    return file


def trial(family: str, images: Path) -> TrialConfig:
    return TrialConfig(
        family=family,
        num_levels=4,
        lam=8.0 if FAMILIES[family].has_penalty else 0.0,
        placement="kmeans",
        model="small_cnn",
        dataset=f"npz:{images}",
        recipe=Recipe(batch_size=40, optimizer="sgd", learning_rate=0.01, augmentation="crop_flip"),
    )


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("family", ["none", "RM"])
def test_checks_for_any_device_pass(family: str, check: str, images: Path) -> None:
    CHECKS[check](trial(family, images))


def test_check_of_restores_fails_where_states_are_not_restored(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.run.CompressionRun.load_state_dict", lambda self, state: None)
    with pytest.raises(AssertionError, match="differ"):
        CHECKS["bitwise after a restore"](trial("none", images))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("check", CUDA_CHECKS)
@pytest.mark.parametrize("family", ["none", *QUANTIZERS])
def test_checks_for_a_gpu_pass(family: str, check: str, images: Path) -> None:
    CUDA_CHECKS[check](trial(family, images))
