"""Pareto fronts of accuracy against bits per weight, and their hypervolume."""

import moocore
import numpy as np
import pandas as pd

from trainables.result import COMPLETE

REFERENCE = (0.0, 32.0)
"""Reference point of the hypervolume: accuracy 0 at 32 bits per weight; no useful network is worse in either."""


def candidates(trials: pd.DataFrame) -> pd.DataFrame:
    """Trials that may be on a front: quantized, and trained for the full budget."""
    return trials[(trials["state"] == COMPLETE) & trials["num_levels"].notna()]


def front(trials: pd.DataFrame) -> pd.DataFrame:
    """Candidates that no other beats in both accuracy and bits, by increasing bits.

    Of several trials with the same accuracy and bits all are kept.
    """
    of = candidates(trials)
    if of.empty:
        return of
    kept = moocore.is_nondominated(_points(of), keep_weakly=True)
    return of[kept].sort_values(["bits_per_weight", "number"])


def hypervolume(trials: pd.DataFrame) -> float:
    """Area that the front dominates up to `REFERENCE`, over the area of the whole: 0 is nothing, 1 a free lunch."""
    of = candidates(trials)
    within = of[of["bits_per_weight"] < REFERENCE[1]]
    if within.empty:
        return 0.0
    accuracy, bits = REFERENCE
    return float(moocore.hypervolume(_points(within), ref=[-accuracy, bits])) / bits


def float_baseline(trials: pd.DataFrame) -> float | None:
    """Validation accuracy of the network that was never quantized; the best if there are several, None without."""
    baseline = trials[(trials["state"] == COMPLETE) & trials["num_levels"].isna()]
    return None if baseline.empty else float(baseline["val_accuracy"].max())


def _points(trials: pd.DataFrame) -> np.ndarray:
    """(n, 2): negated accuracy and bits, both to be minimized."""
    return np.column_stack([-trials["val_accuracy"], trials["bits_per_weight"]])
