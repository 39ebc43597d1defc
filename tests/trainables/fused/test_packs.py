"""Packs of trials whose layers are trained at once, as on a GPU."""

import pytest
import torch

from tests.support.example_trials import quick
from tests.support.quick_runs import rest_of
from trainables.packed.training import PackedTraining
from trainables.run import CompressionRun

pytestmark = pytest.mark.usefixtures("quick_names")


def test_trial_of_a_pack_equals_the_trial_alone() -> None:
    """Its learning rates lie on the device, and its losses are read once an epoch."""
    config = quick("RM", regularize_epochs=1, finetune_epochs=1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    alone, packed = (CompressionRun(config, device, fused=True) for _ in range(2))
    training = PackedTraining(2)
    for expected in rest_of(alone):
        assert packed.phase.on_device
        metrics = training.run_epoch({1: packed})[1]
        assert not isinstance(metrics, Exception)
        assert metrics["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-5)
        assert metrics["phase"] == expected["phase"]
