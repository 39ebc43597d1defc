"""The window of a sampler: those of a study's proposals that it sees."""

import random
from array import array
from bisect import insort
from collections.abc import Callable, Sequence

import moocore
import numpy as np

from study.config import Constraint
from study.ledger.history import KnownResult, Trial
from study.search.optuna_trials import OBJECTIVES, metrics_of
from trainables.result import TrialState

Proposal = Trial | KnownResult


class Window:
    """Selection from proposals that become more and end; each is looked at once when it has come, and once at its end.

    All running proposals are selected, and up to `size` of the finished ones with parameters that did not fail. Half of
    these are the best: fewest violations of constraints first, then lowest rank of non-domination. The other half is
    drawn from the rest.
    """

    def __init__(self, proposal_at: Callable[[int], Proposal], size: int, constraints: Sequence[Constraint]) -> None:
        """Prepare to select.

        Args:
            proposal_at: function that returns a proposal by its index, as it is now.
            size: most finished proposals to select.
            constraints: constraints on results.
        """
        self._proposal_at, self._size, self._constraints = proposal_at, size, constraints
        self._seen = 0
        self._running: list[int] = []
        self._finished: list[int] = []  # in order
        self._complete, self._objectives, self._violations = array("q"), array("d"), array("d")

    @property
    def num_finished(self) -> int:
        """Number of finished proposals that could be selected last time, in the window or not."""
        return len(self._finished)

    def select(self, number: int, seed: str) -> list[int]:
        """Return the indices of the selected ones of the first `number` proposals, in order.

        Args:
            number: number of proposals, no less than at the call before.
            seed: seed of the draw.
        """
        self._follow(number)
        if len(self._finished) <= self._size:
            return sorted([*self._running, *self._finished])
        best = self._best(self._size // 2)
        chosen = set(best)
        rest = [index for index in self._finished if index not in chosen]
        return sorted([*self._running, *best, *random.Random(seed).sample(rest, self._size - len(best))])

    def _follow(self, number: int) -> None:
        candidates = [*self._running, *range(self._seen, number)]
        self._seen, self._running = number, []
        for index in candidates:
            proposal = self._proposal_at(index)
            if not proposal.params or proposal.state == TrialState.FAIL:
                continue
            if proposal.state == TrialState.RUNNING:
                self._running.append(index)
                continue
            insort(self._finished, index)
            if proposal.state == TrialState.COMPLETE:
                metrics = metrics_of(proposal)
                self._complete.append(index)
                self._objectives.extend((-metrics[OBJECTIVES[0]], metrics[OBJECTIVES[1]]))
                self._violations.append(sum(max(0.0, bound.violation(metrics)) for bound in self._constraints))

    def _best(self, number: int) -> list[int]:
        """Return the indices of the best complete proposals, at most `number`."""
        if not self._complete:
            return []
        indices = np.array(self._complete)
        ranks = moocore.pareto_rank(np.array(self._objectives).reshape(-1, 2))
        order = np.lexsort((indices, ranks, np.array(self._violations)))
        best: list[int] = indices[order[:number]].tolist()
        return best


def select(proposals: Sequence[Proposal], size: int, constraints: Sequence[Constraint], seed: str) -> list[int]:
    """Return the indices of the proposals that a sampler sees; see `Window`."""
    return Window(proposals.__getitem__, size, constraints).select(len(proposals), seed)
