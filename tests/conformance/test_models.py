"""Promises that every model of the registry keeps."""

import pytest
import torch

from trainables.models import MODELS, build_model, quantized_weights

MNIST_LIKE = ((1, 8, 8), 10)


@pytest.mark.parametrize(("image_shape", "num_classes"), [((1, 8, 8), 10), ((1, 28, 28), 10), ((3, 32, 32), 100)])
@pytest.mark.parametrize("name", [*sorted(MODELS), "torchvision:resnet18"])
def test_model_builds_and_forwards(name: str, image_shape: tuple[int, int, int], num_classes: int) -> None:
    if name.startswith("torchvision:") and image_shape[0] != 3:
        image_shape = (3, 64, 64)  # torchvision's classifiers take colour images
    width = 0.25 if name in MODELS else 1.0
    model = build_model(name, image_shape, num_classes, seed=0, width=width)
    logits = model(torch.randn(3, *image_shape, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (3, num_classes)
    assert logits.isfinite().all()
    logits.sum().backward()
    assert all(weight.grad is not None for weight in quantized_weights(model).values())


@pytest.mark.parametrize("name", sorted(MODELS))
def test_quantized_weights_are_all_tensors_of_two_or_more_dimensions(name: str) -> None:
    model = build_model(name, *MNIST_LIKE, seed=0, width=0.25)
    parameters = dict(model.named_parameters())
    # Biases and normalization parameters are vectors; the weights of layers are not.
    expected = {name for name, parameter in parameters.items() if parameter.dim() >= 2}
    weights = quantized_weights(model)
    assert set(weights) == expected
    assert expected
    assert all(weights[name] is parameters[name] for name in weights)
    assert set(weights) <= set(model.state_dict())


@pytest.mark.parametrize("name", sorted(MODELS))
def test_model_weights_are_decided_by_the_seed_alone(name: str) -> None:
    def weights(seed: int) -> torch.Tensor:
        return torch.cat([weight.flatten() for weight in build_model(name, *MNIST_LIKE, seed, width=0.25).parameters()])

    torch.manual_seed(1)
    first, state = weights(7), torch.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(weights(7), first)
    assert not torch.equal(weights(8), first)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_width_scales_every_layer(name: str) -> None:
    narrow, wide = (quantized_weights(build_model(name, *MNIST_LIKE, seed=0, width=width)) for width in (0.125, 0.25))
    assert set(narrow) == set(wide)
    assert all(wide[name].numel() > narrow[name].numel() for name in narrow)
