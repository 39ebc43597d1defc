"""Hypervolume that a search has reached, over the time that its trials took."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.statistics.pareto import hypervolumes_so_far

FEW_RUNS = 5
"""Fewest runs whose quartiles are shown; with fewer runs, a band reaches from the least to the greatest."""


def hypervolume_over_cost(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the hypervolume after each trial of a search.

    Args:
        trials: rows of trials.parquet; all count, also those that were stopped early or failed. They are taken in the
            order of their numbers, in which they were proposed.

    Returns:
        Columns `hours` (training time of all trials so far, summed over those that ran at the same time), `trials` (how
        many) and `hypervolume`, one row per trial.
    """
    ordered = trials.sort_values("number", kind="stable").reset_index(drop=True)
    hours = ordered["train_seconds"].astype(float).fillna(0.0).cumsum() / 3600
    return pd.DataFrame(
        {"hours": hours, "trials": np.arange(1, len(ordered) + 1), "hypervolume": hypervolumes_so_far(ordered)}
    )


def hypervolume_band(runs: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return median and spread of the hypervolume over several runs of the same search.

    A run that has ended keeps its hypervolume.

    Args:
        runs: results of `hypervolume_over_cost`, at least one, none of them empty.

    Returns:
        Columns `hours`, `median`, `low`, `high` (quartiles; least and greatest below `FEW_RUNS` runs) and `runs`.
    """
    hours = np.unique(np.concatenate([run["hours"].to_numpy() for run in runs]))
    values = np.stack([_at(run, hours) for run in runs])
    quantiles = (0.0, 1.0) if len(runs) < FEW_RUNS else (0.25, 0.75)
    low, high = (np.quantile(values, quantile, axis=0) for quantile in quantiles)
    return pd.DataFrame(
        {"hours": hours, "median": np.median(values, axis=0), "low": low, "high": high, "runs": len(runs)}
    )


def _at(run: pd.DataFrame, hours: np.ndarray) -> np.ndarray:
    """Return the hypervolume of a run at some times, (n,); 0 before its first trial has ended."""
    reached = np.append(0.0, run["hypervolume"].to_numpy())
    return reached[np.searchsorted(run["hours"], hours, side="right")]
