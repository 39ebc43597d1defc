"""A tree-structured Parzen estimator for two objectives that draws all dimensions of a proposal at once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import moocore
import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState
from scipy.special import ndtr, ndtri

from study.search.optuna_trials import DIRECTIONS
from study.search.rungs import best_by_front
from study.search.space import SearchDimension

STARTUP_TRIALS = 10
"""Number of finished trials before which all proposals are random."""
RANDOM_SHARE = 1 / 3
"""Share of later proposals that are random, so that a wrong density excludes no part of the space."""
CANDIDATES = 64
"""Candidates drawn for each proposal, of which the best one is proposed."""
GOOD_SHARE, MOST_GOOD = 0.1, 25
"""Share of the finished trials that count as good, and the most that do."""
WIDTH = 0.2
"""Width of a kernel as a share of its dimension's range, before it shrinks with the number of trials."""


class JointTPE(BaseSampler):
    """Sampler that proposes the candidate with the highest density among good trials relative to all other trials.

    Both densities are mixtures of one kernel for each trial and a flat one. A kernel is a product over the dimensions.
    For a number (the logarithm of K or λ) it is a normal distribution truncated at the bounds. For a category it is the
    trial's choice with a small weight of all others. In a dimension that the trial does not have it is flat. A
    dimension may exist only at some values of others, such as the family; only those that a proposal has enter its
    density. Good trials are chosen feasible before infeasible, then front by front; a subset that covers it is chosen
    from the last front, as at a rung.

    Running trials count as other trials, so that concurrent proposals differ.

    Optuna's own TPE draws separately for each group of dimensions that trials share; this sampler draws jointly.

    Source: Bergstra et al., "Algorithms for Hyper-Parameter Optimization" (NeurIPS 2011); several objectives: Ozaki et
    al., "Multiobjective Tree-Structured Parzen Estimator" (JAIR 73, 2022); widths of kernels: Watanabe, arXiv
    2304.11127; the random share: Falkner, Klein and Hutter, "BOHB" (ICML 2018).
    """

    def __init__(
        self,
        dimensions: Sequence[SearchDimension] | None,
        seed: int,
        *,
        startup_trials: int = STARTUP_TRIALS,
        random_share: float = RANDOM_SHARE,
    ) -> None:
        """Create the sampler of one proposal.

        Args:
            dimensions: dimensions of the search space; those that one depends on come before it. None for a space that
                is known from earlier trials alone, where every dimension is proposed.
            seed: seed of all draws.
            startup_trials: number of finished trials before which all proposals are random.
            random_share: share of later proposals that are random.
        """
        self._startup_trials, self._random_share = startup_trials, random_share
        self._dimensions = None if dimensions is None else list(dimensions)
        self._seed = seed
        self.reseed_rng()

    def reseed_rng(self) -> None:
        """Start all draws anew from the seed."""
        self._rng = np.random.default_rng(self._seed)
        self._random_sampler = RandomSampler(seed=self._seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the distributions of all dimensions, by parameter name."""
        if self._dimensions is not None:
            return {dimension.name: dimension.distribution for dimension in self._dimensions}
        finished = study.get_trials(deepcopy=False, states=(OptunaState.COMPLETE, OptunaState.PRUNED))
        latest = {name: kind for other in finished for name, kind in other.distributions.items()}
        return {name: kind for name, kind in latest.items() if not kind.single()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return a value for each dimension of a proposal; empty if the proposal is to be random."""
        if self._rng.random() < self._random_share or not search_space:
            return {}
        finished = study.get_trials(deepcopy=False, states=(OptunaState.COMPLETE, OptunaState.PRUNED))
        if len(finished) < self._startup_trials:
            return {}
        running = study.get_trials(deepcopy=False, states=(OptunaState.RUNNING,))
        good, bad = split(finished, self._rng, study.directions)
        space = list(search_space.items())
        likely = Mixture.of(good, space)
        unlikely = Mixture.of([*bad, *(other for other in running if other.number != trial.number)], space)
        candidates = likely.draw(CANDIDATES, self._rng)
        counts = self._counting(candidates, space)
        best = int(np.argmax(likely.log_density(candidates, counts) - unlikely.log_density(candidates, counts)))
        return {
            name: value_of(distribution, candidates[best, place])
            for place, (name, distribution) in enumerate(space)
            if counts[best, place]
        }

    def _counting(self, candidates: np.ndarray, space: Sequence[tuple[str, BaseDistribution]]) -> np.ndarray:
        """Return an array of shape (c, d): whether each of c candidates has each of d dimensions."""
        counts = np.ones(candidates.shape, dtype=bool)
        places = {name: place for place, (name, _) in enumerate(space)}
        conditions = {one.name: one.when for one in self._dimensions or ()}
        for place, (name, _) in enumerate(space):
            for parent, values in conditions.get(name, {}).items():
                at = places[parent]
                allowed = positions_of(space[at][1], values)
                counts[:, place] &= counts[:, at] & np.isin(candidates[:, at], allowed)
        return counts

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return a random value for a parameter that `sample_relative` left out."""
        return self._random_sampler.sample_independent(study, trial, param_name, param_distribution)


def split(
    finished: Sequence[FrozenTrial],
    rng: np.random.Generator,
    directions: Sequence[StudyDirection] = DIRECTIONS,
) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
    """Split trials that were completed or stopped early into the good ones and all others.

    Args:
        finished: trials in the state COMPLETE or PRUNED.
        rng: generator for the choice within a front.
        directions: directions of the objectives.

    Returns:
        The good trials and the others, each in order.
    """
    number = min(math.ceil(GOOD_SHARE * len(finished)), MOST_GOOD)
    missed = np.array([sum(max(0.0, amount) for amount in trial.constraints.values()) for trial in finished])
    complete = np.array([trial.state == OptunaState.COMPLETE for trial in finished])
    good = np.zeros(len(finished), dtype=bool)
    fulfils = complete & (missed <= 0)
    feasible = np.flatnonzero(fulfils)
    if len(feasible) > number:
        values = np.array([trial.values for trial, fine in zip(finished, fulfils, strict=True) if fine])
        good[feasible[_best(values, number, rng, directions)]] = True
    else:  # infeasible trials with the smallest violations follow, and trials that were stopped early come last
        good[np.lexsort((missed, ~complete))[:number]] = True
    return (
        [trial for trial, chosen in zip(finished, good, strict=True) if chosen],
        [trial for trial, chosen in zip(finished, good, strict=True) if not chosen],
    )


def _best(
    values: np.ndarray, number: int, rng: np.random.Generator, directions: Sequence[StudyDirection]
) -> np.ndarray:
    """Return which of n trials, by their objectives (n, m), are the best `number`.

    Accuracy and bits are compared as at a rung; other objectives by rank of non-domination, then by their sum of ranks.
    """
    if tuple(directions) == DIRECTIONS and (values[:, 1] > 0).all():
        return best_by_front(values, number, rng)
    signs = np.array([1.0 if direction == StudyDirection.MINIMIZE else -1.0 for direction in directions])
    signed = np.nan_to_num(values * signs, nan=np.inf)
    front = moocore.pareto_rank(signed) if signed.shape[1] > 1 else np.zeros(len(signed))
    ranks = signed.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable").sum(axis=1)
    chosen = np.zeros(len(values), dtype=bool)
    chosen[np.lexsort((ranks, front))[:number]] = True
    return chosen


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """A mixture density over d dimensions: numbers scaled to [0, 1], and categories by index.

    Attributes:
        centres: shape (n, d): centres of n kernels, in [0, 1] for a number, an index for a category; NaN in a dimension
            where the kernel is flat.
        choices: shape (d,): number of choices of a category, 0 for a number.
        width: standard deviation of the kernels of numbers.
    """

    centres: np.ndarray
    choices: np.ndarray
    width: float

    @classmethod
    def of(cls, trials: Sequence[FrozenTrial], dimensions: Sequence[tuple[str, BaseDistribution]]) -> "Mixture":
        """Return the mixture with a kernel for each trial and a flat one.

        Args:
            trials: trials at which kernels are centred.
            dimensions: names and distributions of the d dimensions.
        """
        centres = np.full((len(trials) + 1, len(dimensions)), np.nan)
        params = [trial.params for trial in trials]
        for place, (name, distribution) in enumerate(dimensions):
            rows = [row for row, trial_params in enumerate(params) if name in trial_params]
            centres[rows, place] = positions_of(distribution, [params[row][name] for row in rows])
        choices = np.array([len(getattr(distribution, "choices", ())) for _, distribution in dimensions])
        shrunk = WIDTH * len(centres) ** (-1 / (len(dimensions) + 4))
        return cls(centres=centres, choices=choices, width=max(shrunk, 1 / min(100, len(centres))))

    @property
    def _others(self) -> np.ndarray:
        """Weights of shape (d,) of every choice of a category, relative to 1 for the kernel's own choice."""
        return np.full(len(self.choices), 1 / len(self.centres))

    def draw(self, number: int, rng: np.random.Generator) -> np.ndarray:
        """Draw points from the density, in all dimensions.

        Args:
            number: number of points.
            rng: generator of the draws.

        Returns:
            Array of shape (number, d).
        """
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
        """Return the logarithm of the density at points.

        Args:
            at: shape (c, d): the points.
            counts: shape (c, d): whether a dimension enters the density at a point.

        Returns:
            Array of shape (c,).
        """
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
    """Return the bounds of a number on its own scale, where an integer extends by half a step to either side."""
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    half = 0.5 if isinstance(distribution, IntDistribution) else 0.0
    low, high = distribution.low - half, distribution.high + half
    return (math.log(low), math.log(high)) if distribution.log else (low, high)


def positions_of(distribution: BaseDistribution, values: Sequence[Any]) -> np.ndarray:
    """Return the positions of n values: indices of a category's choices, or numbers scaled to [0, 1].

    This is the inverse of `value_of`.

    Args:
        distribution: distribution of the dimension.
        values: n values of the dimension.

    Returns:
        Array of shape (n,).
    """
    if isinstance(distribution, CategoricalDistribution):
        return np.array([distribution.choices.index(value) for value in values], dtype=float)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high = _bounds(distribution)
    places = np.asarray(values, dtype=float)
    if distribution.log:
        places = np.log(np.maximum(places, np.finfo(float).tiny))
    # A trial may lie outside, where a study changes the bounds of a dimension as it goes on.
    return np.clip((places - low) / (high - low), 0.0, 1.0) if high > low else np.full(len(values), 0.5)


def value_of(distribution: BaseDistribution, position: float) -> Any:
    """Return the value of a dimension at a position, as in `positions_of`."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(position)]
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high = _bounds(distribution)
    value = low + position * (high - low)
    value = math.exp(value) if distribution.log else value
    if distribution.step is not None:
        value = distribution.low + distribution.step * round((value - distribution.low) / distribution.step)
    kind = int if isinstance(distribution, IntDistribution) else float
    return kind(min(max(value, distribution.low), distribution.high))
