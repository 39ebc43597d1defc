"""A tree-structured Parzen estimator for two objectives that draws all dimensions of a proposal at once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState
from scipy.special import ndtr, ndtri

from study.config import Space
from study.search.rungs import best_by_front
from study.search.space import distributions

BEGINNINGS = 10
"""Finished trials before which all is drawn at random."""
RANDOM_SHARE = 1 / 3
"""Of the proposals after those, drawn at random all the same, so that a wrong density shuts nothing out."""
CANDIDATES = 64
"""Drawn for each proposal; the best of them is taken."""
GOOD_SHARE, MOST_GOOD = 0.1, 25
"""Of the finished trials, which count as good ones."""
WIDTH = 0.2
"""Of a kernel, as a share of its dimension, before it shrinks with the number of trials."""


class JointTPE(BaseSampler):
    """Proposes what is much more likely among the good trials than among all others.

    Both densities are mixtures with a kernel for each trial and a flat one. A kernel is a product over the dimensions:
    a normal cut off at the bounds where a dimension is a number (the logarithm of K or λ), the trial's own choice and a
    little of all others where it is a name; flat in a dimension that the trial does not have. The family decides which
    dimensions a proposal has, and only those count. The good trials are feasible before infeasible, then front by
    front, and of the front that is not taken whole those that cover it best, as at a rung.

    Running trials count among the others, so that trials side by side don't flock to one place.

    Optuna's own TPE draws once for each group of dimensions that trials have in common; this draws once for all.

    Source: Bergstra et al., "Algorithms for Hyper-Parameter Optimization" (NeurIPS 2011); several objectives: Ozaki et
    al., "Multiobjective Tree-Structured Parzen Estimator" (JAIR 73, 2022); widths of kernels: Watanabe, arXiv
    2304.11127; the random share: Falkner, Klein and Hutter, "BOHB" (ICML 2018).
    """

    def __init__(self, space: Space, seed: int) -> None:
        self._of_family = {family: distributions(space, family) for family in space.family}
        self._rng = np.random.default_rng(seed)
        self._beginner = RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {name: kind for of_family in self._of_family.values() for name, kind in of_family.items()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """One value for each dimension of a proposal; none as long as there is little to learn from."""
        if self._rng.random() < RANDOM_SHARE:
            return {}
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        if len(finished) < BEGINNINGS:
            return {}
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        good, bad = split(finished, self._rng)
        dimensions = list(search_space.items())
        likely = Mixture.of(good, dimensions)
        unlikely = Mixture.of([*bad, *(other for other in running if other.number != trial.number)], dimensions)
        candidates = likely.draw(CANDIDATES, self._rng)
        counts = self._counting(candidates, search_space)
        best = int(np.argmax(likely.log_density(candidates, counts) - unlikely.log_density(candidates, counts)))
        return {
            name: value_of(distribution, candidates[best, place])
            for place, (name, distribution) in enumerate(dimensions)
            if counts[best, place]
        }

    def _counting(self, candidates: np.ndarray, search_space: dict[str, BaseDistribution]) -> np.ndarray:
        """(c, d): whether a candidate, by its family, has a dimension."""
        names = list(search_space)
        had = np.array([[name in of_family for name in names] for of_family in self._of_family.values()])
        counts: np.ndarray = had[candidates[:, names.index("family")].astype(int)]
        return counts

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._beginner.sample_independent(study, trial, param_name, param_distribution)


def split(finished: Sequence[FrozenTrial], rng: np.random.Generator) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
    """The good trials and the others, of those that were trained to their end or stopped early."""
    number = min(math.ceil(GOOD_SHARE * len(finished)), MOST_GOOD)
    missed = np.array([sum(max(0.0, amount) for amount in trial.constraints.values()) for trial in finished])
    complete = np.array([trial.state == TrialState.COMPLETE for trial in finished])
    good = np.zeros(len(finished), dtype=bool)
    fulfils = complete & (missed <= 0)
    feasible = np.flatnonzero(fulfils)
    if len(feasible) > number:
        values = np.array([trial.values for trial, fine in zip(finished, fulfils, strict=True) if fine])
        good[feasible[best_by_front(values, number, rng)]] = True
    else:  # what misses the constraints by little fills up; what was stopped early comes last
        good[np.lexsort((missed, ~complete))[:number]] = True
    return (
        [trial for trial, chosen in zip(finished, good, strict=True) if chosen],
        [trial for trial, chosen in zip(finished, good, strict=True) if not chosen],
    )


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """A density over the unit cube of the numbers and the choices of the names.

    Attributes:
        centres: (n, d): where the trials lie, in [0, 1] for a number, the index of a choice for a name; NaN where a
            trial doesn't have the dimension.
        choices: (d,): how many choices a name has, 0 for a number.
        width: standard deviation of the kernels of numbers.
    """

    centres: np.ndarray
    choices: np.ndarray
    width: float

    @classmethod
    def of(cls, trials: Sequence[FrozenTrial], dimensions: Sequence[tuple[str, BaseDistribution]]) -> "Mixture":
        """A kernel for each trial, and a flat one at the end."""
        centres = np.full((len(trials) + 1, len(dimensions)), np.nan)
        params = [trial.params for trial in trials]
        for place, (name, distribution) in enumerate(dimensions):
            having = [row for row, of_trial in enumerate(params) if name in of_trial]
            centres[having, place] = positions_of(distribution, [params[row][name] for row in having])
        choices = np.array([len(getattr(distribution, "choices", ())) for _, distribution in dimensions])
        shrunk = WIDTH * len(centres) ** (-1 / (len(dimensions) + 4))
        return cls(centres=centres, choices=choices, width=max(shrunk, 1 / min(100, len(centres))))

    @property
    def _others(self) -> np.ndarray:
        """(d,): the weight of every choice of a name, beside 1 for the trial's own."""
        return np.full(len(self.choices), 1 / len(self.centres))

    def draw(self, number: int, rng: np.random.Generator) -> np.ndarray:
        """(number, d) from the density, all dimensions whether they count or not."""
        centres = self.centres[rng.integers(len(self.centres), size=number)]
        flat = np.isnan(centres)
        shares = rng.random(centres.shape)
        low, high = ndtr((0 - centres) / self.width), ndtr((1 - centres) / self.width)
        numbers = np.clip(centres + self.width * ndtri(low + shares * (high - low)), 0.0, 1.0)
        numbers = np.where(flat, shares, numbers)
        anywhere = np.floor(shares * self.choices)
        others = self._others
        stays = rng.random(centres.shape) < 1 / (1 + others * self.choices)
        names = np.where(flat | ~stays, anywhere, centres)
        return np.where(self.choices > 0, names, numbers)

    def log_density(self, at: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """(c,): logarithm at the points `at`, (c, d), over those dimensions that `counts`, (c, d), is true for."""
        total = np.zeros((len(at), len(self.centres)))
        others = self._others
        for place, choices in enumerate(self.choices):
            centre, here = self.centres[:, place], at[:, place, None]
            if choices:
                kernel = np.log(((here == centre) + others[place]) / (1 + others[place] * choices))
                flat = -math.log(choices)
            else:
                mass = ndtr((1 - centre) / self.width) - ndtr((0 - centre) / self.width)
                scale = np.log(self.width * math.sqrt(2 * math.pi) * mass)
                kernel = -(((here - centre) / self.width) ** 2) / 2 - scale
                flat = 0.0
            total += np.where(counts[:, place, None], np.where(np.isnan(centre), flat, kernel), 0.0)
        most = total.max(1, keepdims=True)
        density: np.ndarray = most[:, 0] + np.log(np.exp(total - most).mean(1))
        return density


def _bounds(distribution: BaseDistribution) -> tuple[float, float]:
    """Of a number, on its own scale; an integer owns half a step to either side."""
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    half = 0.5 if isinstance(distribution, IntDistribution) else 0.0
    low, high = distribution.low - half, distribution.high + half
    return (math.log(low), math.log(high)) if distribution.log else (low, high)


def positions_of(distribution: BaseDistribution, values: Sequence[Any]) -> np.ndarray:
    """(n,): indices of a name's choices, or places of numbers in [0, 1]; the inverse of `value_of`."""
    if isinstance(distribution, CategoricalDistribution):
        return np.array([distribution.choices.index(value) for value in values], dtype=float)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high = _bounds(distribution)
    places = np.asarray(values, dtype=float)
    places = np.log(places) if distribution.log else places
    return (places - low) / (high - low) if high > low else np.full(len(values), 0.5)


def value_of(distribution: BaseDistribution, position: float) -> Any:
    """The value of a dimension at a position."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(position)]
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high = _bounds(distribution)
    value = low + position * (high - low)
    value = math.exp(value) if distribution.log else value
    value = round(value) if isinstance(distribution, IntDistribution) else value
    return min(max(value, distribution.low), distribution.high)
