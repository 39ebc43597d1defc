"""Bit operations: against counts by hand, and against PyTorch's own counter of operations."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tests.support.example_trials import quick
from trainables.measurement.operations import macs_by_weight, weight_bops
from trainables.models import build_model
from trainables.run import CompressionRun

pytestmark = pytest.mark.usefixtures("quick_names")

IMAGE = (3, 32, 32)


def test_macs_of_a_convolution_and_a_linear_layer_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.Flatten(), nn.Linear(8 * 4 * 4, 5))
    assert macs_by_weight(model, (3, 9, 9)) == {"0.weight": 4 * 4 * 8 * 3 * 3 * 3, "2.weight": 8 * 4 * 4 * 5}


def test_groups_of_a_convolution_divide_its_macs() -> None:
    macs = {groups: macs_by_weight(nn.Conv2d(4, 8, 3, groups=groups), (4, 5, 5))["weight"] for groups in (1, 2, 4)}
    assert macs[1] == 2 * macs[2] == 4 * macs[4]


@pytest.mark.parametrize("name", ["alexnet", "vgg16", "resnet20", "mobilenet_v2"])
def test_macs_are_half_of_the_operations_that_torch_counts(name: str) -> None:
    model = build_model(name, IMAGE, 10, 0, 0.25)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(torch.zeros(1, *IMAGE))
    assert 2 * sum(macs_by_weight(model, IMAGE).values()) == counter.get_total_flops()


def test_counting_leaves_the_network_as_it_was() -> None:
    model = build_model("vgg16", IMAGE, 10, 0, 0.125)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    macs_by_weight(model, IMAGE)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_bops_weigh_each_layer_with_the_width_of_its_levels() -> None:
    macs = {"first": 10, "second": 100, "third": 1000}
    assert weight_bops(macs, {"first": 2, "second": 5}) == (10 * 1 + 100 * 3 + 1000 * 32) * 32


def test_trials_report_their_bops() -> None:
    run = CompressionRun(quick("none"))
    levels = run.config.num_levels
    assert levels is not None
    metrics = run.run_epoch()
    assert metrics["weight_bops"] == sum(run.macs.values()) * (levels - 1).bit_length() * 32
