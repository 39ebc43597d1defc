"""Networks by name, which weights are quantized, and what importing the package costs."""

import subprocess
import sys

import pytest
import torch
from torch import nn

import trainables.models.registry
from trainables.models import (
    MODELS,
    build_model,
    decayed_weights,
    model_shapes,
    quantized_weights,
    torchvision_classifiers,
)

MNIST_LIKE = ((1, 8, 8), 10)


def test_quantized_weights_are_found_by_type_at_any_depth() -> None:
    model = nn.ModuleDict(
        {
            "stem": nn.Conv1d(2, 3, 3),
            "body": nn.Sequential(nn.BatchNorm2d(3), nn.ModuleList([nn.Conv3d(1, 1, 1), nn.Linear(2, 2)])),
            "norm": nn.LayerNorm((2, 2)),
            "table": nn.Embedding(4, 2),
        }
    )
    assert set(quantized_weights(model)) == {"stem.weight", "body.1.0.weight", "body.1.1.weight"}


NOT_DECAYED = {
    "swin_t": {"features.1.0.attn.relative_position_bias_table", "features.0.2.weight"},
    "swin_v2_t": {"features.1.0.attn.logit_scale"},
    "convnext_tiny": {"features.1.0.layer_scale", "features.0.0.bias"},
    "vit_b_16": {"class_token", "encoder.pos_embedding", "encoder.layers.encoder_layer_0.ln_1.weight"},
    "maxvit_t": {"blocks.0.layers.0.layers.window_attention.attn_layer.1.relative_position_bias_table"},
    "efficientnet_b0": {"features.0.1.weight"},
    "resnet18": {"bn1.weight", "fc.bias"},
}
"""Some parameters of networks that weight decay must leave alone."""


@pytest.mark.parametrize("name", sorted(NOT_DECAYED))
def test_weight_decay_is_decided_by_module_and_role(name: str) -> None:
    with torch.device("meta"):
        model = build_model(f"torchvision:{name}", (3, 224, 224), 10, seed=0)
    parameters, decayed = dict(model.named_parameters()), decayed_weights(model)
    assert NOT_DECAYED[name] <= set(parameters) - set(decayed)
    # Besides the weights of layers by type, only the projections of attention, which PyTorch keeps without a layer.
    beside = set(decayed) - set(quantized_weights(model))
    assert all(name.endswith("self_attention.in_proj_weight") for name in beside)
    assert len(beside) == (12 if name == "vit_b_16" else 0)
    assert set(quantized_weights(model)) <= set(decayed)


def test_weight_decay_spares_embeddings_and_what_is_tied_to_them() -> None:
    model = nn.ModuleDict({"table": nn.Embedding(4, 2), "head": nn.Linear(2, 4), "body": nn.Linear(2, 2)})
    assert set(decayed_weights(model)) == {"head.weight", "body.weight"}
    head = model["head"]
    assert isinstance(head, nn.Linear)
    head.weight = model["table"].weight  # type: ignore[assignment]
    assert set(decayed_weights(model)) == {"body.weight"}


def test_torchvision_classifiers_are_built_by_name() -> None:
    model = build_model("torchvision:mobilenet_v3_small", (3, 32, 32), 7, seed=0)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    assert set(quantized_weights(model)) == {name for name, p in model.named_parameters() if p.dim() >= 2}


@pytest.mark.parametrize(
    ("name", "width", "message"),
    [
        ("torchvision:resnet", 1.0, r"unknown torchvision classifier 'resnet'; choose from \[.*'resnet18'"),
        ("torchvision:resnet18", 0.5, r"width must be 1 .*got 0\.5"),
    ],
)
def test_build_model_refuses_torchvision_models_it_does_not_have(name: str, width: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model(name, (3, 32, 32), 10, seed=0, width=width)


def test_build_model_lists_its_choices_when_the_name_is_unknown() -> None:
    with pytest.raises(ValueError, match=r"unknown model 'resnet'; choose from \[.*'small_cnn'.*'torchvision:<name>'"):
        build_model("resnet", *MNIST_LIKE, seed=0)


def test_choices_are_classifiers_of_images_alone() -> None:
    names = torchvision_classifiers()
    assert {"resnet18", "vit_b_16", "googlenet"} <= set(names)
    assert not [
        name for name in names if name.startswith(("quantized_", "fasterrcnn", "deeplab", "raft", "r3d", "mvit"))
    ]
    for name in ("r3d_18", "quantized_googlenet", "lraspp_mobilenet_v3_large", "raft_small", "swin3d_t"):
        with pytest.raises(ValueError, match=f"unknown torchvision classifier '{name}'"):
            build_model(f"torchvision:{name}", (3, 32, 32), 10, seed=0)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_networks_with_auxiliary_outputs_return_one_tensor_in_training(name: str) -> None:
    with torch.device("meta"):
        model = build_model(f"torchvision:{name}", (3, 96, 96), 10, seed=0).train()
        assert model(torch.empty(2, 3, 96, 96)).shape == (2, 10)


@pytest.mark.parametrize("name", ["resnet18", "vit_b_16", "convnext_tiny", "densenet121", "squeezenet1_1"])
@pytest.mark.parametrize("channels", [1, 4])
def test_first_convolution_takes_the_channels_of_the_images(name: str, channels: int) -> None:
    with torch.device("meta"):
        model = build_model(f"torchvision:{name}", (channels, 224, 224), 10, seed=0)
        assert model(torch.empty(2, channels, 224, 224)).shape == (2, 10)


def test_replaced_convolution_is_decided_by_the_seed_and_as_large_as_the_original() -> None:
    first, again, other = (build_model("torchvision:resnet18", (1, 32, 32), 10, seed) for seed in (1, 1, 2))
    assert torch.equal(first.conv1.weight, again.conv1.weight)  # type: ignore[union-attr, arg-type]
    assert not torch.equal(first.conv1.weight, other.conv1.weight)  # type: ignore[union-attr, arg-type]
    original = build_model("torchvision:resnet18", (3, 32, 32), 10, 1)
    ratio = first.conv1.weight.std() / original.conv1.weight.std()  # type: ignore[union-attr, operator]
    assert abs(ratio - 1) < 0.1


@pytest.mark.parametrize(
    ("name", "width"), [*((name, 0.25) for name in sorted(MODELS)), ("torchvision:regnet_x_400mf", 1.0)]
)
def test_shapes_are_those_of_the_network(name: str, width: float) -> None:
    state = build_model(name, (3, 32, 32), 7, 0, width).state_dict()
    assert model_shapes(name, (3, 32, 32), 7, width) == {
        key: tensor.shape for key, tensor in state.items() if tensor.is_floating_point()
    }


@pytest.mark.parametrize("width", [1e9, 1e300])
def test_shapes_beyond_all_memory_are_refused(width: float) -> None:
    assert model_shapes("small_cnn", (3, 32, 32), 10**12, 1.0)["14.weight"] == (10**12, 64)
    with pytest.raises(ValueError, match="can't have image shape"):
        model_shapes("small_cnn", (3, 32, 32), 10, width)


def test_only_the_adapters_import_ray() -> None:
    program = """
import importlib, pkgutil, sys
import trainables

assert "torch" not in sys.modules, "the package itself imports torch"
for module in pkgutil.iter_modules(trainables.__path__):
    if module.name not in ("trainable", "pack_member"):
        importlib.import_module(f"trainables.{module.name}")
print(*sorted({"ray", "optuna", "pandas", "pydantic", "sklearn", "study", "analysis"} & set(sys.modules)))
assert "trainables.phases" in sys.modules
"""
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_shapes_are_checked_while_tests_run() -> None:
    # If this fails, the import hook of conftest.py came too late, and no annotation is checked.
    with pytest.raises(Exception, match=r"[Tt]ype-check"):
        trainables.models.registry.build_model("small_cnn", (1, 8), 10, 0)  # type: ignore[arg-type]
