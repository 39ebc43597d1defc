"""The compiled loops of RM and RE: against the oracle, and against operators of torch."""

import importlib.abc
import io
import itertools
import math
import shutil
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import trainables
import trainables.compiled
from tests.conformance.test_regularizers import (
    SPECIAL_KINDS,
    assert_matches_reference,
    displaced,
    draw_weights,
    layers,
    special_weights,
)
from tests.support.autograd_oracle import Reference
from tests.support.example_trials import quick
from tests.support.quick_runs import comparable, rest_of
from tests.trainables.phases.test_phases import saved
from trainables.compiled import loops
from trainables.compiled.layers import CompiledLayer
from trainables.compiled.phase import CompiledRegularizePhase, loops_run
from trainables.config import LayerGroup, PenaltyForm, Recipe
from trainables.phases.optimizers import sort_representatives
from trainables.regularizers.application import draw
from trainables.regularizers.exponential.soft_minimum import SoftMinimum
from trainables.regularizers.reduction import reduction_divisor
from trainables.regularizers.registry import REGULARIZERS
from trainables.run import CompressionRun

BETAS, EPSILON = (0.8, 0.99), 1e-20


class SlopesOfLoops:
    """A regularizer whose gradient is that of the compiled loops."""

    def __init__(self, regularizer: Any, form: PenaltyForm) -> None:
        self._inner, self._form = regularizer, form
        self.representatives: Tensor = regularizer.representatives
        self.state: Tensor = regularizer.state

    def add_gradient(self, weights: Tensor, gradient: Tensor, strength: float) -> None:
        own, values = weights.numpy(), self.representatives.detach().numpy()
        intervals, (lower, upper, slopes, nearest) = intervals_of(own, values), np.empty((4, len(own)), np.float32)
        lower[:], upper[:] = values[intervals], values[intervals + 1]
        sums = np.zeros((loops.LANES, len(values)))
        if isinstance(self._inner, SoftMinimum):
            tau = self._inner.tau
            felt, powers = loops.count_felt(values, tau), np.empty(len(own), np.int32)
            loops.soft_slopes(own, intervals, lower, upper, values, tau, felt, powers, slopes, nearest, sums)
        else:
            loops.nearest_slopes(own, intervals, lower, upper, self._form.squared, slopes, nearest, sums)
        factor = strength / reduction_divisor(self._form, len(own))
        gradient.add_(factor * torch.from_numpy(slopes))
        assert self.representatives.grad is not None
        self.representatives.grad.add_((-factor * torch.from_numpy(sums.sum(0))).float())

    def value(self, weights: Tensor) -> float:
        return float(self._inner.value(weights))


def intervals_of(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the interval of each weight by the compiled search, and check the ends that it gives."""
    intervals, (lower, upper) = np.empty(len(weights), np.uint32), np.empty((2, len(weights)), np.float32)
    loops.find_intervals(weights, values, *loops.lay_bins(values), intervals, lower, upper)
    np.testing.assert_array_equal(lower, values[intervals])
    np.testing.assert_array_equal(upper, values[intervals + 1])
    return intervals


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("family", ["RM", "RE"])
@settings(max_examples=30)
@given(
    layer=layers(),
    num_levels=st.sampled_from([2, 3, 4, 7, 16, 64]),
    initial=st.sampled_from(["quantiles", "grid", "kmeans"]),
    temperature=st.sampled_from([0.002, 0.02, 0.05, 0.25]),
    displacement=st.sampled_from(["none", "moved", "equal pair", "all equal", "empty level"]),
    kinds=st.sets(st.sampled_from(SPECIAL_KINDS)),
    strength=st.sampled_from([0.0, 1e-3, 1.0, 7.3]),
    seed=st.integers(0, 99),
)
def test_gradient_of_the_loops_matches_autograd(
    family: str,
    reduction: str,
    squared: bool,
    layer: Tensor,
    num_levels: int,
    initial: str,
    temperature: float,
    displacement: str,
    kinds: set[str],
    strength: float,
    seed: int,
) -> None:
    form = PenaltyForm(
        squared=squared,
        reduction=reduction,
        initial=initial,
        temperature=temperature,
        final_temperature=temperature,
        temperature_spacing="initial",
    )
    regularizer = REGULARIZERS[family](layer, num_levels, form)
    reference = Reference.of(family, form, layer, regularizer.representatives.detach().double())
    moved = displaced(regularizer.representatives.detach().clone(), displacement, seed)
    regularizer.representatives.data.copy_(moved)
    special = special_weights(reference, moved, kinds)
    weights = torch.cat([layer, torch.tensor(special, dtype=torch.float32)])
    weights = weights[~reference.uncertain(weights.double(), moved.double())]
    if len(weights):
        assert_matches_reference(SlopesOfLoops(regularizer, form), reference, weights, strength)  # type: ignore[arg-type]


@pytest.mark.parametrize("switches", [{}, {"squared": True}, {"reduction": "mean"}])
@pytest.mark.parametrize("num_levels", [2, 16, 64])
@pytest.mark.parametrize("family", ["RM", "RE"])
@pytest.mark.parametrize(("size", "share"), [(3000, 0.7), (2, 0.1), (70, 2.5), (5000, 0.02), (loops.BLOCK, 1.0)])
def test_weights_are_drawn_as_by_operators(
    family: str, num_levels: int, switches: dict[str, Any], size: int, share: float
) -> None:
    at_first = draw_weights("normal", size, size)
    regularizer: Any = REGULARIZERS[family](at_first, min(num_levels, size), PenaltyForm(**switches))
    weights = at_first + 0.05 * draw_weights("normal", size, 1)
    drawn = weights.clone()
    layer = CompiledLayer(regularizer, drawn, half_spacings=True)
    layer.draw(share, fraction=0.0)
    regularizer.representatives.grad.zero_()
    draw(regularizer, weights, torch.empty_like(weights), share * regularizer.half_spacing / regularizer.steepest)
    torch.testing.assert_close(drawn, weights, rtol=1e-5, atol=2e-6)
    grad = regularizer.representatives.grad
    torch.testing.assert_close(layer.pull.float(), grad, rtol=1e-4, atol=1e-4 * float(grad.abs().max()))


@pytest.mark.parametrize("family", ["RM", "RE"])
@pytest.mark.parametrize("spacing", [0.0, 1e-44, 1e-30, 1e-18])
def test_representatives_that_nearly_coincide_draw_all_weights_to_them(family: str, spacing: float) -> None:
    weights = draw_weights("normal", 2000, 0)
    regularizer: Any = REGULARIZERS[family](weights, 4, PenaltyForm())
    regularizer.representatives.data.copy_(spacing * torch.arange(4))
    layer = CompiledLayer(regularizer, weights, half_spacings=False)
    before = weights.abs()
    layer.draw(1e-3, fraction=0.5)
    assert (weights.abs() < before).all()
    assert layer.pull.isfinite().all()


@settings(max_examples=60)
@given(
    count=st.sampled_from([2, 3, 16, 200]),
    kind=st.sampled_from(["random", "equal", "close pair", "infinite weight", "narrow"]),
    seed=st.integers(0, 999),
)
def test_search_returns_the_interval_of_each_weight(count: int, kind: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(count, generator=generator).sort().values
    if kind == "equal":
        values.fill_(0.25)
    elif kind == "close pair":
        values[-1] += 1e4
    elif kind == "narrow":
        values = 1.0 + 1e-7 * values
    weights = torch.cat([2 * torch.randn(300, generator=generator), values])
    if kind == "infinite weight":
        weights[:3] = torch.tensor([torch.inf, -torch.inf, torch.nan])
    interval = torch.from_numpy(intervals_of(weights.numpy(), values.numpy()).astype(np.int64))
    assert ((interval >= 0) & (interval <= count - 2)).all()
    known = weights.isfinite()
    assert ((weights >= values[interval]) | (interval == 0))[known].all()
    assert ((weights <= values[interval + 1]) | (interval == count - 2))[known].all()


def test_exponentials_are_those_of_the_reference() -> None:
    exponents = np.linspace(loops.LEAST_EXPONENT, 0, 100_001, dtype=np.float32)
    results = np.empty_like(exponents)
    loops.exponentials(exponents, np.empty(len(exponents), np.int32), results)
    np.testing.assert_allclose(results, np.exp(exponents.astype(np.float64)), rtol=2e-7, atol=0)
    assert results[-1] == 1


@settings(max_examples=40)
@given(
    count=st.integers(2, 40), steps=st.integers(1, 6), scale=st.sampled_from([1e-12, 1.0, 1e6]), seed=st.integers(0, 99)
)
def test_representatives_are_trained_as_by_adam(count: int, steps: int, scale: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(count, generator=generator).sort().values
    expected = values.clone().requires_grad_()
    adam = torch.optim.Adam([expected], lr=0.3, betas=BETAS, eps=EPSILON)
    own, mean, square = values.numpy().copy(), np.zeros(count, np.float32), np.zeros(count, np.float32)
    for step in range(1, steps + 1):
        pull = scale * torch.randn(count, generator=generator, dtype=torch.float64)
        expected.grad = pull.float()
        adam.step()
        sort_representatives(adam, expected)
        loops.adam_step(own, mean, square, pull.numpy(), 0.3, BETAS, EPSILON, step)
        torch.testing.assert_close(torch.from_numpy(own), expected.detach(), rtol=1e-5, atol=1e-6)
        state = adam.state[expected]
        torch.testing.assert_close(torch.from_numpy(mean), state["exp_avg"], rtol=1e-5, atol=1e-6 * scale)
        torch.testing.assert_close(torch.from_numpy(square), state["exp_avg_sq"], rtol=1e-5, atol=1e-6 * scale**2)


def test_gradient_that_is_not_finite_leaves_its_representative() -> None:
    own, mean, square = np.array([0.0, 1.0, 2.0], np.float32), np.zeros(3, np.float32), np.zeros(3, np.float32)
    loops.adam_step(own, mean, square, np.array([np.nan, 1e39, 1.0]), 0.5, BETAS, EPSILON, 1)
    np.testing.assert_array_equal(own, np.array([0.0, 1.0, 1.5], np.float32))
    np.testing.assert_array_equal(mean[:2], 0)


@settings(max_examples=60)
@given(count=st.integers(2, 40), tau=st.sampled_from([1e-9, 1e-3, 0.1, 10.0]), seed=st.integers(0, 999))
def test_felt_representatives_are_counted(count: int, tau: float, seed: int) -> None:
    values = np.sort(np.random.default_rng(seed).standard_normal(count)).astype(np.float32)
    farthest = np.sqrt((loops.NEGLIGIBLE_SUM + np.log(count)) * tau)
    wide = values.astype(np.float64)
    expected = [
        2 + (lower - wide[:interval] < farthest).sum() + (wide[interval + 2 :] - upper < farthest).sum()
        for interval, (lower, upper) in enumerate(itertools.pairwise(wide))
    ]
    assert loops.count_felt(values, tau).tolist() == expected


@pytest.mark.parametrize(("temperature", "outlier"), [(0.02, 100.0), (0.25, 3.0)])
def test_layer_is_drawn_by_operators_where_they_are_faster(temperature: float, outlier: float) -> None:
    """An outlier widens the mean spacing, in whose square the temperature is counted."""
    weights = draw_weights("normal", 3000, 0)
    weights[0] = outlier
    form = PenaltyForm(temperature=temperature, final_temperature=temperature)
    regularizer: Any = REGULARIZERS["RE"](weights, 16, form)
    drawn = weights.clone()
    layer = CompiledLayer(regularizer, drawn, half_spacings=False)
    for _ in range(2):  # the gradient of a step is not added to that of the last one
        layer.draw(1e-3, fraction=0.0)
        regularizer.representatives.grad.zero_()
        draw(regularizer, weights, torch.empty_like(weights), 1e-3)
        assert torch.equal(drawn, weights)
        assert torch.equal(layer.pull.float(), regularizer.representatives.grad)


def test_representative_far_from_all_weights_is_pulled_to_them() -> None:
    """Adam's step does not depend on the size of the gradient, so shares of 1e-30 count."""
    weights, values = draw_weights("normal", 500, 0), torch.tensor([-1.0, 1.0, 9.0])
    regularizer: Any = REGULARIZERS["RE"](weights, 3, PenaltyForm())
    regularizer.representatives.data.copy_(values)
    reference = values.double().requires_grad_()
    layer = CompiledLayer(regularizer, weights.clone(), half_spacings=False)
    layer.draw(0.0, fraction=0.0)
    tau = regularizer.tau
    (tau * torch.logsumexp(-(weights.double()[:, None] - reference).square() / tau, 1)).sum().neg().backward()
    assert reference.grad is not None
    assert 0 < reference.grad[2] < 1e-6
    torch.testing.assert_close(layer.pull[2], reference.grad[2], rtol=1e-4, atol=0)


def test_weights_that_are_put_elsewhere_are_drawn_there() -> None:
    """As by a network that clips its weights by `weight.data = …`."""
    weight = draw_weights("normal", 100, 0)
    regularizer: Any = REGULARIZERS["RM"](weight, 4, PenaltyForm())
    layer = CompiledLayer(regularizer, weight, half_spacings=True)
    layer.draw(0.1, fraction=0.0)
    weight.data = weight.clamp(-1, 1)
    before = weight.clone()
    layer.draw(0.1, fraction=0.0)
    assert not torch.equal(weight, before)


@pytest.mark.parametrize("damage", ["empty index", "empty code", "cut off", "other bytes"])
def test_damaged_files_of_numba_are_made_anew(tmp_path: Path, damage: str) -> None:
    copy = tmp_path / "trainables"
    shutil.copytree(trainables.__path__[0], copy, ignore=shutil.ignore_patterns("__pycache__"))

    def result() -> str:
        ended = subprocess.run([sys.executable, "-c", RUN_LOOPS], cwd=tmp_path, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    expected = result()
    for path in copy.rglob("*.nbi" if damage == "empty index" else "*.nbc"):
        whole = path.read_bytes()
        shorter = {"empty index": b"", "empty code": b"", "cut off": whole[: len(whole) // 2]}
        path.write_bytes(shorter.get(damage, bytes(byte ^ 255 for byte in whole)))
    assert result() == expected
    kept = {path: path.read_bytes() for path in copy.rglob("*.nb?")}
    assert kept
    assert result() == expected
    assert {path: path.read_bytes() for path in copy.rglob("*.nb?")} == kept


RUN_LOOPS = """
import numpy, warnings
warnings.simplefilter("error")
from trainables.compiled.phase import loops_run
assert loops_run()
from trainables.compiled import loops
weights, pull = numpy.linspace(-1, 1, 9, dtype=numpy.float32), numpy.zeros(3)
assert loops.__file__.startswith(__import__("os").getcwd())
loops.draw(weights, numpy.float32([-1, 0, 1]), 0.02, False, 1.0, 0.1, pull)
print(weights, pull)
"""


SGD = Recipe(batch_size=40, optimizer="sgd", learning_rate=0.03, weight_decay=1e-3)
TRIALS = {
    "RM": quick("RM", recipe=SGD, num_levels=5),
    "RM squared": quick("RM", penalty=PenaltyForm(squared=True)),
    "RE": quick("RE", placement="own"),
    "groups with different K": quick("RE", groups={"conv": LayerGroup(layers="conv", num_levels=2)}),
    "groups with different λ": quick("RM", groups={"conv": LayerGroup(layers="conv", lam=1.0)}),
    "a layer in float": quick("RE", groups={"first": LayerGroup(layers="first", num_levels="float")}),
}


@pytest.mark.usefixtures("quick_names")
@pytest.mark.parametrize("name", TRIALS)
def test_trial_is_trained_as_by_operators(name: str) -> None:
    config = replace(TRIALS[name], regularize_epochs=2, finetune_epochs=1)
    by_operators, by_loops = CompressionRun(config, fused=False), CompressionRun(config)
    assert isinstance(by_loops.phase, CompiledRegularizePhase)
    assert by_loops.phase.uses_loops
    while not by_operators.finished:
        expected, metrics = by_operators.run_epoch(), by_loops.run_epoch()
        for metric in ("train_loss", "penalty", "quantization_error"):
            if expected[metric] is None:
                assert metrics[metric] is None
            else:
                assert metrics[metric] == pytest.approx(expected[metric], rel=1e-3, abs=1e-5)


@pytest.mark.usefixtures("quick_names")
@pytest.mark.parametrize("name", ["RM", "RE"])
def test_restore_reproduces_the_epochs_that_follow_bitwise(name: str) -> None:
    config = replace(TRIALS[name], regularize_epochs=3, finetune_epochs=1)
    run = CompressionRun(config)
    states, metrics = [], []
    while not run.finished:
        metrics.append(comparable(run.run_epoch()))
        states.append(saved(run))
    for epoch, state in enumerate(states[:-1], start=1):
        again = CompressionRun(config)
        again.load_state_dict(torch.load(io.BytesIO(state), weights_only=True))
        assert rest_of(again) == metrics[epoch:]


@pytest.mark.usefixtures("quick_names")
@pytest.mark.parametrize(
    "config",
    [
        quick("RS"),
        quick("RE", penalty=PenaltyForm(bounded=True)),
        quick("MSQE"),
        quick("none"),
    ],
)
def test_other_penalties_are_drawn_by_operators(config: Any) -> None:
    phase = CompressionRun(config).phase
    assert isinstance(phase, CompiledRegularizePhase)
    assert not phase.uses_loops


@pytest.mark.usefixtures("quick_names")
@pytest.mark.parametrize("message", ["", "Numba needs NumPy 2.9 or less"])
def test_without_numba_a_trial_is_trained_by_operators(message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it isn't installed, nobody expects it; where it can't be loaded, users should know."""

    class NoNumba(importlib.abc.MetaPathFinder):
        def find_spec(self, name: str, *_: Any) -> None:
            if name == "numba":
                raise ImportError(message) if message else ModuleNotFoundError("No module", name="numba")

    for name in [name for name in sys.modules if name.startswith(("numba", "trainables.compiled."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(trainables.compiled, "loops")
    monkeypatch.delattr(trainables.compiled, "compiler")
    monkeypatch.setattr(sys, "meta_path", [NoNumba(), *sys.meta_path])
    loops_run.cache_clear()
    with pytest.warns(UserWarning, match=message) if message else nullcontext():
        run = CompressionRun(replace(quick("RM"), regularize_epochs=1, finetune_epochs=1))
    loops_run.cache_clear()
    assert not run.phase.uses_loops  # type: ignore[attr-defined]
    assert math.isfinite(run.run_epoch()["train_loss"])
