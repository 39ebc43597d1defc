"""Closed-form penalties against float64 autograd over a naive table, written from the formulas of METHOD.md."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainables.config import PenaltyForm
from trainables.regularizers.bins import DyadicBins
from trainables.regularizers.protocol import Regularizer
from trainables.regularizers.registry import REGULARIZERS

STATIC = ("RS", "RC")
TRAINED = ("RM", "RE")
RELATIVE = 1e-5
FLOAT32_EPS = 2.0**-23

FORMS = [
    {"squared": squared, "reduction": reduction, "scale": scale, "bounded": bounded}
    for squared, reduction, scale, bounded in product((False, True), ("sum", "mean"), (True, False), (False, True))
]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The formulas, in float64, of a layer whose phase began with weights in [low, high].

    Attributes:
        low: smallest weight when the phase began: a.
        high: largest weight: b.
        num_levels: K.
        tau: RE's temperature now.
    """

    family: str
    form: PenaltyForm
    low: float
    high: float
    num_levels: int
    tau: float = 1.0

    @classmethod
    def of(
        cls, family: str, form: PenaltyForm, weights: Tensor, representatives: Tensor, fraction: float = 0.0
    ) -> "Reference":
        """The layer as its phase begins, `fraction` of the phase later."""
        spacing = (representatives[-1].item() - representatives[0].item()) / (len(representatives) - 1) or 1.0
        temperature = form.temperature * (form.final_temperature / form.temperature) ** fraction
        return cls(
            family=family,
            form=form,
            low=weights.min().item(),
            high=weights.max().item(),
            num_levels=len(representatives),
            tau=temperature * spacing**2,
        )

    @property
    def spacing(self) -> float:
        """Of the zeros of RS and RC; 1 where the interval has no width."""
        return (self.high - self.low) / (self.num_levels - (self.family == "RS")) or 1.0

    def zeros(self) -> list[float]:
        """Where METHOD.md puts the zeros of RS and RC."""
        k, width = self.num_levels, self.high - self.low
        if self.family == "RS":
            return [self.low + j * width / (k - 1) for j in range(k)]
        return [self.low + (2 * j + 1) * width / (2 * k) for j in range(k)]

    def penalties(self, weights: Tensor, representatives: Tensor) -> Tensor:
        """Penalty of each weight, (n,), differentiable but for the kinks that `at_kink` tells."""
        if self.family in STATIC:
            return self._wells(weights)
        squares = (weights[:, None] - representatives).square()
        nearest = squares.gather(1, squares.argmin(1, keepdim=True)).squeeze(1)
        if self.family == "RM":
            offset = (weights[:, None] - representatives).gather(1, squares.argmin(1, keepdim=True)).squeeze(1)
            return nearest if self.form.squared else offset.abs()
        if self.form.bounded:
            wells = 1 - torch.exp(-nearest / self.tau)
            return self.tau * wells if self.form.scale else wells
        # Less the nearest square: far outside, rounding would otherwise tell on the shares even in float64.
        return nearest - self.tau * torch.logsumexp((nearest[:, None] - squares) / self.tau, 1)

    def _wells(self, weights: Tensor) -> Tensor:
        inside = weights.clamp(self.low, self.high)
        position = (inside - self.low) / (self.high - self.low) if self.high > self.low else torch.zeros_like(inside)
        wave = torch.sin if self.family == "RS" else torch.cos
        periods = self.num_levels - 1 if self.family == "RS" else self.num_levels
        wells = wave(math.pi * periods * position) if self.high > self.low else torch.zeros_like(inside)
        # Outside: the distance to the nearer end besides, as steep as the wells are at their zeros.
        outside = (weights - inside) * math.pi / self.spacing
        penalty = wells.square() + outside.square() if self.form.squared else wells.abs() + outside.abs()
        size = self.spacing / math.pi if self.form.scale else 1.0
        return penalty * (size**2 if self.form.squared else size)

    def at_kink(self, weights: Tensor, representatives: Tensor) -> Tensor:
        """Weights exactly on a kink, where the derivative is 0 by convention, (n,)."""
        if self.family in STATIC:
            if self.form.squared:
                return torch.zeros(len(weights), dtype=torch.bool)
            held = set(representatives.tolist())
            return torch.tensor([self._at_static_kink(weight, held) for weight in weights.tolist()])
        if self.family == "RE" and not self.form.bounded:
            return torch.zeros(len(weights), dtype=torch.bool)
        distances = (weights[:, None] - representatives).abs()
        nearest = distances == distances.amin(1, keepdim=True)
        lowest = torch.where(nearest, representatives, math.inf).amin(1)
        highest = torch.where(nearest, representatives, -math.inf).amax(1)
        return lowest < highest

    def _at_static_kink(self, weight: float, held: set[float]) -> bool:
        """Whether a weight is an end, or a zero both by the formula, without rounding, and as the layer holds it."""
        if weight in (self.low, self.high):
            return True
        if weight not in held or not self.low < weight < self.high:
            return False
        low, high = Fraction(self.low), Fraction(self.high)
        periods = (Fraction(weight) - low) / (high - low) * (self.num_levels - (self.family == "RS"))
        return (periods if self.family == "RS" else periods - Fraction(1, 2)).denominator == 1

    def uncertain(self, weights: Tensor, representatives: Tensor) -> Tensor:
        """Weights whose derivative in float32 rests on rounding: near a kink, and not exactly on it, (n,)."""
        if self.family == "RE" and not self.form.bounded:
            return self._blurred(weights, representatives)
        return self._near_kink(weights, representatives) & ~self.at_kink(weights, representatives)

    def _blurred(self, weights: Tensor, representatives: Tensor) -> Tensor:
        """Weights torn between representatives so far away (in √τ) that float32 can't tell which is nearer."""
        values, counts = representatives.unique(return_counts=True)
        exponents = counts.log() - (weights[:, None] - values).square() / self.tau
        largest, nearest = exponents.max(1)
        distance = (weights - values[nearest]).abs()
        rounding = 2 * FLOAT32_EPS * distance.square() / self.tau
        others = exponents.scatter(1, nearest[:, None], -math.inf).logsumexp(1)
        share_of_others = torch.sigmoid(others - largest + rounding)
        slope_error = rounding.clamp(max=1) * share_of_others * 4 * distance
        return slope_error > RELATIVE / 2 * self.typical(representatives)[1]

    def _near_kink(self, weights: Tensor, representatives: Tensor) -> Tensor:
        rounding = 4 * FLOAT32_EPS
        if self.family in STATIC:
            kinks = torch.tensor([*self.zeros(), self.low, self.high], dtype=torch.float64)
            distance = (weights[:, None] - kinks).abs().amin(1)
            near = distance <= rounding * max(abs(self.low), abs(self.high))
            return near & (not self.form.squared)
        distinct = representatives.unique()
        if len(distinct) == 1:
            return torch.zeros(len(weights), dtype=torch.bool)
        nearest, second = (weights[:, None] - distinct).abs().topk(2, 1, largest=False).values.unbind(1)
        return second - nearest <= rounding * (weights.abs() + representatives.abs().max())

    def gradients(self, weights: Tensor, representatives: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives of the summed penalty by weights, (n,), and by representatives, (k,); 0 at kinks."""
        weights = weights.detach().clone().requires_grad_()
        representatives = representatives.detach().clone().requires_grad_()
        penalties = self.penalties(weights, representatives)
        at_kink = self.at_kink(weights.detach(), representatives.detach())
        total = torch.where(at_kink, penalties.detach(), penalties).sum()
        if not total.requires_grad:
            return torch.zeros_like(weights), torch.zeros_like(representatives)
        by_weight, by_representative = torch.autograd.grad(total, (weights, representatives), allow_unused=True)
        return by_weight, torch.zeros_like(representatives) if by_representative is None else by_representative

    def typical(self, representatives: Tensor) -> tuple[float, float]:
        """Largest penalty and slope of a weight in the interval: the unit of errors where all gradients vanish."""
        margin = 0.0 if self.high > self.low else 1.0
        sample = torch.linspace(self.low - margin, self.high + margin, 203, dtype=torch.float64)
        slopes, _ = self.gradients(sample, representatives)
        return self.penalties(sample, representatives).abs().max().item(), slopes.abs().max().item()


def assert_agree(actual: Tensor, expected: Tensor, unit: float) -> None:
    """Relative to the largest element, elementwise, and to the norm; `unit` stands in where all is near 0."""
    error = actual.double() - expected
    assert error.abs().max() <= RELATIVE * max(expected.abs().max().item(), unit)
    assert error.norm() <= RELATIVE * max(expected.norm().item(), unit)


def assert_matches_reference(regularizer: Regularizer, reference: Reference, weights: Tensor, strength: float) -> None:
    """Value and gradients of `regularizer` at float32 `weights` are those of `reference`."""
    representatives = regularizer.representatives.detach().double()
    trained = regularizer.representatives.requires_grad
    if trained:
        assert regularizer.representatives.grad is not None
        regularizer.representatives.grad.zero_()
    gradient = torch.zeros_like(weights)
    regularizer.add_gradient(weights, gradient, strength)

    share = 1 / len(weights) if reference.form.reduction == "mean" else 1.0
    height, slope = reference.typical(representatives)
    penalties = reference.penalties(weights.double(), representatives)
    largest = max(penalties.abs().sum().item(), 0.1 * len(weights) * height)
    assert abs(regularizer.value(weights) - share * penalties.sum().item()) <= RELATIVE * share * largest

    by_weight, by_representative = reference.gradients(weights.double(), representatives)
    assert_agree(gradient, strength * share * by_weight, strength * share * slope)
    if trained:
        assert regularizer.representatives.grad is not None
        # Equal representatives may share what pulls on their common value in any way.
        values, group = representatives.unique(return_inverse=True)
        actual, expected = (
            torch.zeros_like(values).index_add_(0, group, pull.double())
            for pull in (regularizer.representatives.grad, strength * share * by_representative)
        )
        assert_agree(actual, expected, strength * share * slope)


def special_weights(reference: Reference, representatives: Tensor, kinds: set[str]) -> list[float]:
    """Weights where a penalty is most easily wrong."""
    width = reference.high - reference.low or 1.0
    low, high = representatives[0].item(), representatives[-1].item()
    middles = ((representatives[1:].double() + representatives[:-1].double()) / 2).tolist()
    places = {
        "ends": [reference.low, reference.high],
        "outside": [reference.low - width / 3, reference.high + width / 3, reference.high + 2 * width],
        "far outside": [reference.low - 100 * width],
        "zero": [0.0],
        "representatives": representatives.tolist(),
        "midway": middles,
        "extremes": [low, high],
    }
    return [weight for kind in sorted(kinds) for weight in places[kind]]


def displaced(representatives: Tensor, how: str, seed: int) -> Tensor:
    """Trained representatives as training might leave them, in increasing order."""
    width = (representatives[-1] - representatives[0]).item() or 1.0
    moved = representatives.clone()
    if how == "equal pair":
        moved[-2] = moved[-1]
    elif how == "all equal":
        moved.fill_(moved[0].item())
    elif how == "empty level":
        moved[-1] += 16 * width
    elif how == "moved":
        steps = torch.randint(-2048, 2049, moved.shape, generator=torch.Generator().manual_seed(seed))
        moved += steps * (width / 4096)
    return moved.sort().values


def draw_weights(shape: str, size: int, seed: int) -> Tensor:
    """Random weights around 0, float32; the heavy tails leave most weights in a corner of their interval."""
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(size, generator=generator)
    if shape == "uniform":
        return 2 * torch.rand(size, generator=generator) - 1
    if shape == "heavy-tailed":
        return normal / torch.rand(size, generator=generator).clamp(min=1e-4).sqrt()
    if shape == "two clusters":
        return 1e-3 * normal + torch.randint(0, 2, (size,), generator=generator)
    return normal


@st.composite
def layers(draw: st.DrawFn) -> Tensor:
    """Weights of a layer, float32: few or many, on a lattice (so that ties are exact) or off it, or all equal."""
    scale = draw(st.sampled_from([1.0, 2.0**-6, 0.05, 3.0]))
    centre = draw(st.sampled_from([0.0, 0.5, -3.0]))
    lattice = st.integers(-1024, 1024).map(lambda step: step / 1024)
    kind = draw(st.sampled_from(["lattice", "ends", "equal", "normal", "uniform", "heavy-tailed", "two clusters"]))
    if kind == "lattice":
        values = torch.tensor(draw(st.lists(lattice, min_size=1, max_size=40)))
    elif kind == "ends":
        values = torch.tensor([-1.0, 1.0, *draw(st.lists(lattice, max_size=20))])
    elif kind == "equal":
        values = torch.full((draw(st.sampled_from([1, 2, 30, 300])),), draw(lattice))
    else:
        values = draw_weights(kind, draw(st.sampled_from([1, 2, 30, 300, 3000])), draw(st.integers(0, 99)))
    return (centre + values) * scale


SPECIAL_KINDS = ("ends", "outside", "far outside", "zero", "representatives", "midway", "extremes")


@pytest.mark.parametrize("switches", FORMS, ids=lambda form: "-".join(str(value) for value in form.values()))
@pytest.mark.parametrize("family", sorted(REGULARIZERS))
@settings(max_examples=40)
@given(
    layer=layers(),
    num_levels=st.sampled_from([2, 3, 4, 7, 16, 256]),
    initial=st.sampled_from(["quantiles", "grid", "kmeans"]),
    temperatures=st.sampled_from([(0.25, 0.025), (1.0, 1.0), (0.05, 0.005)]),
    fraction=st.sampled_from([None, 0.0, 0.5, 0.9375]),
    displacement=st.sampled_from(["none", "moved", "equal pair", "all equal", "empty level"]),
    kinds=st.sets(st.sampled_from(SPECIAL_KINDS)),
    strength=st.sampled_from([0.0, 1e-3, 1.0, 7.3]),
    seed=st.integers(0, 99),
)
def test_regularizer_matches_autograd(
    family: str,
    switches: dict[str, object],
    layer: Tensor,
    num_levels: int,
    initial: str,
    temperatures: tuple[float, float],
    fraction: float | None,
    displacement: str,
    kinds: set[str],
    strength: float,
    seed: int,
) -> None:
    form = PenaltyForm(**switches, initial=initial, temperature=temperatures[0], final_temperature=temperatures[1])
    regularizer = REGULARIZERS[family](layer, num_levels, form)
    reference = Reference.of(family, form, layer, regularizer.representatives.detach().double(), fraction or 0.0)
    if fraction is not None:
        regularizer.progress(fraction)
    if family in TRAINED:
        regularizer.representatives.data.copy_(displaced(regularizer.representatives.detach(), displacement, seed))

    special = special_weights(reference, regularizer.representatives.detach(), kinds)
    weights = torch.cat([layer, torch.tensor(special, dtype=torch.float32)])
    exact, held = weights.double(), regularizer.representatives.detach().double()
    weights = weights[~reference.uncertain(exact, held)]
    if len(weights):
        assert_matches_reference(regularizer, reference, weights, strength)


def assert_layer_matches_reference(
    family: str, form: PenaltyForm, layer: Tensor, num_levels: int, fraction: float = 0.0
) -> None:
    """A layer that has moved a little since its phase began."""
    regularizer = REGULARIZERS[family](layer, num_levels, form)
    representatives = regularizer.representatives.detach().double()
    reference = Reference.of(family, form, layer, representatives, fraction)
    regularizer.progress(fraction)
    noise = torch.randn(len(layer), generator=torch.Generator().manual_seed(9))
    weights = layer + 0.02 * layer.std() * noise
    weights = weights[~reference.uncertain(weights.double(), representatives)]
    assert_matches_reference(regularizer, reference, weights, 0.3)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("family", sorted(REGULARIZERS))
@pytest.mark.parametrize("size", [2**16 + 1, 2**17 - 1, 2**17 + 1, 2**18 + 17])
def test_regularizer_matches_autograd_on_a_layer_in_chunks(family: str, size: int, squared: bool) -> None:
    layer = torch.randn(size, generator=torch.Generator().manual_seed(size))
    assert_layer_matches_reference(family, PenaltyForm(squared=squared), layer, 4)


@pytest.mark.parametrize("shape", ["normal", "uniform", "heavy-tailed", "two clusters"])
@pytest.mark.parametrize("num_levels", [2, 16, 256])
@pytest.mark.parametrize("family", sorted(REGULARIZERS))
def test_regularizer_matches_autograd_on_a_layer(family: str, num_levels: int, shape: str) -> None:
    layer = 0.05 * draw_weights(shape, 5000, seed=num_levels)
    for fraction in (0.0, 0.9375):
        for initial in ("quantiles", "grid"):
            assert_layer_matches_reference(family, PenaltyForm(initial=initial), layer, num_levels, fraction)


@pytest.mark.parametrize("centre", [-3.0, 0.5, 1000.0])
@pytest.mark.parametrize("num_levels", [2, 16])
@pytest.mark.parametrize("family", sorted(REGULARIZERS))
def test_regularizer_matches_autograd_on_a_layer_far_from_0(family: str, num_levels: int, centre: float) -> None:
    layer = centre * (1 + 2.0**-8 * draw_weights("normal", 20_000, seed=num_levels))
    assert_layer_matches_reference(family, PenaltyForm(), layer, num_levels)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_soft_minimum_of_a_diverged_layer_is_not_finite(broken: float) -> None:
    layer = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    regularizer = REGULARIZERS["RE"](layer, 16, PenaltyForm())
    layer[7] = broken
    gradient = torch.zeros_like(layer)
    regularizer.add_gradient(layer, gradient, 1.0)
    assert (~gradient.isfinite()).nonzero().tolist() == [[7]]


@given(
    values=st.lists(st.floats(-8, 8, width=32, allow_subnormal=False), min_size=1),
    widest=st.floats(2.0**-18, 4),
)
@example(values=[-0.25, 0.5, 0.75], widest=0.25)
def test_dyadic_bins_hold_all_values_without_rounding(values: list[float], widest: float) -> None:
    bins = DyadicBins(min(values), max(values), widest)
    assert widest / 2 < bins.width <= widest
    assert bins.exact
    bin_of, way = bins.positions(torch.tensor(values))
    assert bin_of.amin() == 0
    assert bin_of.amax() == bins.count - 1
    assert way.abs().max() <= 0.5
    # Within half a digit of the way: exact, unless a value is too small beside the bin for its way to hold it.
    error = bins.centres()[bin_of] + way.double() * bins.width - torch.tensor(values, dtype=torch.float64)
    assert error.abs().max() <= 2.0**-25 * bins.width


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("num_levels", [2, 16, 256])
@pytest.mark.parametrize("family", sorted(REGULARIZERS))
def test_regularizer_matches_autograd_when_all_weights_have_become_equal(
    family: str, num_levels: int, bounded: bool
) -> None:
    form = PenaltyForm(bounded=bounded)
    layer = torch.randn(5000, generator=torch.Generator().manual_seed(0))
    regularizer = REGULARIZERS[family](layer, num_levels, form)
    reference = Reference.of(family, form, layer, regularizer.representatives.detach().double())
    for weight in (0.3, -1.7, 9.0):
        assert_matches_reference(regularizer, reference, torch.full((5000,), weight), 1e-3)


intervals = st.tuples(st.floats(-8, 8, width=32), st.floats(2.0**-10, 8, width=32))


@pytest.mark.parametrize("family", STATIC)
@given(interval=intervals, num_levels=st.integers(2, 256))
@example(interval=(-0.25, 0.75), num_levels=2)
def test_static_representatives_are_where_the_method_puts_them(
    family: str, interval: tuple[float, float], num_levels: int
) -> None:
    layer = torch.tensor([interval[0], interval[0] + interval[1]])
    regularizer = REGULARIZERS[family](layer, num_levels, PenaltyForm())
    representatives = regularizer.representatives.detach().double()
    zeros = Reference.of(family, PenaltyForm(), layer, representatives).zeros()
    error = (representatives - torch.tensor(zeros, dtype=torch.float64)).abs().max()
    assert len(representatives) == num_levels
    assert not regularizer.representatives.requires_grad
    assert error <= FLOAT32_EPS * layer.abs().max()


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("num_levels", [2, 3, 5, 16, 256])
@pytest.mark.parametrize("family", STATIC)
def test_static_penalty_is_zero_at_its_representatives_and_nowhere_else(
    family: str, num_levels: int, squared: bool
) -> None:
    form = PenaltyForm(squared=squared, scale=False)
    layer = torch.tensor([-0.5, 0.0, 0.5])
    regularizer = REGULARIZERS[family](layer, num_levels, form)
    reference = Reference.of(family, form, layer, regularizer.representatives.double())
    zeros = torch.tensor(reference.zeros())
    steps = torch.linspace(-1, 1, 19)
    nearby = (zeros[:, None] + reference.spacing * steps).flatten()
    away = (nearby[:, None] - zeros).abs().amin(1) > reference.spacing / 20
    # Rounding a zero to float32 moves it by at most this share of the spacing.
    rounding = num_levels * FLOAT32_EPS
    assert all(regularizer.value(zero[None]) <= math.pi * rounding for zero in zeros)
    assert all(regularizer.value(weight[None]) > math.sin(math.pi / 20) ** 2 for weight in nearby[away])


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("num_levels", [2, 3, 4, 7, 11, 16, 100, 256])
@pytest.mark.parametrize("family", STATIC)
def test_static_gradient_is_zero_at_the_ends_and_constant_beyond(family: str, num_levels: int, squared: bool) -> None:
    for seed in range(20):
        layer = torch.randn(50, generator=torch.Generator().manual_seed(seed))
        regularizer = REGULARIZERS[family](layer, num_levels, PenaltyForm(squared=squared))
        low, high = layer.min(), layer.max()
        weights = torch.stack([low, high, low - 0.5, high + 0.5])
        gradient = torch.zeros(4)
        regularizer.add_gradient(weights, gradient, 1.0)
        # One unit of slope beyond either end, or, when squared, twice the distance.
        torch.testing.assert_close(gradient, torch.tensor([0.0, 0.0, -1.0, 1.0]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("family", STATIC)
def test_static_penalty_is_continuous_at_the_ends(family: str, squared: bool) -> None:
    layer = torch.tensor([-0.5, 0.5])
    regularizer = REGULARIZERS[family](layer, 4, PenaltyForm(squared=squared))
    for end, step in ((0.5, 1e-5), (-0.5, -1e-5)):
        jump = regularizer.value(torch.tensor([end + step])) - regularizer.value(torch.tensor([end - step]))
        assert abs(jump) < 1e-4


@pytest.mark.parametrize("form", [PenaltyForm(), PenaltyForm(squared=True)], ids=["plain", "squared"])
@pytest.mark.parametrize("family", STATIC)
def test_static_penalty_of_equal_weights_is_zero(family: str, form: PenaltyForm) -> None:
    layer = torch.full((7,), 0.3)
    regularizer = REGULARIZERS[family](layer, 4, form)
    gradient = torch.zeros_like(layer)
    regularizer.add_gradient(layer, gradient, 1.0)
    assert regularizer.value(layer) == 0
    assert torch.equal(gradient, torch.zeros_like(layer))


@pytest.mark.parametrize("form", [PenaltyForm(), PenaltyForm(squared=True), PenaltyForm(bounded=True)])
@pytest.mark.parametrize("family", ["RM", "RE"])
def test_gradients_are_zero_midway_between_two_representatives(family: str, form: PenaltyForm) -> None:
    regularizer = REGULARIZERS[family](torch.tensor([-1.0, 1.0]), 2, form)
    assert regularizer.representatives.tolist() == [-1.0, 1.0]
    gradient = torch.zeros(1)
    regularizer.add_gradient(torch.zeros(1), gradient, 1.0)
    assert gradient.item() == 0
    if family == "RM" or form.bounded:  # the soft minimum has no kink, and pulls on both representatives
        assert regularizer.representatives.grad is not None
        assert regularizer.representatives.grad.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("family", sorted(REGULARIZERS))
def test_add_gradient_adds_in_place_to_both_gradients(family: str) -> None:
    layer = torch.randn(500, generator=torch.Generator().manual_seed(0))
    regularizer = REGULARIZERS[family](layer, 8, PenaltyForm())
    trained = regularizer.representatives.requires_grad
    fresh = torch.zeros_like(layer)
    regularizer.add_gradient(layer, fresh, 0.5)
    pulls = regularizer.representatives.grad.clone() if trained else None

    gradients = torch.full((10, 50), 3.0)
    storage = gradients.data_ptr()
    regularizer.add_gradient(layer, gradients.view(-1), 0.5)
    assert gradients.data_ptr() == storage
    torch.testing.assert_close(gradients.view(-1), 3 + fresh)
    assert fresh.abs().max() > 0
    if pulls is not None:
        assert pulls.abs().max() > 0
        torch.testing.assert_close(regularizer.representatives.grad, 2 * pulls)


@pytest.mark.parametrize("family", sorted(REGULARIZERS))
def test_add_gradient_of_strength_zero_changes_nothing(family: str) -> None:
    layer = torch.randn(500, generator=torch.Generator().manual_seed(0))
    regularizer = REGULARIZERS[family](layer, 8, PenaltyForm())
    gradient = torch.randn(500, generator=torch.Generator().manual_seed(1))
    expected = gradient.clone()
    regularizer.add_gradient(layer, gradient, 0.0)
    assert torch.equal(gradient, expected)
    if regularizer.representatives.requires_grad:
        assert regularizer.representatives.grad is not None
        assert not regularizer.representatives.grad.any()


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("family", sorted(REGULARIZERS))
def test_regularizer_leaves_weights_and_representatives_untouched(family: str, squared: bool, bounded: bool) -> None:
    layer = torch.randn(500, generator=torch.Generator().manual_seed(0))
    regularizer = REGULARIZERS[family](layer, 8, PenaltyForm(squared=squared, bounded=bounded))
    weights, representatives = layer.clone(), regularizer.representatives.detach().clone()
    regularizer.add_gradient(layer, torch.zeros_like(layer), 1.0)
    regularizer.value(layer)
    regularizer.progress(0.5)
    assert torch.equal(layer, weights)
    assert torch.equal(regularizer.representatives, representatives)


@pytest.mark.parametrize("initial", ["quantiles", "grid", "kmeans"])
@pytest.mark.parametrize("num_levels", [2, 5, 256])
@pytest.mark.parametrize("family", TRAINED)
def test_trained_representatives_begin_sorted_among_the_weights(family: str, num_levels: int, initial: str) -> None:
    layer = torch.randn(2000, generator=torch.Generator().manual_seed(0))
    regularizer = REGULARIZERS[family](layer, num_levels, PenaltyForm(initial=initial))
    representatives = regularizer.representatives
    assert representatives.requires_grad
    assert representatives.grad is not None
    assert not representatives.grad.any()
    assert len(representatives) == num_levels
    assert (representatives.diff() > 0).all()
    assert layer.min() <= representatives[0]
    assert representatives[-1] <= layer.max()


def test_soft_minimum_tends_to_squared_distance_as_temperature_falls() -> None:
    layer = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    nearest = REGULARIZERS["RM"](layer, 4, PenaltyForm(squared=True)).value(layer)
    form = PenaltyForm(temperature=1.0, final_temperature=1e-6)
    soft = REGULARIZERS["RE"](layer, 4, form)
    gaps = []
    for fraction in (0.0, 0.5, 1.0):
        soft.progress(fraction)
        gaps.append(abs(soft.value(layer) - nearest) / nearest)
    assert gaps[0] > 0.1 > gaps[1] > gaps[2]
    assert gaps[2] < 1e-5


def penalty_after(family: str, fractions: Sequence[float]) -> float:
    layer = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    regularizer = REGULARIZERS[family](layer, 4, PenaltyForm())
    for fraction in fractions:
        regularizer.progress(fraction)
    return regularizer.value(layer)


@pytest.mark.parametrize("family", sorted(REGULARIZERS))
def test_progress_depends_on_the_last_fraction_alone(family: str) -> None:
    assert penalty_after(family, [0.0, 0.25, 0.75]) == penalty_after(family, [0.75])
    assert penalty_after(family, [0.0]) == penalty_after(family, [])
    assert (penalty_after(family, [0.75]) == penalty_after(family, [])) == (family != "RE")
