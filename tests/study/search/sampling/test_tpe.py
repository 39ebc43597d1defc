"""The joint Parzen estimator: densities that are densities, good trials that are good, and a search that learns."""

import itertools
import math

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, create_trial
from optuna.trial import TrialState as OptunaState
from scipy.integrate import quad

from study.config import Space
from study.config.sections import FloatRange, Levels
from study.search.sampling.mixture import Mixture, positions_of, value_of
from study.search.sampling.tpe import MOST_GOOD, JointTPE, split
from study.search.space import dimensions, distributions, suggest
from trainables.families import FAMILIES

SPACE = Space(
    family=["none", "RS", "RE"],
    num_levels=Levels(low=2, high=9),
    lam=FloatRange(low=1e-5, high=1e-2),
    placement=["own", "kmeans", "uniform"],
)
DIMENSIONS = list((distributions(SPACE, "none") | distributions(SPACE, "RS")).items())
NAMES = [name for name, _ in DIMENSIONS]


def trial(
    family: str,
    values: tuple[float, float] | None = None,
    constraints: dict[str, float] | None = None,
    **params: object,
) -> FrozenTrial:
    """A trial of that family with the first of every choice, or what is given."""
    of_family = distributions(SPACE, family)
    chosen = {"family": family, "num_levels": 4, "lam": 1e-3} | params
    chosen = {name: chosen.get(name, getattr(kind, "choices", (None,))[0]) for name, kind in of_family.items()}
    state = OptunaState.PRUNED if values is None else OptunaState.COMPLETE
    return create_trial(
        state=state, params=chosen, distributions=of_family, values=values, constraints=constraints or {}
    )


TRIALS = [trial("RS", num_levels=2), trial("RE", lam=1e-5, placement="uniform"), trial("none", num_levels=9)]


@pytest.mark.parametrize("trials", [[], TRIALS[:1], TRIALS])
def test_density_of_all_dimensions_integrates_to_one(trials: list[FrozenTrial]) -> None:
    mixture = Mixture.of(trials, DIMENSIONS)
    numbers = [place for place, count in enumerate(mixture.choices) if not count]
    nodes, weights = np.polynomial.legendre.leggauss(60)
    grid = np.array(list(itertools.product((nodes + 1) / 2, repeat=len(numbers))))
    masses = np.array([math.prod(cell) for cell in itertools.product(weights / 2, repeat=len(numbers))])
    total = 0.0
    for names in itertools.product(*(range(max(1, count)) for count in mixture.choices)):
        at = np.tile(np.array(names, dtype=float), (len(grid), 1))
        at[:, numbers] = grid
        total += float(np.exp(mixture.log_density(at, np.ones(at.shape, dtype=bool))) @ masses)
    assert total == pytest.approx(1.0, abs=1e-6)


def test_density_leaves_out_what_does_not_count() -> None:
    mixture = Mixture.of(TRIALS, DIMENSIONS)
    lam = NAMES.index("lam")
    at = np.tile(mixture.centres[0], (2, 1))
    at = np.where(np.isnan(at), 0.0, at)
    at[1, lam] = 0.9
    counts = np.ones(at.shape, dtype=bool)
    seen = mixture.log_density(at, counts)
    counts[:, lam] = False
    unseen = mixture.log_density(at, counts)
    assert seen[0] != seen[1]
    assert unseen[0] == unseen[1]


def test_draws_follow_the_density() -> None:
    mixture = Mixture.of(TRIALS, DIMENSIONS)
    drawn = mixture.draw(40_000, np.random.default_rng(0))
    for place, (name, _) in enumerate(DIMENSIONS):
        counts = np.zeros((1, len(DIMENSIONS)), dtype=bool)
        counts[0, place] = True

        def density(at: float, place: int = place, counts: np.ndarray = counts) -> float:
            point = np.zeros((1, len(DIMENSIONS)))
            point[0, place] = at
            return math.exp(mixture.log_density(point, counts)[0])

        if mixture.choices[place]:
            for choice in range(mixture.choices[place]):
                assert (drawn[:, place] == choice).mean() == pytest.approx(density(choice), abs=0.01), name
        else:
            for low, high in itertools.pairwise((0.0, 0.1, 0.3, 0.6, 1.0)):
                share = ((drawn[:, place] >= low) & (drawn[:, place] < high)).mean()
                assert share == pytest.approx(quad(density, low, high)[0], abs=0.01), name


@given(st.sampled_from(sorted(FAMILIES)), st.integers(2, 9), st.floats(1e-5, 1e-2))
def test_positions_lead_back_to_the_values(family: str, num_levels: int, lam: float) -> None:
    space = SPACE.model_copy(update={"family": sorted(FAMILIES)})
    for name, distribution in distributions(space, family).items():
        value = {"num_levels": num_levels, "lam": lam, "family": family}.get(name)
        if value is None:
            assert isinstance(distribution, CategoricalDistribution)
            value = distribution.choices[-1]
        (position,) = positions_of(distribution, [value])
        assert value_of(distribution, position) == (pytest.approx(value) if name == "lam" else value)
        for edge in (0.0, 1.0):
            if isinstance(distribution, IntDistribution | FloatDistribution):
                assert distribution.low <= value_of(distribution, edge) <= distribution.high


POINTS = st.tuples(st.integers(0, 5).map(lambda fifths: fifths / 5), st.integers(1, 6).map(float))


@given(st.lists(st.none() | POINTS, min_size=10, max_size=60), st.integers(0, 3))
def test_no_other_trial_dominates_a_good_one(points: list[tuple[float, float] | None], seed: int) -> None:
    finished = [trial("RS", values) for values in points]
    good, bad = split(finished, np.random.default_rng(seed))
    assert len(good) == min(math.ceil(len(finished) / 10), MOST_GOOD)
    assert len(good) + len(bad) == len(finished)
    complete = [other for other in bad if other.values]
    assert all(one.values for one in good) or not complete
    for one, other in itertools.product(good, complete):
        assert not (other.values[0] > one.values[0] and other.values[1] < one.values[1])


def test_good_trials_fulfil_the_constraints_first() -> None:
    finished = [
        trial("RS", (accuracy, 1 + accuracy), {"val_accuracy >= 0.9": 0.9 - accuracy})
        for accuracy in np.arange(20) / 20
    ]
    good, _ = split(finished, np.random.default_rng(0))
    assert all(one.values[0] >= 0.9 for one in good)


def test_search_draws_near_what_is_good() -> None:
    sampler = JointTPE(dimensions(SPACE), seed=0)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        searched = suggest(trial, SPACE)
        miss = abs(math.log10(searched["lam"]) + 4) if searched["family"] == "RE" else 3.0
        return 1 - 0.2 * miss - 0.3 / searched["num_levels"], math.log2(searched["num_levels"])

    study.optimize(objective, n_trials=150)
    late = study.trials[75:]
    chosen = [one.params for one in late if one.params["family"] == "RE"]
    assert len(chosen) > 0.55 * len(late), "of three families the one that is better at every K"
    near = [params for params in chosen if abs(math.log10(params["lam"]) + 4) < 0.5]
    assert len(near) > 0.5 * len(chosen), "of three decades of λ the one around the best"
