"""The kernels of forward transforms against the code for CPUs, on the same layers, step by step."""

from typing import Any

import pytest
import torch
from torch import Tensor
from triton.runtime import interpreter

from tests.conformance.test_regularizers import draw_weights
from trainables.config import PenaltyForm
from trainables.fused.layout import CONTROLS, TEMPERATURE
from trainables.fused.trained import BLOCK
from trainables.fused.transforms import FUSED_TRANSFORMS, FusedSoftClusters, FusedTransform, can_fuse_transforms
from trainables.regularizers.registry import TRANSFORMS

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CHUNK = 256
FORMS = {
    "LSQ": [PenaltyForm()],
    "PARQ": [PenaltyForm()],
    "DKM": [PenaltyForm(temperature=0.5, final_temperature=0.05), PenaltyForm(temperature=5.0, final_temperature=5.0)],
}
"""At a lower temperature, float32 leaves few digits of DKM's gradient for weights midway between two centroids."""
ROUNDING = {"LSQ": 0.0, "PARQ": 1e-5, "DKM": 2e-4}
"""Greatest differences, as shares of the greatest value; DKM's grow from iteration to iteration."""

CASES = [
    pytest.param(
        *(family, form, num_levels),
        marks=pytest.mark.slow if family == "DKM" and num_levels > BLOCK else (),
        id=f"{family}-{form.temperature}-{num_levels}",
    )
    for family, forms in FORMS.items()
    for form in forms
    for num_levels in (2, 5, BLOCK + 6)
]


def special_layers(num_levels: int) -> list[Tensor]:
    """Layers of all sizes about a chunk's, some with ties, outliers, equal weights or zeros."""
    ties = draw_weights("two clusters", 300, 3)
    ties[::7], ties[100] = ties[0], 50.0
    if num_levels > BLOCK:
        return [ties, draw_weights("normal", 3 * num_levels, 1)]
    drawn = [draw_weights("normal", size, size) for size in (CHUNK, CHUNK + 1, 700, 33)]
    return [*drawn, ties, torch.full((9,), 0.25), torch.zeros(5), draw_weights("normal", 3 * num_levels, 1)]


def made(family: str, layers: list[Tensor], num_levels: int, form: PenaltyForm) -> list[Any]:
    return [TRANSFORMS[family](layer, min(num_levels, len(layer)), form) for layer in layers]


def fused(family: str, weights: list[Tensor], quantizers: list[Any]) -> FusedTransform:
    assert can_fuse_transforms(quantizers)
    return FUSED_TRANSFORMS[type(quantizers[0])](weights, quantizers, [0.0] * len(weights), chunk=CHUNK)


def beside_centroids(transform: FusedTransform, layer: int, quantizer: Any, weights: Tensor) -> Tensor:
    """Weights that the two computations hold on different sides of a centroid, where DKM's gradient jumps."""
    beside = torch.zeros(len(weights), dtype=torch.bool)
    if isinstance(transform, FusedSoftClusters):
        for row, iteration in zip(transform._centroids, quantizer._iterations, strict=False):
            ours = transform.representatives.by_layer(row)[layer].cpu()
            sides = [(weights[:, None] - centroids).sign() for centroids in (ours, iteration.centroids)]
            beside |= (sides[0] != sides[1]).any(1)
    return beside


@pytest.mark.parametrize(("family", "form", "num_levels"), CASES)
def test_all_layers_are_transformed_at_once_as_one_by_one(family: str, form: PenaltyForm, num_levels: int) -> None:
    layers = special_layers(num_levels)
    one_by_one = made(family, layers, num_levels, form)
    weights = [layer.to(DEVICE, copy=True) for layer in layers]
    at_once = made(family, [layer.to(DEVICE) for layer in layers], num_levels, form)
    transform = fused(family, weights, at_once)
    for step, fraction in enumerate((0.0, 0.5, 0.99)):
        for quantizer in one_by_one:
            quantizer.progress(fraction)
        controls = torch.zeros(CONTROLS, device=DEVICE)
        controls[TEMPERATURE] = transform.control(form, fraction)
        before = [weight.clone() for weight in weights]
        transform.apply(controls)
        expected = [quantizer.transform(layer) for quantizer, layer in zip(one_by_one, layers, strict=True)]
        for weight, value in zip(weights, expected, strict=True):
            torch.testing.assert_close(weight.cpu(), value, rtol=1e-4, atol=ROUNDING[family] * float(value.abs().max()))
        gradients = [draw_weights("normal", len(layer), 17 + step) for layer in layers]
        changed = [gradient.to(DEVICE, copy=True) for gradient in gradients]
        transform.chain(changed, controls)
        assert all(torch.equal(weight, one) for weight, one in zip(weights, before, strict=True))
        assert not transform.representatives.arrived.any(), "programs are counted anew at each launch"
        for index, (quantizer, other, layer, gradient, result) in enumerate(
            zip(one_by_one, at_once, layers, gradients, changed, strict=True)
        ):
            quantizer.chain(layer, gradient)
            scale = float(gradient.abs().max())
            sure = ~beside_centroids(transform, index, quantizer, layer)
            assert sure.float().mean() >= 0.95
            torch.testing.assert_close(result.cpu()[sure], gradient[sure], rtol=1e-3, atol=1e-3 * scale)
            values = quantizer.representatives.detach()
            torch.testing.assert_close(other.representatives.detach().cpu(), values, rtol=1e-4, atol=1e-6)
        if transform.trained:
            fused_gradients = transform.representatives.by_layer(transform.representatives.gradient)
            for quantizer, summed in zip(one_by_one, fused_gradients, strict=True):
                torch.testing.assert_close(summed.cpu(), quantizer.state.grad, rtol=1e-4, atol=1e-5)
                quantizer.state.grad.zero_()
        moves = [0.02 * draw_weights("normal", len(layer), 99 + step) for layer in layers]
        for layer, weight, move in zip(layers, weights, moves, strict=True):
            layer.add_(move)
            weight.add_(move.to(DEVICE))


def test_layers_that_rest_at_different_iterations_do_not_disturb_each_other() -> None:
    form = PenaltyForm(temperature=0.05, final_temperature=0.05)
    layers = [torch.tensor([-1.0, -1.0, 1.0, 1.0]), draw_weights("normal", 500, 1), draw_weights("heavy-tailed", 80, 2)]
    weights = [layer.to(DEVICE, copy=True) for layer in layers]
    transform = fused("DKM", weights, made("DKM", weights, 2, form))
    controls = torch.full((CONTROLS,), form.temperature, device=DEVICE)
    transform.apply(controls)
    together = [weight.cpu() for weight in weights]
    iterations = transform._performed.tolist()  # type: ignore[attr-defined]
    assert iterations[0] == 1
    assert max(iterations) > 1
    for layer, result in zip(layers, together, strict=True):
        alone = [layer.to(DEVICE, copy=True)]
        fused("DKM", alone, made("DKM", alone, 2, form)).apply(controls)
        assert torch.equal(alone[0].cpu(), result)


@pytest.mark.skipif(DEVICE == "cuda", reason="the interpreter alone runs programs in a chosen order")
@pytest.mark.parametrize("family", TRANSFORMS)
def test_order_of_the_programs_changes_nothing(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program that adds up the sums of a layer is the last of them, whichever that is."""
    builder = interpreter.interpreter_builder
    place = builder.set_grid_idx
    layers = [draw_weights("normal", size, size) for size in (700, 33, CHUNK + 1)]
    results = []
    for backwards in (False, True):
        if backwards:
            monkeypatch.setattr(builder, "set_grid_idx", lambda x, y, z: place(builder.grid_dim[0] - 1 - x, y, z))
        weights = [layer.clone() for layer in layers]
        transform = fused(family, weights, made(family, weights, 4, PenaltyForm(temperature=0.5)))
        controls = torch.full((CONTROLS,), 0.5)
        gradients = [draw_weights("heavy-tailed", len(layer), 5) for layer in layers]
        transform.apply(controls)
        written = [weight.clone() for weight in weights]
        transform.chain(gradients, controls)
        results.append([*written, *gradients, *weights, transform.representatives.values.clone()])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weight_that_is_not_finite_reaches_the_loss(value: float) -> None:
    layer = draw_weights("normal", 300, 1)
    layer[7] = value
    alone, at_once = (made("PARQ", [draw_weights("normal", 300, 1)], 4, PenaltyForm()) for _ in range(2))
    weights = [layer.to(DEVICE, copy=True)]
    fused("PARQ", weights, at_once).apply(torch.full((CONTROLS,), 0.5, device=DEVICE))
    assert not alone[0].transform(layer).isfinite().all()
    assert not weights[0].isfinite().all()


def test_means_by_level_beyond_the_limit_are_not_taken_by_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.fused.layers.MOST_LEVELS", 3)
    layer = draw_weights("normal", 100, 0)
    assert not can_fuse_transforms(made("PARQ", [layer], 4, PenaltyForm()))
    assert not can_fuse_transforms(made("DKM", [layer], 4, PenaltyForm()))
    assert can_fuse_transforms(made("LSQ", [layer], 4, PenaltyForm()))
    assert not can_fuse_transforms([])


@pytest.mark.parametrize("family", TRANSFORMS)
def test_layer_that_the_forward_pass_has_not_used_disturbs_no_other(family: str) -> None:
    layers = [draw_weights("normal", size, size) for size in (40, 300)]
    gradient = draw_weights("normal", 300, 7)
    results = []
    for first in (torch.zeros(40, device=DEVICE), None):
        weights = [layer.to(DEVICE, copy=True) for layer in layers]
        transform = fused(family, weights, made(family, weights, 4, PenaltyForm()))
        controls = torch.full((CONTROLS,), 0.5, device=DEVICE)
        transform.apply(controls)
        second = gradient.to(DEVICE, copy=True)
        transform.chain([first, second], controls)
        results.append(second)
    assert torch.equal(*results)


def test_learned_steps_need_one_sum_of_each_chunk() -> None:
    weights = [draw_weights("normal", 5000, 0).to(DEVICE)]
    transform = fused("LSQ", weights, made("LSQ", weights, 2000, PenaltyForm()))
    assert transform.representatives.partial.shape == (20, 1)
