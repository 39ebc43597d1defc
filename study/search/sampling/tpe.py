"""A tree-structured Parzen estimator for two objectives that draws all dimensions of a proposal at once."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import moocore
import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from study.search.optuna_trials import DIRECTIONS
from study.search.rungs import best_by_front
from study.search.sampling.mixture import Mixture, positions_of, value_of
from study.search.space import SearchDimension

STARTUP_TRIALS = 10
"""Number of finished trials before which all proposals are random."""
RANDOM_SHARE = 1 / 3
"""Share of later proposals that are random, so that a wrong density excludes no part of the space."""
CANDIDATES = 64
"""Candidates drawn for each proposal, of which the best one is proposed."""
GOOD_SHARE, MOST_GOOD = 0.1, 25
"""Share of the finished trials in sight that count as good, and the most that do, in studies of earlier versions."""
MOST_GOOD_OF_STUDY = 50
"""Most finished trials that count as good, where the share is one of all finished trials of the study.

It is half of a window, which holds that many of the best.
"""


@dataclass(frozen=True, kw_only=True)
class StudyKnowledge:
    """Knowledge about a study that a window of its trials does not show.

    Attributes:
        finished: number of finished trials.
        is_taken: function that returns whether the trials of a configuration, given its parameters, have all begun.
    """

    finished: int
    is_taken: Callable[[Mapping[str, Any]], bool]


class JointTPE(BaseSampler):
    """Sampler that proposes the candidate with the highest density among good trials relative to all other trials.

    Both densities are mixtures of one kernel for each trial and a flat one. A kernel is a product over the dimensions.
    For a number (the logarithm of K or λ) it is a normal distribution truncated at the bounds. For a category it is the
    trial's choice with a small weight of all others. In a dimension that the trial does not have it is flat. A
    dimension may exist only at some values of others, such as the family; only those that a proposal has enter its
    density. Good trials are chosen feasible before infeasible, then front by front; a subset that covers it is chosen
    from the last front, as at a rung. A tenth of all finished trials of the study counts as good, up to 50.

    Running trials count as other trials, and a configuration whose trials have all begun is passed over, so that
    concurrent proposals differ.

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
        knowledge: StudyKnowledge | None = None,
    ) -> None:
        """Create the sampler of one proposal.

        Args:
            dimensions: dimensions of the search space; those that one depends on come before it. None for a space that
                is known from earlier trials alone, where every dimension is proposed.
            seed: seed of all draws.
            startup_trials: number of finished trials before which all proposals are random.
            random_share: share of later proposals that are random.
            knowledge: knowledge about the whole study; None to propose from the trials in sight alone, as in studies of
                earlier versions.
        """
        self._knowledge = knowledge
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
        good, bad = split(finished, self._rng, study.directions, self._number_of_good(len(finished)))
        space = list(search_space.items())
        likely = Mixture.of(good, space)
        unlikely = Mixture.of([*bad, *(other for other in running if other.number != trial.number)], space)
        candidates = likely.draw(CANDIDATES, self._rng)
        counts = self._counting(candidates, space)
        scores = likely.log_density(candidates, counts) - unlikely.log_density(candidates, counts)
        for best in np.argsort(-scores, kind="stable"):
            params = {
                name: value_of(distribution, candidates[best, place])
                for place, (name, distribution) in enumerate(space)
                if counts[best, place]
            }
            if self._knowledge is None or not self._knowledge.is_taken(params):
                return params
        return {}

    def _number_of_good(self, in_sight: int) -> int:
        """Return how many of the finished trials in sight count as good."""
        if self._knowledge is None:
            return min(math.ceil(GOOD_SHARE * in_sight), MOST_GOOD)
        finished = max(in_sight, self._knowledge.finished)
        return min(math.ceil(GOOD_SHARE * finished), MOST_GOOD_OF_STUDY, math.ceil(in_sight / 2))

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
    number: int | None = None,
) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
    """Split trials that were completed or stopped early into the good ones and all others.

    Args:
        finished: trials in the state COMPLETE or PRUNED.
        rng: generator for the choice within a front.
        directions: directions of the objectives.
        number: number of good trials; a tenth if None, and at most 25.

    Returns:
        The good trials and the others, each in order.
    """
    if number is None:
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
