"""Rungs: where a trial is compared with those that came as far before it, and goes on or is given up. No Ray.

Asynchronous successive halving (Li et al., "A System for Massively Parallel Hyperparameter Tuning", arXiv 1810.05934),
with a ranking that may respect a front (Schmucker et al., "Multi-objective Asynchronous Successive Halving", arXiv
2106.12639). A decision depends on the order of arrivals and on nothing else, so replaying the arrivals of a ledger
gives the rungs back as they were.
"""

import math
from typing import Any, Protocol

import moocore
import numpy as np

from study.config import StudyConfig
from study.ledger.history import History

Members = np.ndarray
"""(n, 2): val_accuracy and bits_per_weight of the members of a rung, in the order of their arrival."""


class Ranking(Protocol):
    """Which members of a rung are its best."""

    def __call__(self, members: Members, number: int, rng: np.random.Generator) -> np.ndarray:
        """Tells of each member, as a truth value, whether it is among the best `number`."""


def best_by_accuracy(members: Members, number: int, rng: np.random.Generator) -> np.ndarray:
    """Those with the highest accuracy; all of those that are level with the last of them."""
    accuracy = members[:, 0]
    kept: np.ndarray = accuracy >= np.partition(accuracy, -number)[-number]
    return kept


def best_by_front(members: Members, number: int, rng: np.random.Generator) -> np.ndarray:
    """Front by front, and of the front that is not kept whole those that cover it best.

    Fronts are those of non-dominated sorting, accuracy upwards and bits downwards. To cover a front (the ε-net of
    arXiv 2106.12639, Sec. 3.2) a drawn member comes first, then again and again the one that is farthest from all
    that were chosen. Distances are Euclidean, in accuracy and log bits (as a network with half the bits is as much
    smaller at 8 bits as at 2), each scaled to the range of the rung's members.
    """
    front = moocore.pareto_rank(members * (-1, 1))
    order = np.argsort(front, kind="stable")
    cut = front[order[number - 1]]
    kept: np.ndarray = front < cut
    partial = np.flatnonzero(front == cut)
    places = np.column_stack([members[:, 0], np.log(members[:, 1])])
    places /= np.maximum(np.ptp(places, axis=0), np.finfo(float).tiny)
    kept[partial[_covering(places[partial], number - int(kept.sum()), rng)]] = True
    return kept


def _covering(places: np.ndarray, number: int, rng: np.random.Generator) -> list[int]:
    """Indices of so many places, drawn and then each the farthest from those before; the earlier one on a tie."""
    if number == len(places):
        return list(range(number))
    chosen = [int(rng.integers(len(places)))]
    distance = np.full(len(places), np.inf)
    while len(chosen) < number:
        distance = np.minimum(distance, np.hypot(*(places - places[chosen[-1]]).T))
        distance[chosen] = -1.0
        chosen.append(int(distance.argmax()))
    return chosen


RANKINGS: dict[str, Ranking] = {"pareto-asha": best_by_front, "asha": best_by_accuracy}


class Rungs:
    """The rungs of a study, and what was decided at them.

    They sit at `grace_period` · `reduction_factor`^i epochs, before the last epoch. The lengths of the phases are
    constants of a study, so at equal epochs all trials are in the same phase, and rungs compare like with like. Of n
    members the best ⌈n / `reduction_factor`⌉ go on. Anchors are not compared and take nobody's place.
    """

    def __init__(self, config: StudyConfig) -> None:
        stopping = config.early_stopping
        self._ranking = RANKINGS.get(stopping.scheduler)
        self._reduction_factor = stopping.reduction_factor
        self._seed = config.seed
        count = math.ceil(math.log(config.epochs / stopping.grace_period, stopping.reduction_factor) - 1e-9)
        epochs = [stopping.grace_period * stopping.reduction_factor**i for i in range(count)]
        self._members: dict[int, list[tuple[float, float]]] = {epoch: [] for epoch in epochs if self._ranking}
        self._places: dict[tuple[int, int], int] = {}  # by trial and epoch: members of the rung up to that arrival
        self._decisions: dict[tuple[int, int], bool] = {}

    @classmethod
    def replay(cls, config: StudyConfig, history: History) -> "Rungs":
        """Return the rungs as a history has left them, in linear time: nothing is ranked before it is asked for."""
        rungs = cls(config)
        for report in history.rung_reports:
            rungs._join(report.number, history.trials[report.number].anchor, report.metrics)
        return rungs

    @property
    def epochs(self) -> list[int]:
        """After which epochs there is a rung."""
        return list(self._members)

    def arrive(self, number: int, anchor: bool, metrics: dict[str, Any]) -> bool:
        """Take in a trial's result; returns whether the trial goes on.

        A second arrival at the same rung, of an epoch that was trained again after a crash, gets the same answer.

        Args:
            number: of the trial.
            anchor: whether it is one.
            metrics: with `epoch`, `val_accuracy` and `bits_per_weight`.
        """
        self._join(number, anchor, metrics)
        return self._goes_on(number, metrics["epoch"])

    def stopped(self, number: int) -> bool:
        """Whether a rung has given the trial up."""
        return not all(self._goes_on(number, epoch) for epoch in self._members)

    def _join(self, number: int, anchor: bool, metrics: dict[str, Any]) -> None:
        """Make a trial a member of the rung at its epoch, if there is one and the trial is to be compared."""
        members, key = self._members.get(metrics["epoch"]), (number, metrics["epoch"])
        point = metrics["val_accuracy"], metrics["bits_per_weight"]
        if members is not None and not anchor and all(map(math.isfinite, point)) and key not in self._places:
            members.append(point)
            self._places[key] = len(members)

    def _goes_on(self, number: int, epoch: int) -> bool:
        """Whether a trial was among the best of the rung at an epoch when it arrived; true if it is no member."""
        key = number, epoch
        if key not in self._places:
            return True
        if key not in self._decisions:
            assert self._ranking is not None
            members = self._members[epoch][: self._places[key]]
            best = math.ceil(len(members) / self._reduction_factor)
            rng = np.random.default_rng([self._seed, epoch, len(members)])
            self._decisions[key] = bool(self._ranking(np.array(members), best, rng)[-1])
        return self._decisions[key]
