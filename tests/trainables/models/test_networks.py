"""Sizes of the built-in networks against the literature, and their options."""

import pytest
import torch
from torch import nn

from trainables.models import build_model, quantized_weights

CIFAR10 = ((3, 32, 32), 10)


def num_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def residual_parameters(blocks: int) -> int:
    """Parameters of He et al.'s CIFAR network with option A, from its description in Sec. 4.2."""
    total = 3 * 9 * 16 + 2 * 16
    inputs = 16
    for outputs in (16, 32, 64):
        for _ in range(blocks):
            total += 9 * inputs * outputs + 9 * outputs * outputs + 4 * outputs
            inputs = outputs
    return total + 64 * 10 + 10


@pytest.mark.parametrize(("name", "blocks", "millions"), [("resnet20", 3, 0.27), ("resnet56", 9, 0.85)])
def test_residual_networks_have_the_sizes_of_their_paper(name: str, blocks: int, millions: float) -> None:
    model = build_model(name, *CIFAR10, seed=0)
    assert num_parameters(model) == residual_parameters(blocks)
    assert round(num_parameters(model) / 1e6, 2) == millions  # He et al., Table 6
    assert len(quantized_weights(model)) == 6 * blocks + 2


def test_shortcut_of_a_block_whose_convolutions_are_zero_is_the_subsampled_input() -> None:
    from trainables.models.resnet import Block

    block = Block(4, 8, stride=2).eval()
    for convolution in (block.conv1, block.conv2):
        nn.init.zeros_(convolution.weight)
    images = torch.rand(2, 4, 6, 6)
    result = block(images)
    assert torch.equal(result[:, 2:6], images[:, :, ::2, ::2])
    assert not result[:, :2].any()
    assert not result[:, 6:].any()


def test_mobilenet_for_small_images_differs_from_torchvisions_in_strides_alone() -> None:
    from torchvision.models import mobilenet_v2

    ours, theirs = build_model("mobilenet_v2", *CIFAR10, seed=0), mobilenet_v2(num_classes=10)
    assert [tuple(p.shape) for p in ours.parameters()] == [tuple(p.shape) for p in theirs.parameters()]
    assert ours[:-3](torch.zeros(2, 3, 32, 32)).shape == (2, 1280, 4, 4)  # type: ignore[index]


def spread_of_logits(**options: object) -> float:
    model = build_model("alexnet", *CIFAR10, seed=0, options=options).eval()
    with torch.no_grad():
        return model(torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))).std(0).mean().item()


def test_kaiming_initialization_keeps_the_signal_that_pytorchs_loses() -> None:
    assert spread_of_logits() < 0.01
    assert 0.3 < spread_of_logits(initialization="kaiming") < 3


def test_alexnet_without_options_is_that_of_earlier_versions() -> None:
    model = build_model("alexnet", *CIFAR10, seed=0, width=0.125)
    dropouts = [(name, module.p) for name, module in model.named_modules() if isinstance(module, nn.Dropout)]
    assert dropouts == [("15", 0.5), ("18", 0.5)]
    # Drawn by the commit before the options, with the same seed.
    assert model.state_dict()["0.weight"].flatten()[0].item() == pytest.approx(-0.0014408392598852515, rel=1e-6)
    assert model.state_dict()["21.weight"].flatten()[-1].item() == pytest.approx(0.0102204205468297, rel=1e-6)


def test_dropout_is_an_option_of_both_forms_of_alexnet() -> None:
    def probabilities(name: str, **options: object) -> list[float]:
        model = build_model(name, *CIFAR10, seed=0, width=0.125, options=options)
        return [module.p for module in model.modules() if isinstance(module, nn.Dropout)]

    assert probabilities("alexnet", dropout=0.0) == []
    assert probabilities("alexnet_bn") == []
    assert probabilities("alexnet_bn", dropout=0.2) == [0.2, 0.2]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("alexnet", {"dropout": 1.5}, r"trial\.model_options\.dropout must be .* got 1\.5; try 0\.5"),
        ("alexnet", {"initialization": "he"}, r"unknown trial\.model_options\.initialization 'he'; choose from"),
        ("alexnet", {"drop": 0.1}, r"trial\.model_options must hold .*'drop'; choose from \['dropout', 'init"),
        ("vgg16", {"dropout": 0.1}, r"trial\.model_options must hold .*'dropout'; leave it out"),
        ("alexnet_bn", {"width": 0.5}, r"trial\.model_options must hold .*'width'; choose from \['dropout'\]"),
        ("torchvision:resnet18", {"drop": 1}, r"trial\.model_options must hold .*\['drop'\].*; correct it"),
    ],
)
def test_wrong_options_are_refused(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model(name, *CIFAR10, seed=0, options=options)


def test_options_reach_torchvision() -> None:
    model = build_model("torchvision:mobilenet_v3_small", *CIFAR10, seed=0, options={"dropout": 0.7})
    assert [module.p for module in model.modules() if isinstance(module, nn.Dropout)] == [0.7]
