"""Placement of representatives: k-means against an exact solver, the others by hand and by brute force."""

import kmeans1d
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from trainables.codebooks.assignment import assign
from trainables.codebooks.kmeans import kmeans
from trainables.codebooks.placement import grid, midpoints, place_representatives, quantiles

NUM_LEVELS = [2, 3, 4, 8, 16, 32, 64, 128, 256]


def draw_weights(distribution: str, size: int, seed: int) -> np.ndarray:
    """Weights of a layer, float32."""
    rng = np.random.default_rng(seed)
    draws = {
        "normal": lambda: rng.normal(0, 0.05, size),
        "laplace": lambda: rng.laplace(0, 0.05, size),
        "student-t": lambda: rng.standard_t(3, size),
        "student-t-2": lambda: rng.standard_t(2, size),
        "uniform": lambda: rng.uniform(-1, 1, size),
        "constant": lambda: np.full(size, 0.3),
        "repeated": lambda: rng.choice(rng.normal(0, 1, 300), size),
        "clusters": lambda: rng.choice([-1.0, 0.0, 0.5, 2.0], size) + rng.normal(0, 0.01, size),
    }
    return draws[distribution]().astype(np.float32)


def squared_error(weights: np.ndarray, codebook: np.ndarray) -> float:
    """Return the squared error of quantization to the nearest value of a sorted codebook."""
    codebook = codebook.astype(np.float64)
    levels = np.searchsorted((codebook[1:] + codebook[:-1]) / 2, weights)
    return float(np.square(weights.astype(np.float64) - codebook[levels]).sum())


@pytest.mark.parametrize("num_levels", NUM_LEVELS)
@pytest.mark.parametrize(
    ("distribution", "size", "seed"),
    [
        ("normal", 5000, 0),
        ("normal", 20000, 1),
        ("laplace", 5000, 2),
        ("laplace", 5000, 3),
        ("student-t", 5000, 4),
        ("student-t", 20000, 5),
        ("student-t-2", 5000, 6),
        ("student-t-2", 5000, 7),
        ("uniform", 5000, 8),
        ("uniform", 5000, 9),
        ("constant", 5000, 10),
        ("repeated", 5000, 11),
        ("repeated", 5000, 12),
        ("clusters", 5000, 13),
    ],
)
def test_kmeans_is_within_a_hundredth_of_the_optimum(distribution: str, size: int, seed: int, num_levels: int) -> None:
    weights = draw_weights(distribution, size, seed)
    codebook = kmeans(torch.from_numpy(weights), num_levels)
    assert len(codebook) == num_levels
    assert codebook.dtype == torch.float32
    assert (codebook.diff() >= 0).all()
    optimum = squared_error(weights, np.sort(kmeans1d.cluster(weights.astype(np.float64), num_levels).centroids))
    # Rounding the optimum's values to float32 costs this much.
    rounding = size * float(np.square(np.abs(weights).max() * 2.0**-24))
    excess = squared_error(weights, codebook.numpy()) - rounding
    assert excess <= 1.01 * optimum, f"{excess / optimum:.4f} times the optimum"


@given(
    weights=st.lists(st.integers(-50, 50), min_size=1, max_size=60).map(lambda steps: torch.tensor(steps) / 8),
    num_levels=st.integers(2, 20),
)
def test_kmeans_is_sorted_deterministic_and_within_the_weights(weights: Tensor, num_levels: int) -> None:
    codebook = kmeans(weights, num_levels)
    assert torch.equal(codebook, kmeans(weights, num_levels))
    assert torch.equal(codebook, kmeans(weights.flip(0), num_levels))
    assert len(codebook) == num_levels
    assert (codebook.diff() >= 0).all()
    assert weights.min() <= codebook[0]
    assert codebook[-1] <= weights.max()


@given(
    values=st.lists(st.integers(-99, 99), min_size=1, max_size=8, unique=True),
    repeats=st.integers(1, 5),
    spare=st.integers(0, 4),
)
def test_kmeans_keeps_every_value_when_levels_suffice(values: list[int], repeats: int, spare: int) -> None:
    weights = torch.tensor(values * repeats) / 16
    codebook = kmeans(weights, max(2, len(values) + spare))
    assert codebook.unique().tolist() == weights.unique().tolist()


@given(
    weights=st.lists(st.integers(-64, 64), min_size=1, max_size=50).map(lambda steps: torch.tensor(steps) / 16),
    representatives=st.lists(st.integers(-40, 40), min_size=2, max_size=12).map(
        lambda steps: torch.tensor(sorted(steps)) / 8
    ),
)
def test_assign_is_the_nearest_level_and_the_lower_on_a_tie(weights: Tensor, representatives: Tensor) -> None:
    distances = (weights.double()[:, None] - representatives.double()).abs()
    brute_force = distances.argmin(1)  # the first of equal minima
    levels = assign(weights, representatives)
    assert levels.dtype == torch.int32
    assert torch.equal(representatives[levels.long()], representatives[brute_force])
    distinct = representatives.unique()
    assert torch.equal(assign(weights, distinct).long(), (weights.double()[:, None] - distinct).abs().argmin(1))


def test_assign_keeps_the_shape_of_the_weights() -> None:
    weights = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    levels = assign(weights, torch.tensor([-1.0, 0.0, 1.0]))
    assert levels.shape == weights.shape
    assert torch.equal(levels.flatten(), assign(weights.flatten(), torch.tensor([-1.0, 0.0, 1.0])))


def test_grid_and_midpoints_match_their_formulas() -> None:
    assert grid(-1.0, 2.0, 4).tolist() == [-1.0, 0.0, 1.0, 2.0]
    assert midpoints(-1.0, 2.0, 3).tolist() == [-0.5, 0.5, 1.5]
    assert midpoints(0.5, 0.5, 4).tolist() == [0.5] * 4


@given(
    low=st.floats(-10, 10, width=32),
    width=st.floats(0, 10, width=32),
    num_levels=st.integers(2, 300),
)
def test_midpoints_are_centred_in_equal_bins(low: float, width: float, num_levels: int) -> None:
    edges = np.linspace(low, low + width, num_levels + 1)
    np.testing.assert_allclose(midpoints(low, low + width, num_levels), (edges[1:] + edges[:-1]) / 2, atol=1e-12)
    np.testing.assert_allclose(grid(low, low + width, num_levels + 1), edges, atol=1e-12)


def test_quantiles_are_the_medians_of_equal_groups() -> None:
    shuffled = torch.randperm(15, generator=torch.Generator().manual_seed(0)).float()
    assert quantiles(shuffled, 3).tolist() == [2.0, 7.0, 12.0]
    assert quantiles(shuffled, 5).tolist() == [1.0, 4.0, 7.0, 10.0, 13.0]


@given(weights=st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=30), num_levels=st.integers(2, 40))
def test_quantiles_are_weights_in_increasing_order(weights: list[float], num_levels: int) -> None:
    representatives = quantiles(torch.tensor(weights), num_levels)
    assert len(representatives) == num_levels
    assert (representatives.diff() >= 0).all()
    assert set(representatives.tolist()) <= set(torch.tensor(weights).tolist())


def test_place_takes_what_its_name_says() -> None:
    weights = torch.randn(300, generator=torch.Generator().manual_seed(0))
    own = torch.tensor([-1.0, 0.0, 0.25, 1.0], dtype=torch.float64)
    low, high = weights.min().item(), weights.max().item()
    for family_has_own in (own, None):
        assert torch.equal(place_representatives("kmeans", weights, 4, family_has_own), kmeans(weights, 4))
        assert torch.equal(
            place_representatives("uniform", weights, 4, family_has_own), midpoints(low, high, 4).float()
        )
    assert torch.equal(place_representatives("own", weights, 4, own), own.float())


@pytest.mark.parametrize(("placement", "own"), [("own", None), ("nearest", None), ("nearest", torch.zeros(4))])
def test_place_lists_its_choices_when_the_name_is_unknown(placement: str, own: Tensor | None) -> None:
    with pytest.raises(ValueError, match=f"placement '{placement}'.*choose from .*kmeans.*uniform") as error:
        place_representatives(placement, torch.arange(8.0), 4, own)
    assert ("'own', 'uniform'" in str(error.value)) == (own is not None)
