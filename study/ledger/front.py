"""The Pareto front of a study, and its knee, as they follow from the history."""

import moocore
import numpy as np

from study.ledger.history import History, Trial


def front_so_far(history: History) -> list[Trial]:
    """Return the complete, quantized trials on the Pareto front of accuracy and bits, by increasing bits."""
    candidates = [trial for trial in history.trials.values() if trial.is_front_candidate]
    if not candidates:
        return []
    points = np.array([(-trial.last["val_accuracy"], trial.last["bits_per_weight"]) for trial in candidates])
    kept = moocore.is_nondominated(points, keep_weakly=True)
    front = [trial for trial, keep in zip(candidates, kept, strict=True) if keep]
    return sorted(front, key=lambda trial: float(trial.last["bits_per_weight"]))


REFERENCE_BITS = 32.0
"""Bits per weight of the reference point of a hypervolume, whose accuracy is 0."""


def hypervolume_of(front: list[Trial]) -> float:
    """Return the hypervolume of a front as a share of the whole area, as in reports; 0 for an empty one."""
    points = [(-trial.last["val_accuracy"], trial.last["bits_per_weight"]) for trial in front]
    within = [point for point in points if point[1] < REFERENCE_BITS]
    if not within:
        return 0.0
    return float(moocore.hypervolume(np.array(within), ref=[0.0, REFERENCE_BITS])) / REFERENCE_BITS


def knee_of(front: list[Trial]) -> Trial | None:
    """Return the knee of a front, as reports ring it (`analysis.statistics.pareto.knee`); None for an empty front.

    Accuracy and log2 of bits per weight are scaled to [0, 1] between the ends of the front. The knee is the trial of
    largest distance to the line between the ends, on the side of more accuracy and fewer bits.

    Args:
        front: trials by increasing bits, as `front_so_far` returns them.
    """
    if not front:
        return None
    accuracy = np.array([trial.last["val_accuracy"] for trial in front])
    bits = np.log2([trial.last["bits_per_weight"] for trial in front])
    gain, price = accuracy[-1] - accuracy[0], bits[-1] - bits[0]
    if gain <= 0 or price <= 0:
        return front[0]
    return front[int(np.argmax((accuracy - accuracy[0]) / gain - (bits - bits[0]) / price))]
