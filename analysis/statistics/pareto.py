"""Pareto fronts of accuracy against bits per weight, and their hypervolume."""

import moocore
import numpy as np
import pandas as pd

from trainables.result import TrialState

BITS = "bits_per_weight"

REFERENCE = (0.0, 32.0)
"""Reference point of the hypervolume: accuracy 0 at 32 bits per weight; no useful network is worse in either."""


def candidates(trials: pd.DataFrame, accuracy: str = "val_accuracy") -> pd.DataFrame:
    """Return the trials that may be on a front: quantized, trained for the full budget, and measured.

    Args:
        trials: rows of trials.parquet.
        accuracy: column of the accuracy; `test_accuracy` for confirmed trials.
    """
    return trials[_may_be_on_a_front(trials, accuracy)]


def float_baselines(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials of networks that were never quantized, trained for the full budget."""
    return trials[(trials["state"] == TrialState.COMPLETE) & trials["num_levels"].isna()]


def front(trials: pd.DataFrame, cost: str = BITS) -> pd.DataFrame:
    """Return the candidates that no other beats in both accuracy and cost, by increasing cost.

    Trials with equal accuracy and cost are all kept.

    Args:
        trials: rows of trials.parquet.
        cost: column of the cost, bits per weight by default; trials without a value are left out.
    """
    # Copying all columns of a million trials takes longer than the front, so rows are taken at the end.
    positions = np.flatnonzero(_may_be_on_a_front(trials, cost=cost))
    points = _points(trials, positions, cost)
    return trials.iloc[positions[_nondominated(points)]].sort_values([cost, "number"])


def knee(trials: pd.DataFrame, cost: str = BITS) -> pd.Series | None:
    """Return the trial at the knee of the front: beyond it, accuracy costs more bits than on average.

    Accuracy and log2 of bits per weight, or of another cost, are scaled to [0, 1] between the ends of the front. The
    knee is the point of largest distance to the line between the ends, on the side of more accuracy and fewer bits; an
    end if all lie on the line or on its other side. Ties go to the fewest bits, then to the lowest number.

    Args:
        trials: rows of trials.parquet.
        cost: column of the cost, as in `front`.

    Returns:
        A row of `front(trials, cost)`; None if that is empty.

    Raises:
        ValueError: costs of the front are not above 0.

    Source: the line between the ends is Das, "On characterizing the 'knee' of the Pareto curve based on normal-boundary
    intersection" (Structural Optimization 18, 1999); Branke, Deb, Dierolf and Osswald, "Finding knees in
    multi-objective optimization" (PPSN VIII, 2004), compare it to others.
    """
    best = front(trials, cost)
    if best.empty:
        return None
    if best[cost].iloc[0] <= 0:
        raise ValueError(
            f"{cost} must be above 0 for a knee, got {best[cost].iloc[0]:g} for trial "
            f"{best['number'].iloc[0]}; leave that trial out"
        )
    accuracy, bits = best["val_accuracy"].to_numpy(), np.log2(best[cost].to_numpy(dtype=float))
    # √2 times the distance. The front is ordered by bits, so the first of equal ones has the fewest.
    return best.iloc[int(np.argmax(_scaled(accuracy) - _scaled(bits)))]


def hypervolume(trials: pd.DataFrame) -> float:
    """Return the area that the front dominates up to `REFERENCE`, as a share of the whole area, in [0, 1]."""
    return _dominated_area(_points(trials, np.flatnonzero(_may_be_on_a_front(trials))))


def hypervolumes_so_far(trials: pd.DataFrame) -> np.ndarray:
    """Return the hypervolume of the first trial, of the first two, and so on, (n,).

    Args:
        trials: rows of trials.parquet, in the order in which they count.
    """
    positions = np.flatnonzero(_may_be_on_a_front(trials))
    values = np.zeros(len(trials))
    front, reached = np.empty((0, 2)), 0.0
    for position, point in zip(positions, _points(trials, positions), strict=True):
        if (front <= point).all(axis=1).any():  # beaten, now and later
            continue
        front = np.vstack([front, point])
        front = front[_nondominated(front)]
        reached = max(reached, _dominated_area(front))
        values[position] = reached
    return np.maximum.accumulate(values)


def _dominated_area(points: np.ndarray) -> float:
    """Return the area that points of negated accuracy and bits, (n, 2), dominate, as a share of the whole area."""
    within = points[points[:, 1] < REFERENCE[1]]
    if len(within) == 0:
        return 0.0
    accuracy, bits = REFERENCE
    return float(moocore.hypervolume(within[_nondominated(within)], ref=[-accuracy, bits])) / bits


def float_baseline(trials: pd.DataFrame) -> float | None:
    """Return the validation accuracy of the float baseline: the best if there are several, None if there is none."""
    accuracies = float_baselines(trials)["val_accuracy"].dropna()
    return None if accuracies.empty else float(accuracies.max())


def _scaled(values: np.ndarray) -> np.ndarray:
    """Return increasing values scaled to [0, 1]; zeros if all are equal."""
    width = values[-1] - values[0]
    return (values - values[0]) / width if width > 0 else np.zeros_like(values)


def _may_be_on_a_front(trials: pd.DataFrame, accuracy: str = "val_accuracy", cost: str = BITS) -> np.ndarray:
    """Return whether each trial is a candidate with a value of the cost, (n,)."""
    # NaN compares as not worse than any number, so moocore would put such a trial on the front.
    measured = trials[accuracy].notna() & trials[BITS].notna() & trials[cost].notna()
    return ((trials["state"] == TrialState.COMPLETE) & trials["num_levels"].notna() & measured).to_numpy(dtype=bool)


def _points(trials: pd.DataFrame, positions: np.ndarray, cost: str = BITS) -> np.ndarray:
    """Return negated accuracy and cost, (n, 2), of the trials at these positions; both are to be minimized."""
    columns = (-trials["val_accuracy"].to_numpy(dtype=float), trials[cost].to_numpy(dtype=float))
    return np.column_stack([column[positions] for column in columns])


def _nondominated(points: np.ndarray) -> np.ndarray:
    """Return, (n,), whether no other of the points, (n, 2), is as good in one coordinate and better in the other."""
    if len(points) == 0:
        return np.zeros(0, dtype=bool)
    order = np.argsort(points[:, 1])
    losses = points[order, 0]
    # A point that loses more than an earlier one, which has no more bits, is beaten. Few points remain.
    hopeful = order[losses <= np.minimum.accumulate(losses)]
    kept = np.zeros(len(points), dtype=bool)
    kept[hopeful[moocore.is_nondominated(points[hopeful], keep_weakly=True)]] = True
    return kept
