"""Pareto fronts of accuracy against bits per weight, and their hypervolume."""

import moocore
import numpy as np
import pandas as pd

from trainables.result import COMPLETE

REFERENCE = (0.0, 32.0)
"""Reference point of the hypervolume: accuracy 0 at 32 bits per weight; no useful network is worse in either."""


def candidates(trials: pd.DataFrame, accuracy: str = "val_accuracy") -> pd.DataFrame:
    """Trials that may be on a front: quantized, trained for the full budget, with an accuracy and bits per weight.

    Args:
        trials: rows of trials.parquet.
        accuracy: column of the accuracy; `test_accuracy` of confirmed trials.
    """
    return trials[_may_be_on_a_front(trials, accuracy)]


def float_baselines(trials: pd.DataFrame) -> pd.DataFrame:
    """Trials of networks that were never quantized, trained for the full budget."""
    return trials[(trials["state"] == COMPLETE) & trials["num_levels"].isna()]


def front(trials: pd.DataFrame) -> pd.DataFrame:
    """Candidates that no other beats in both accuracy and bits, by increasing bits.

    Of several trials with the same accuracy and bits all are kept.
    """
    # Positions and two columns until the end: a copy of all columns of a million trials takes longer than the front.
    positions = np.flatnonzero(_may_be_on_a_front(trials))
    points = _points(trials, positions)
    return trials.iloc[positions[_nondominated(points)]].sort_values(["bits_per_weight", "number"])


def knee(trials: pd.DataFrame) -> pd.Series | None:
    """Trial of the front that bulges most: beyond it, accuracy costs more bits than it did on average.

    Accuracy and log2 of bits per weight are scaled to [0, 1] between the ends of the front. The knee is the point of
    largest distance to the line between the ends, on the side of more accuracy and fewer bits; an end if all lie on
    the line or on its other side. On ties it has the fewest bits, then the lowest number.

    Returns:
        A row of `front(trials)`; None if that is empty.

    Raises:
        ValueError: bits per weight of the front are not above 0, so that they have no logarithm.

    Source: the line between the ends is Das, "On characterizing the 'knee' of the Pareto curve based on normal-boundary
    intersection" (Structural Optimization 18, 1999); Branke, Deb, Dierolf and Osswald, "Finding knees in
    multi-objective optimization" (PPSN VIII, 2004), compare it to others.
    """
    of = front(trials)
    if of.empty:
        return None
    if of["bits_per_weight"].iloc[0] <= 0:
        raise ValueError(
            f"bits_per_weight must be above 0 for a knee, got {of['bits_per_weight'].iloc[0]:g} for trial "
            f"{of['number'].iloc[0]}; leave that trial out"
        )
    accuracy, bits = of["val_accuracy"].to_numpy(), np.log2(of["bits_per_weight"].to_numpy())
    # √2 times the distance; ordered by bits, so that the first of equal ones has the fewest.
    return of.iloc[int(np.argmax(_scaled(accuracy) - _scaled(bits)))]


def hypervolume(trials: pd.DataFrame) -> float:
    """Area that the front dominates up to `REFERENCE`, over the area of the whole: 0 is nothing, 1 a free lunch."""
    points = _points(trials, np.flatnonzero(_may_be_on_a_front(trials)))
    within = points[points[:, 1] < REFERENCE[1]]
    if len(within) == 0:
        return 0.0
    accuracy, bits = REFERENCE
    return float(moocore.hypervolume(within[_nondominated(within)], ref=[-accuracy, bits])) / bits


def float_baseline(trials: pd.DataFrame) -> float | None:
    """Validation accuracy of the network that was never quantized; the best if there are several, None without."""
    accuracies = float_baselines(trials)["val_accuracy"].dropna()
    return None if accuracies.empty else float(accuracies.max())


def _scaled(values: np.ndarray) -> np.ndarray:
    """Increasing values scaled to [0, 1]; zeros if all are equal."""
    width = values[-1] - values[0]
    return (values - values[0]) / width if width > 0 else np.zeros_like(values)


def _may_be_on_a_front(trials: pd.DataFrame, accuracy: str = "val_accuracy") -> np.ndarray:
    """(n,) whether each trial is a candidate."""
    # A NaN is not worse than any number, so moocore would put its trial on the front.
    measured = trials[accuracy].notna() & trials["bits_per_weight"].notna()
    return ((trials["state"] == COMPLETE) & trials["num_levels"].notna() & measured).to_numpy(dtype=bool)


def _points(trials: pd.DataFrame, positions: np.ndarray) -> np.ndarray:
    """(n, 2): negated accuracy and bits of the trials at these positions, both to be minimized."""
    columns = (-trials["val_accuracy"].to_numpy(dtype=float), trials["bits_per_weight"].to_numpy(dtype=float))
    return np.column_stack([column[positions] for column in columns])


def _nondominated(points: np.ndarray) -> np.ndarray:
    """(n,) whether no other of the points (n, 2) is as good in one coordinate and better in the other."""
    if len(points) == 0:
        return np.zeros(0, dtype=bool)
    order = np.argsort(points[:, 1])
    losses = points[order, 0]
    # Who loses more than one before it, with no more bits, is beaten. That leaves few, and among them the front.
    hopeful = order[losses <= np.minimum.accumulate(losses)]
    kept = np.zeros(len(points), dtype=bool)
    kept[hopeful[moocore.is_nondominated(points[hopeful], keep_weakly=True)]] = True
    return kept
