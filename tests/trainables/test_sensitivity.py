"""Sensitivity of a float network: losses and bytes against separate networks, and the groups that follow."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.support.example_trials import quick
from trainables.codebooks import assign, kmeans, network_bits
from trainables.config import FLOAT, TrialConfig
from trainables.groups import layers_of_groups
from trainables.groups.sensitivity import Sensitivity
from trainables.run import CompressionRun
from trainables.sensitivity import measure

pytestmark = pytest.mark.usefixtures("quick_names")

CONV, LINEAR = "0.weight", "5.weight"


def started(**changes: object) -> CompressionRun:
    """A trial on a network that was trained for two epochs."""
    plain = quick("none", num_levels=None).to_dict()
    trained = CompressionRun(TrialConfig.from_dict(plain))
    trained.run_epoch(), trained.run_epoch()
    config = TrialConfig.from_dict(plain | {"init": "pretrained", "allocation": {"num_levels": [2, 4, 16]}} | changes)
    return CompressionRun(config, initial_weights=trained.model.state_dict())


def plain_loss(run: CompressionRun) -> float:
    run.model.eval()
    with torch.no_grad():
        images = (run.validation_split.images.float() - run.train_split.mean) / run.train_split.std
        return cross_entropy(run.model(images), run.validation_split.labels).item()


def test_each_loss_is_that_of_a_network_with_one_layer_quantized() -> None:
    run = started(recipe={"batch_size": 40, "recalibration_batches": 0})
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    sensitivity = measure(run)
    assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())
    assert sensitivity.loss == pytest.approx(plain_loss(run), rel=1e-5)
    assert list(sensitivity.choices) == [CONV, LINEAR]
    for name, choices in sensitivity.choices.items():
        weight = run.weights[name].data
        kept = weight.clone()
        for choice in choices:
            values = kmeans(kept.flatten(), choice.num_levels)
            levels = assign(kept, values)
            weight.copy_(values[levels.long()])
            assert choice.loss == pytest.approx(plain_loss(run), rel=1e-5)
            counts = torch.bincount(levels.flatten(), minlength=len(values)).tolist()
            bits = network_bits(run.model, {name: counts}, "entropy")
            assert choice.num_bytes == bits.layers[name].payload_bytes
            others = sum(other.numel() for key, other in run.weights.items() if key != name)
            assert bits.payload_bytes == choice.num_bytes + sensitivity.other_bytes + 4 * others
        weight.copy_(kept)


def test_statistics_are_re_estimated_as_for_the_objective() -> None:
    kept, recalibrated = (
        measure(started(recipe={"batch_size": 40, "recalibration_batches": batches})) for batches in (0, 2)
    )
    assert kept.loss != recalibrated.loss
    assert kept.choices[CONV][0].num_bytes == recalibrated.choices[CONV][0].num_bytes


def test_groups_take_at_most_the_bits_and_hold_all_layers() -> None:
    run = started()
    sensitivity = measure(run)
    assert Sensitivity.from_dict(sensitivity.to_dict()) == sensitivity
    sizes: dict[float, int] = {}
    for bits in (0.5, 1.5, 2.0, 3.0, 4.0, 8.0):
        groups = sensitivity.groups_for(bits, {}, 16, [2, 4, 16])
        owned = {
            layer: groups[name].num_levels
            for name, some in layers_of_groups(groups, run.model).items()
            for layer in some
        }
        assert set(owned) == {CONV, LINEAR}
        assert groups == sensitivity.groups_for(bits, {}, 16, [2, 4, 16])
        size = sum(
            one.num_bytes for name in owned for one in sensitivity.choices[name] if one.num_levels == owned[name]
        )
        sizes[bits] = 8 * (size + sensitivity.other_bytes) // sensitivity.num_parameters
        smallest = sum(some[0].num_bytes for some in sensitivity.choices.values())
        assert size <= max(bits * sensitivity.num_parameters / 8 - sensitivity.other_bytes, smallest)
    assert list(sizes.values()) == sorted(sizes.values())
    assert len(set(sizes.values())) > 1
    assert {group.num_levels for group in sensitivity.groups_for(8.0, {}, 16, [2, 4]).values()} <= {2, 4}


def test_layers_in_groups_keep_their_settings_and_count() -> None:
    run = started(groups={"first": FLOAT})
    sensitivity = measure(run)
    assert list(sensitivity.choices) == [LINEAR]
    assert sensitivity.grouped == {"first": {CONV: run.weights[CONV].numel()}}
    groups = sensitivity.groups_for(3.0, run.config.groups, 16, [2, 4, 16])
    assert groups["first"] == run.config.groups["first"]
    (name,) = set(groups) - {"first"}
    free = measure(started()).groups_for(3.0, {}, 16, [2, 4, 16])
    levels = next(int(str(group.num_levels)) for group in free.values() if "5" in group.patterns)
    assert int(str(groups[name].num_levels)) <= levels
