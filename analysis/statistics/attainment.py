"""Empirical attainment: the accuracy that a share of the runs reaches within a number of bits."""

import math
from collections.abc import Sequence

import moocore
import numpy as np
import pandas as pd

from analysis.statistics.pareto import BITS, candidates


def attainment_surfaces(
    trials: pd.DataFrame,
    quantiles: Sequence[float] = (0.25, 0.5, 0.75),
    *,
    by: str = "seed",
    accuracy: str = "val_accuracy",
    cost: str = BITS,
) -> pd.DataFrame:
    """Return the corners of the surfaces that given shares of the runs attain; 0.5 is the median front.

    A run attains an accuracy at some bits if its front has a point that is no worse in both. The surface of a quantile
    q is the best that at least ⌈q n⌉ of n runs attain. It falls as q grows; 1 is the worst case.
    The comparison is fair only if each run trained the same configurations.

    Args:
        trials: rows of trials.parquet, for example those of one family.
        quantiles: in (0, 1], in any order.
        by: column that names the run of a trial. A run with quantized trials and no complete one counts; it attains
            nothing.
        accuracy: column of the accuracy; `test_accuracy` for confirmed trials.
        cost: column of the cost, bits per weight by default; trials without a value are left out.

    Returns:
        Columns `quantile`, that of the cost and that of the accuracy, one row per corner: from this cost up to the next
        corner of the quantile, the surface is at that accuracy. Rows are ordered by quantile as given, then by
        increasing cost. A quantile that no point attains has no row.

    Raises:
        ValueError: a quantile is out of range, there is no column `by`, or a trial has a null in it.

    Source: Fonseca, Guerreiro, López-Ibáñez and Paquete, "On the computation of the empirical attainment function"
    (EMO 2011), as moocore computes it.
    """
    for quantile in quantiles:
        if not 0 < quantile <= 1:
            raise ValueError(f"quantiles must be above 0 and at most 1, got {quantile}; 0.5 is the median")
    if by not in trials.columns:
        raise ValueError(f"by must be a column of the trials, got {by!r}; choose from {sorted(trials.columns)}")
    runs = trials.loc[trials["num_levels"].notna(), by]
    if runs.isna().any():
        raise ValueError(f"every quantized trial needs a {by}, got {runs.isna().sum()} nulls; leave these trials out")
    complete = candidates(trials, accuracy)
    complete = complete[complete[cost].notna()]
    points = np.column_stack([complete[cost].astype(float), -complete[accuracy]])
    run_of_point, _ = pd.factorize(complete[by])
    surfaces = [_surface(points, run_of_point, _needed(quantile, runs.nunique())) for quantile in quantiles]
    corners = np.concatenate([np.empty((0, 2)), *surfaces])
    return pd.DataFrame(
        {
            "quantile": np.repeat(np.array(quantiles, dtype=float), [len(surface) for surface in surfaces]),
            cost: corners[:, 0],
            accuracy: -corners[:, 1],
        }
    )


def attainment_difference(
    first: pd.DataFrame,
    second: pd.DataFrame,
    *,
    by: str = "seed",
    accuracy: str = "val_accuracy",
    cost: str = BITS,
) -> pd.DataFrame:
    """Return where more runs of one set of trials attain an accuracy than of another.

    Only runs that both have are compared, so that shares are of the same number of runs.

    Args:
        first: rows of trials.parquet, for example those of one family.
        second: rows of another family.
        by: column that names the run of a trial.
        accuracy: column of the accuracy; `test_accuracy` for confirmed trials.
        cost: column of the cost, as in `attainment_surfaces`.

    Returns:
        Rectangles, one a row: columns `cost_low`, `cost_high`, `accuracy_low`, `accuracy_high` (infinite without an
        end), `difference` (share of the runs of `first` that attain the rectangle, less that of `second`, not 0) and
        `runs` (number of common runs). No rows without a common run.

    Source: López-Ibáñez, Paquete and Stützle, "Exploratory analysis of stochastic local search algorithms in
    biobjective optimization" (2010), as moocore computes it.
    """
    complete = [candidates(trials, accuracy) for trials in (first, second)]
    complete = [trials[trials[cost].notna()] for trials in complete]
    common = sorted(set(complete[0][by]) & set(complete[1][by]))
    columns = ["cost_low", "accuracy_high", "cost_high", "accuracy_low", "difference"]
    if not common:
        return pd.DataFrame(columns=[*columns, "runs"], dtype=float)
    sets = []
    for trials in complete:
        rows = trials[trials[by].isin(common)].sort_values(by, kind="stable")
        run = np.searchsorted(common, rows[by]) + 1
        sets.append(np.column_stack([rows[cost].astype(float), -rows[accuracy], run]))
    try:
        differing = moocore.eafdiff(*sets, rectangles=True)
    except ValueError as error:  # moocore can't shape the empty result of two families that attain the same
        if "cannot reshape array of size 0" not in str(error):
            raise
        differing = np.empty((0, len(columns)))
    rectangles = pd.DataFrame(differing, columns=columns)
    rectangles[["accuracy_high", "accuracy_low"]] *= -1
    rectangles["difference"] /= len(common)
    return rectangles[rectangles["difference"] != 0].assign(runs=len(common)).reset_index(drop=True)


def _needed(quantile: float, runs: int) -> int:
    """Return ⌈q n⌉, allowing for rounding: 0.07 × 100 is 7.000000000000001."""
    return math.ceil(quantile * runs - 1e-9)


def _surface(points: np.ndarray, run_of_point: np.ndarray, needed: int) -> np.ndarray:
    """Return the corners, (c, 2), that at least `needed` runs attain, by increasing bits; both are minimized."""
    runs = run_of_point.max(initial=-1) + 1
    # moocore divides by the number of points; without points the process would end.
    if len(points) == 0 or needed > runs:
        return np.empty((0, 2))
    # moocore rounds up too. Half a run less keeps rounding of the percentile from adding a run.
    order = np.argsort(run_of_point, kind="stable")  # moocore counts a run that is not contiguous as several
    corners = moocore.eaf(points[order], run_of_point[order], percentiles=[100 * (needed - 0.5) / runs])
    return corners[np.argsort(corners[:, 0]), :2]
