"""Trials whose layers are trained at once: as those trained layer by layer, and bitwise the same after a restore."""

import io
import math
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from tests.support.example_trials import quick
from tests.support.quick_runs import InDouble, comparable, rest_of
from tests.trainables.phases.test_phases import saved
from trainables.config import LayerGroup, PenaltyForm, Recipe, TrialConfig
from trainables.errors import NonFiniteLossError
from trainables.fused import launching
from trainables.models import MODELS
from trainables.models.small_cnn import small_cnn
from trainables.run import CompressionRun

pytestmark = pytest.mark.usefixtures("quick_names")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

SGD = Recipe(batch_size=40, optimizer="sgd", learning_rate=0.03, weight_decay=1e-3, augmentation="crop_flip")
COUPLED = Recipe(batch_size=40, penalty_application="coupled", lam_unit="gradient", warmup_epochs=0.5)
PROXIMAL = Recipe(batch_size=40, penalty_application="proximal")
CONFIGS = {
    "none": quick("none"),
    "float": quick("none", num_levels=None),
    "quantize-first": quick("quantize-first"),
    "RS": quick("RS", recipe=SGD),
    "RC": quick("RC", placement="own"),
    "RM": quick("RM", recipe=SGD, num_levels=5),
    "RM coupled": quick("RM", recipe=COUPLED),
    "RM proximal": quick("RM", recipe=PROXIMAL, penalty=PenaltyForm(squared=True)),
    "RE": quick("RE", placement="own"),
    "RE bounded": quick("RE", recipe=COUPLED, penalty=PenaltyForm(bounded=True, temperature=0.3)),
    "BinReg": quick("BinReg"),
    "MSQE proximal": quick("MSQE", recipe=PROXIMAL, penalty=PenaltyForm(reduction="mean")),
    "RH": quick("RH", num_levels=5),
    "LSQ": quick("LSQ"),
    "PARQ": quick("PARQ"),
    "DKM": quick("DKM", penalty=PenaltyForm(temperature=0.3, final_temperature=0.02)),
    "groups with different K": quick("RM", groups={"conv": LayerGroup(layers="conv", num_levels=2)}),
    "a layer in float": quick("RE", groups={"first": LayerGroup(layers="first", num_levels="float")}),
    "groups with different λ": quick("RM", groups={"conv": LayerGroup(layers="conv", lam=1.0)}),
}


def fused_run(config: TrialConfig) -> CompressionRun:
    return CompressionRun(config, DEVICE, fused=True)


@pytest.mark.parametrize("name", CONFIGS)
def test_trial_is_trained_as_layer_by_layer(name: str) -> None:
    """Rounding grows from step to step, so that the tolerance is that of all epochs together."""
    config = replace(CONFIGS[name], regularize_epochs=1, finetune_epochs=1)
    one_by_one, at_once = CompressionRun(config, DEVICE, fused=False), fused_run(config)
    assert at_once.phase.on_device
    while not one_by_one.finished:
        expected, metrics = one_by_one.run_epoch(), at_once.run_epoch()
        for metric in ("train_loss", "penalty", "quantization_error"):
            if expected[metric] is None:
                assert metrics[metric] is None
            else:
                assert metrics[metric] == pytest.approx(expected[metric], rel=0.02, abs=1e-4)
        rates, expected_rates = (
            [float(group["lr"]) for group in run.phase.optimizers[0].param_groups] for run in (at_once, one_by_one)
        )
        assert rates == pytest.approx(expected_rates, rel=1e-6)


@pytest.mark.parametrize("name", ["none", "RS", "RM", "RE", "RH", "BinReg", "LSQ", "PARQ", "DKM"])
def test_restore_reproduces_the_epochs_that_follow_bitwise(name: str) -> None:
    config = replace(CONFIGS[name], finetune_epochs=1)
    run = fused_run(config)
    states, metrics = [], []
    while not run.finished:
        metrics.append(comparable(run.run_epoch()))
        states.append(saved(run))
    for epoch, state in enumerate(states[:-1], start=1):
        again = fused_run(config)
        again.load_state_dict(torch.load(io.BytesIO(state), weights_only=True))
        assert rest_of(again) == metrics[epoch:]


def groups_of(state: dict[str, Any]) -> list[dict[str, Any]]:
    return [group for optimizer in state["phase_state"]["optimizers"] for group in optimizer["param_groups"]]


@pytest.mark.parametrize("name", ["RM", "MSQE proximal", "none", "LSQ", "PARQ", "DKM"])
@pytest.mark.parametrize("fused_at_first", [True, False])
def test_checkpoints_are_those_of_runs_layer_by_layer(name: str, fused_at_first: bool) -> None:
    config = replace(CONFIGS[name], regularize_epochs=2, finetune_epochs=1)
    begun = CompressionRun(config, DEVICE, fused=fused_at_first)
    begun.run_epoch()
    while not begun.finished:
        state: dict[str, Any] = torch.load(io.BytesIO(saved(begun)), weights_only=True)
        other = CompressionRun(config, DEVICE, fused=not fused_at_first)
        other.load_state_dict(state)
        restated = torch.load(io.BytesIO(saved(other)), weights_only=True)
        for group, again in zip(groups_of(state), groups_of(restated), strict=True):
            assert set(group) == set(again)
            assert group["initial_lr"] == again["initial_lr"]
        expected = begun.run_epoch()
        assert other.run_epoch()["train_loss"] == pytest.approx(expected["train_loss"], rel=0.02)


def test_diverged_batch_is_named_although_losses_are_read_once_an_epoch() -> None:
    run = fused_run(quick("RM", recipe=Recipe(batch_size=40, optimizer="sgd", learning_rate=1e30)))
    with pytest.raises(NonFiniteLossError, match=r"the loss is not finite \((nan|inf)\) in epoch 1, batch 2; lower"):
        run.run_epoch()


def test_layers_with_more_levels_than_the_kernels_compare_are_trained_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trainables.fused.layers.MOST_LEVELS", 3)
    with pytest.warns(UserWarning, match="the regularize phase has a layer with more than 1,024 levels"):
        run = fused_run(quick("RM", num_levels=4))
    with pytest.warns(UserWarning, match="the finetune phase has a layer with more than 1,024 levels"):
        losses = [metrics["train_loss"] for metrics in rest_of(run)]
    assert all(math.isfinite(loss) for loss in losses)
    assert not run.phase.on_device


@pytest.mark.parametrize("name", ["quantize-first", "RM", "LSQ"])
def test_weights_that_the_kernels_cannot_read_are_trained_layer_by_layer(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels read 4 bytes for each weight; these have 8."""

    def build(image_shape: tuple[int, int, int], num_classes: int, width: float) -> nn.Module:
        return InDouble(small_cnn(image_shape, num_classes, width))

    monkeypatch.setitem(MODELS, "tiny_cnn", build)
    expected = rest_of(CompressionRun(CONFIGS[name], DEVICE, fused=False))
    with pytest.warns(UserWarning, match="phase has weights of type torch.float64, and goes layer by layer"):
        run = fused_run(CONFIGS[name])
    assert not run.phase.on_device
    with (
        nullcontext() if name == "quantize-first" else pytest.warns(UserWarning, match="the finetune phase has weights")
    ):
        metrics = rest_of(run)
    for one, other in zip(metrics, expected, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-6)
        assert one["val_accuracy"] == other["val_accuracy"]


@pytest.mark.parametrize("name", ["LSQ", "PARQ", "DKM"])
def test_weights_are_restored_when_a_step_fails(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = fused_run(CONFIGS[name])
    before = [parameter.detach().clone() for parameter in run.model.parameters()]
    with pytest.raises(RuntimeError, match="broken"), run.phase.forward_weights(0.0):
        raise RuntimeError("broken")
    with run.phase.forward_weights(0.0):
        pass  # no backward pass follows: the loss is not finite
    launch = launching.launch

    def fail_to_chain(kernel: str, *arguments: Any, **constants: Any) -> None:
        if constants.get("STAGE") == "middle" or kernel.endswith("pass_quantized"):
            raise RuntimeError("out of memory")
        launch(kernel, *arguments, **constants)

    monkeypatch.setattr(launching, "launch", fail_to_chain)
    chains = name != "PARQ"
    with (
        pytest.raises(RuntimeError, match="out of memory") if chains else nullcontext(),
        run.phase.forward_weights(0.0),
    ):
        for parameter in run.model.parameters():
            parameter.grad = torch.ones_like(parameter)
    for parameter, expected in zip(run.model.parameters(), before, strict=True):
        assert torch.equal(parameter, expected)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", ["RM coupled", "LSQ", "DKM"])
def test_gradients_that_share_memory_are_changed_one_by_one(name: str, fused: bool) -> None:
    """PyTorch leaves them so where a network adds views of two weights up."""
    results = []
    for shared in (True, False):
        run = CompressionRun(replace(CONFIGS[name], init="scratch"), DEVICE, fused=fused)
        parameters = list(run.model.parameters())
        most = max(parameter.numel() for parameter in parameters)
        gradient = torch.randn(most, generator=torch.Generator().manual_seed(0)).to(DEVICE)
        run.phase.begin_epoch(0)
        run.phase.set_learning_rates(1.0)
        with run.phase.forward_weights(0.0):
            for parameter in parameters:
                own = gradient[: parameter.numel()].view_as(parameter)
                parameter.grad = own if shared else own.clone()
        run.phase.step(0.0)
        results.append([*parameters, *run.phase.state_dict()["representatives"].values()])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


def test_device_is_the_gpu_that_kernels_are_launched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    with pytest.raises(ValueError, match=r"current GPU, cuda:0, got cuda:1; call torch.cuda.set_device\(1\) first"):
        CompressionRun(CONFIGS["none"], "cuda:1")
