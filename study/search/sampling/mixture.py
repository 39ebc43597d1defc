"""Density of trials over the search space: a mixture of kernels, one for each trial."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial
from scipy.special import ndtr, ndtri

WIDTH = 0.2
"""Width of a kernel as a share of its dimension's range, before it shrinks with the number of trials."""


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
            if choices == 1:
                continue
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
