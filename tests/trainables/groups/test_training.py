"""Trials with groups of layers: K, λ and placement of each, layers in float, restoring, the file and its bytes."""

import io
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.example_trials import quick
from tests.support.quick_runs import comparable, network_in_double, rest_of, stepped
from trainables.codebooks.artifact_file import read_artifact, write_artifact
from trainables.codebooks.bits import FLOAT_BITS, index_bits
from trainables.config import TrialConfig
from trainables.families import FAMILIES
from trainables.measurement.operations import ACTIVATION_BITS
from trainables.phases import RegularizePhase
from trainables.run import CompressionRun

pytestmark = pytest.mark.usefixtures("quick_names")

CONV, LINEAR = "0.weight", "5.weight"


def grouped(family: str = "RM", groups: dict[str, Any] | None = None, **changes: Any) -> TrialConfig:
    return TrialConfig.from_dict(quick(family, **changes).to_dict() | {"groups": groups or {}})


GROUPS: dict[str, dict[str, Any]] = {
    "K": {"conv": 2, "linear": 16},
    "first in float": {"first": "float"},
    "last in float": {"last": "float", "first": 8},
    "λ and placement": {"linear": {"num_levels": 3, "lam": 0.5, "placement": "uniform"}},
}


@pytest.mark.parametrize("groups", GROUPS.values(), ids=GROUPS.keys())
@pytest.mark.parametrize("family", ["RM", "quantize-first"])
def test_restore_reproduces_the_epochs_that_follow(family: str, groups: dict[str, Any]) -> None:
    config = grouped(family, groups)
    run = CompressionRun(config)
    states, metrics = [], []
    while not run.finished:
        metrics.append(comparable(run.run_epoch()))
        buffer = io.BytesIO()
        torch.save(run.state_dict(), buffer)
        states.append(buffer.getvalue())
    for epoch, state in enumerate(states[:-1], start=1):
        again = CompressionRun(config)
        again.load_state_dict(torch.load(io.BytesIO(state), weights_only=True))
        assert rest_of(again) == metrics[epoch:]


@pytest.mark.parametrize("groups", GROUPS.values(), ids=GROUPS.keys())
@pytest.mark.parametrize("family", ["none", "RS", "LSQ"])
def test_file_holds_each_group_and_has_the_bytes_that_are_counted(
    family: str, groups: dict[str, Any], tmp_path: Path
) -> None:
    run = CompressionRun(grouped(family, groups, regularize_epochs=1, finetune_epochs=1))
    metrics: dict[str, Any] = {}
    while not run.finished:
        metrics = run.run_epoch()
    write_artifact(tmp_path / "network", run.artifact({}))
    artifact = read_artifact(tmp_path / "network")
    assert artifact.config == run.config
    expected = {CONV: 4, LINEAR: 4}
    for name, group in run.config.groups.items():
        weight = CONV if name in ("conv", "first") else LINEAR
        if group.is_float:
            del expected[weight]
            assert artifact.floats[weight].dtype == torch.float32
        else:
            assert isinstance(group.num_levels, int)
            expected[weight] = group.num_levels
    assert {name: len(values) for name, (values, _) in artifact.codebooks.items()} == expected
    state = artifact.state_dict()
    assert all(torch.equal(state[name], value) for name, value in run.model.named_parameters())
    payload = sum(tensor.numel() * 4 for tensor in artifact.floats.values())
    payload += sum(layer.payload_bytes for layer in artifact.bits.layers.values())
    assert artifact.bits.payload_bytes == payload == metrics["artifact_bytes"]
    assert metrics["bits_per_weight"] == 8 * payload / sum(parameter.numel() for parameter in run.model.parameters())
    sizes = {name: run.weights[name].numel() for name in (CONV, LINEAR)}
    bits = {name: index_bits(expected[name]) if name in expected else FLOAT_BITS for name in sizes}
    mean = sum(sizes[name] * bits[name] for name in sizes) / sum(sizes.values())
    assert metrics["index_bits_per_weight"] == pytest.approx(mean, rel=1e-12)
    assert metrics["weight_bops"] == sum(run.macs[name] * bits[name] * ACTIVATION_BITS for name in sizes)
    for column, name in (("conv_bits_per_weight", CONV), ("linear_bits_per_weight", LINEAR)):
        assert (metrics[column] == FLOAT_BITS) == (name not in expected)


@pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if family.has_penalty])
def test_a_group_moves_as_its_layer_does_alone(family: str) -> None:
    """Each layer of two groups, after a step, is where a network with its settings for all layers has it."""
    # From one gradient, decoupled: what a layer's penalty does depends on no other layer.
    groups: dict[str, Any] = {"conv": {"num_levels": 2, "lam": 3.0}, "linear": {"num_levels": 8, "lam": 0.7}}
    together = stepped("regularize", grouped(family, groups))
    for name, weight in (("conv", CONV), ("linear", LINEAR)):
        alone = stepped("regularize", grouped(family, **groups[name]))
        assert torch.equal(together[weight], alone[weight])


@pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if family.has_penalty])
def test_penalty_of_groups_is_the_sum_of_those_of_separate_layers(family: str) -> None:
    def penalty(config: TrialConfig) -> tuple[float, dict[str, float]]:
        model, weights = network_in_double(config)
        phase = RegularizePhase(config, model, weights)
        alone = {name: one.value(weights[name].detach().flatten()) for name, one in phase.regularizers.items()}
        return phase.penalty(), alone

    total, _ = penalty(grouped(family, {"conv": 2, "linear": 8}))
    (_, twos), (_, eights) = penalty(grouped(family, num_levels=2)), penalty(grouped(family, num_levels=8))
    assert total == pytest.approx(twos[CONV] + eights[LINEAR], rel=1e-12)
    left, only = penalty(grouped(family, {"conv": "float"}, num_levels=8))
    assert left == only[LINEAR] == eights[LINEAR]


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "quantize-first"])
def test_a_layer_in_float_trains_as_in_ordinary_training(family: str) -> None:
    """With λ = 0 for a penalty, or on the same forward weights, a float layer moves as in the float network."""
    has_penalty = FAMILIES[family].has_penalty
    config = grouped(family, {"first": "float"}, lam=8.0 if has_penalty else 0.0)
    ordinary = stepped("regularize", quick("none", num_levels=None))
    moved = stepped("regularize", config)
    # The gradients are those of one forward pass on the same weights: `stepped` transforms none.
    assert torch.equal(moved[CONV], ordinary[CONV])
    assert has_penalty != torch.equal(moved[LINEAR], ordinary[LINEAR])


def test_a_layer_in_float_goes_on_training_while_the_others_are_tuned() -> None:
    run = CompressionRun(grouped("RM", {"last": "float"}))
    run.run_epoch(), run.run_epoch(), run.run_epoch()
    before = run.weights[LINEAR].detach().clone()
    run.run_epoch()
    assert run.phase.name == "finetune"
    assert (run.weights[LINEAR] != before).all()
    assert len(run.weights[CONV].unique()) <= 4
    assert len(run.weights[LINEAR].unique()) > 1000


def test_settings_without_effect_change_no_hash() -> None:
    plain = quick("none")
    assert grouped("none", {"conv": {"num_levels": 2, "lam": 3.0}}).hash == grouped("none", {"conv": 2}).hash
    assert grouped("none", {"conv": {"placement": "own"}}).hash == grouped("none", {"conv": {"layers": "conv"}}).hash
    assert grouped("none", {}).hash == plain.hash
    assert grouped("RM", {"conv": {"lam": 3.0}}).hash != grouped("RM", {"conv": {"lam": 2.0}}).hash
    floats = quick("none", num_levels=None)
    assert grouped("none", {"conv": 2}, num_levels=None).hash == floats.hash
