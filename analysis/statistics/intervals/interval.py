"""The interval of a statistic, and the checks that all intervals share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

Values = Sequence[float] | np.ndarray | pd.Series
Rng = np.random.Generator | int


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A statistic with the bounds of its interval, in the statistic's unit.

    Attributes:
        estimate: the statistic of the values themselves.
        low: lower bound; NaN if the values do not determine it.
        high: upper bound; NaN if the values do not determine it.
    """

    estimate: float
    low: float
    high: float


def without_bounds(estimate: float) -> Interval:
    """Return an interval whose bounds are NaN, for values that have no spread to estimate."""
    return Interval(estimate=estimate, low=float("nan"), high=float("nan"))


def finite_sample(name: str, values: Values) -> np.ndarray:
    """Return values as a finite array, (n,) with n ≥ 1.

    Args:
        name: the values' name in messages.
        values: (n,).

    Raises:
        ValueError: the values are empty, not finite, or not one-dimensional.
    """
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must be one-dimensional and not empty, got shape {array.shape}; flatten or fill it")
    if not np.isfinite(array).all():
        bad = (~np.isfinite(array)).sum()
        raise ValueError(f"{name} must be finite, got {bad} of {array.size} that are not; leave them out first")
    return array


def nonnegative_sample(name: str, values: Values) -> np.ndarray:
    """Return values as a finite array of numbers of at least 0, (n,); raises as `finite_sample` does."""
    sample = finite_sample(name, values)
    if (sample < 0).any():
        raise ValueError(f"{name} must be at least 0, got {sample.min():g}; swap or shift the values")
    return sample


def check_confidence(confidence: float) -> None:
    """Raise ValueError unless a confidence is in (0, 1)."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be above 0 and below 1, got {confidence}; choose 0.95 or so")
