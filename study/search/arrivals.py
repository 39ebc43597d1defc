"""Rankings of members that arrive at a rung one after another, without sorting all members again at each arrival."""

from bisect import bisect_left, bisect_right, insort
from itertools import accumulate, groupby
from math import inf
from typing import Protocol

import moocore
import numpy as np

Point = tuple[float, float]
"""A member as (−accuracy, bits): both are to be small."""


class Arrivals(Protocol):
    """Members of a rung so far, in the order of a ranking."""

    def __init__(self, members: np.ndarray) -> None:
        """Sort members; shape (n, 2), accuracy and bits."""

    def __len__(self) -> int:
        """Return the number of members."""

    def add(self, accuracy: float, bits: float, best: int) -> bool | None:
        """Add a member and return whether it is among the best ones.

        Args:
            accuracy: its accuracy.
            bits: its bits per weight.
            best: number of the best members, the new one included.

        Returns:
            None if that depends on how members of the same rank are chosen.
        """


class ByAccuracy:
    """Accuracies in order; all that tie with the last of the best are among these."""

    def __init__(self, members: np.ndarray) -> None:
        """See `Arrivals`."""
        self._accuracies = sorted(members[:, 0].tolist())

    def __len__(self) -> int:
        """See `Arrivals`."""
        return len(self._accuracies)

    def add(self, accuracy: float, bits: float, best: int) -> bool | None:
        """See `Arrivals`."""
        insort(self._accuracies, accuracy)
        return accuracy >= self._accuracies[-best]


class ByFront:
    """Members by non-dominated fronts: the first holds those that no other dominates, the next those that only it does.

    Adding a member moves others to later fronts. What moves from a front is a contiguous part of it, which takes the
    place of a contiguous part of the next, so that an arrival takes a few bisections for each front that changes. The
    rank of a member is as `moocore.pareto_rank` gives it.
    """

    def __init__(self, members: np.ndarray) -> None:
        """See `Arrivals`."""
        points = members.reshape(-1, 2) * (-1, 1)
        ranks = moocore.pareto_rank(points) if len(points) else np.empty(0, int)
        order = np.lexsort((-points[:, 1], points[:, 0], ranks))
        rows = zip(ranks[order].tolist(), map(tuple, points[order].tolist()), strict=True)
        self._fronts: list[list[Point]] = [
            [point for _, point in rows] for _, rows in groupby(rows, lambda row: row[0])
        ]
        self._number = len(points)

    def __len__(self) -> int:
        """See `Arrivals`."""
        return self._number

    def add(self, accuracy: float, bits: float, best: int) -> bool | None:
        """See `Arrivals`."""
        rank = self._insert((-accuracy, bits))
        counts = list(accumulate(map(len, self._fronts)))
        cut = bisect_left(counts, best)  # the front of the last of the best
        if rank == cut and counts[cut] > best:
            return None
        return rank <= cut

    def _insert(self, point: Point) -> int:
        """Add a point and return its rank, from 0."""
        self._number += 1
        rank, high = 0, len(self._fronts)
        while rank < high:  # find the first front that has no point which dominates this one
            middle = (rank + high) // 2
            if _dominates(self._fronts[middle], point):
                rank = middle + 1
            else:
                high = middle
        moving = [point]
        for front in self._fronts[rank:]:
            moving = _exchange(front, moving)
            if not moving:
                return rank
        self._fronts.append(moving)
        return rank


def _dominates(front: list[Point], point: Point) -> bool:
    """Whether a point of a front dominates another point."""
    place = bisect_right(front, (point[0], inf)) - 1  # of those with no less accuracy, the one with the fewest bits
    return place >= 0 and front[place][1] <= point[1] and front[place] != point


def _exchange(front: list[Point], moving: list[Point]) -> list[Point]:
    """Put points into a front in place of those that they dominate, and return the latter.

    Args:
        front: points by accuracy, falling, and so by bits, falling too.
        moving: points in the same order, none of which a point of the front dominates.
    """
    begin = bisect_right(front, moving[0])  # after points equal to the first, which stay
    if begin == 0 or front[begin - 1] != moving[0]:
        begin = bisect_left(front, (moving[0][0], -inf))
    end = bisect_right(front, -moving[-1][1], begin, key=lambda point: -point[1])
    displaced = front[begin:end]
    front[begin:end] = moving
    return displaced
