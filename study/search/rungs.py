"""Rungs: epochs at which a trial is compared with the trials that reached them before, and continues or stops.

Asynchronous successive halving (Li et al., "A System for Massively Parallel Hyperparameter Tuning", arXiv 1810.05934)
with a ranking on one objective or on a front (Schmucker et al., "Multi-objective Asynchronous Successive Halving",
arXiv 2106.12639). A decision depends only on the order of the reports, so replaying the reports of a ledger restores
the rungs. This module does not use Ray.
"""

import math
from typing import Any, Protocol

import moocore
import numpy as np

from study.config import StudyConfig
from study.ledger.history import History
from study.search.arrivals import Arrivals, ByAccuracy, ByFront

Members = np.ndarray
"""Array of shape (n, 2): val_accuracy and bits_per_weight of a rung's members, in order of arrival."""


class Ranking(Protocol):
    """Function that chooses the best members of a rung."""

    def __call__(self, members: Members, number: int, rng: np.random.Generator) -> np.ndarray:
        """Return an array of shape (n,): whether each of the n members is among the best `number`."""


def best_by_accuracy(members: Members, number: int, rng: np.random.Generator) -> np.ndarray:
    """Choose the `number` members with the highest accuracy, and all that tie with the last of them."""
    accuracy = members[:, 0]
    kept: np.ndarray = accuracy >= np.partition(accuracy, -number)[-number]
    return kept


def best_by_front(members: Members, number: int, rng: np.random.Generator) -> np.ndarray:
    """Choose `number` members front by front, and from the last front a subset that covers it.

    Fronts are those of non-dominated sorting for high accuracy and few bits. The subset starts with a random member;
    then the member farthest from all chosen ones is added repeatedly. Distances are Euclidean in accuracy and log bits
    (the logarithm makes halving the bits count the same at 8 bits as at 2), each scaled to the range of the members.

    Source: ε-net, arXiv 2106.12639, Sec. 3.2.
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
    """Return the indices of `number` points: a random one, then each the farthest from those chosen before.

    The earlier point wins a tie.
    """
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

ARRIVALS: dict[str, type[Arrivals]] = {"pareto-asha": ByFront, "asha": ByAccuracy}
"""The same rankings, for members that arrive one after another."""


class Rungs:
    """The rungs of a study and the decisions made at them.

    Rungs lie at `grace_period` · `reduction_factor`^i epochs, before the last epoch. All trials of a study have phases
    of the same lengths, so trials at the same rung are in the same phase. Of n members, the best
    ⌈n / `reduction_factor`⌉ continue. Anchors are not compared and are not members.
    """

    def __init__(self, config: StudyConfig) -> None:
        """Create empty rungs.

        Args:
            config: configuration of the study.
        """
        stopping = config.early_stopping
        self._ranking = RANKINGS.get(stopping.scheduler)
        self._kind_of_arrivals = ARRIVALS.get(stopping.scheduler)
        self._arrivals: dict[int, Arrivals] = {}  # by epoch, of the rungs at which this process has decided
        self._reduction_factor = stopping.reduction_factor
        self._seed = config.seed
        count = math.ceil(math.log(config.epochs / stopping.grace_period, stopping.reduction_factor) - 1e-9)
        epochs = [stopping.grace_period * stopping.reduction_factor**i for i in range(count)]
        self._members: dict[int, list[tuple[float, float]]] = {epoch: [] for epoch in epochs if self._ranking}
        self._places: dict[tuple[int, int], int] = {}  # by trial and epoch: members of the rung up to that report
        self._decisions: dict[tuple[int, int], bool] = {}

    @classmethod
    def replay(cls, config: StudyConfig, history: History) -> "Rungs":
        """Return the rungs after all reports of a history, in linear time: trials are ranked only when needed.

        Where early stopping has changed, earlier reports are members of the present rungs, but stop no trial: trials
        are compared by the present rules from their next report on.
        """
        rungs = cls(config)
        earlier = history.version_changes[config.version].epochs if config.version > 1 else 0
        log = history.epochs
        epochs = log.numbers_of("epoch")
        rows = np.flatnonzero(log.is_first & np.isin(epochs, rungs.epochs))
        columns = (log.trials, epochs, log.numbers_of("val_accuracy"), log.numbers_of("bits_per_weight"))
        values = (column[rows].tolist() for column in columns)
        for row, number, epoch, accuracy, bits in zip(rows.tolist(), *values, strict=True):
            rungs._join(number, history.trials[number].anchor, int(epoch), (accuracy, bits))
            if row < earlier:
                rungs._decisions[number, int(epoch)] = True
        return rungs

    @property
    def epochs(self) -> list[int]:
        """Epochs after which trials are compared."""
        return list(self._members)

    def report(self, number: int, anchor: bool, metrics: dict[str, Any]) -> bool:
        """Add a trial's result and return whether the trial continues.

        A second report at the same rung, of an epoch that was trained again after a crash, gets the same answer.

        Args:
            number: number of the trial.
            anchor: whether the trial is an anchor.
            metrics: metrics of the epoch, with `epoch`, `val_accuracy` and `bits_per_weight`.
        """
        self._join(number, anchor, metrics["epoch"], (metrics["val_accuracy"], metrics["bits_per_weight"]))
        return self._continues(number, metrics["epoch"])

    def stopped(self, number: int) -> bool:
        """Whether a rung has stopped the trial."""
        return not all(self._continues(number, epoch) for epoch in self._members)

    def _join(self, number: int, anchor: bool, epoch: int, point: tuple[float, float]) -> None:
        """Make a trial a member of the rung at an epoch, if there is a rung and the trial is compared.

        `point` is its accuracy and its bits per weight.
        """
        members, key = self._members.get(epoch), (number, epoch)
        if members is not None and not anchor and all(map(math.isfinite, point)) and key not in self._places:
            members.append(point)
            self._places[key] = len(members)

    def _continues(self, number: int, epoch: int) -> bool:
        """Whether a trial was among the best of the rung at an epoch when it reported; true if it is no member."""
        key = number, epoch
        if key not in self._places:
            return True
        if key not in self._decisions:
            self._decisions[key] = self._is_among_best(epoch, self._places[key])
        return self._decisions[key]

    def _is_among_best(self, epoch: int, place: int) -> bool:
        """Whether the last of the first `place` members of a rung was among the best of them."""
        best = math.ceil(place / self._reduction_factor)
        decision = self._decision_on_arrival(epoch, place, best)
        if decision is None:
            assert self._ranking is not None
            rng = np.random.default_rng([self._seed, epoch, place])
            decision = bool(self._ranking(np.array(self._members[epoch][:place]), best, rng)[-1])
        return decision

    def _decision_on_arrival(self, epoch: int, place: int, best: int) -> bool | None:
        """Return the decision about a member if it is the newest one, and if no choice among equals is needed."""
        members = self._members[epoch]
        if place < len(members):
            return None
        if epoch not in self._arrivals or len(self._arrivals[epoch]) < place - 1:
            assert self._kind_of_arrivals is not None
            self._arrivals[epoch] = self._kind_of_arrivals(np.array(members[:-1]).reshape(-1, 2))
        return self._arrivals[epoch].add(*members[-1], best)
