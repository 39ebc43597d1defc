"""What a study's sampler is shown: the proposals of the ledger, or the part that matters, as an Optuna study."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import moocore
import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from study.config import Constraint, StudyConfig
from study.ledger.history import History, KnownResult, Trial
from study.search.optuna_trials import DIRECTIONS, OBJECTIVES, STATES, frozen, metrics_of, values_of
from study.search.samplers import SAMPLERS, make_sampler
from study.search.space import ANCHOR, distributions, first_trials, suggest
from trainables.families import FAMILIES
from trainables.result import COMPLETE, FAIL, PRUNED, RUNNING

FAILURE = "failure"
"""User attribute of an Optuna trial that failed: why."""

NEW_WINDOW_EVERY = 50
"""Proposals; making the window anew costs some asks' time."""


@dataclass(frozen=True)
class Proposal:
    """What a sampler, or the plan of the first trials, wants to be run: the fields of ASKED and REPEATED about it."""

    searched: dict[str, Any]
    params: dict[str, Any]
    distributions: dict[str, str]
    sampler_state: dict[str, Any]
    anchor: bool


def select(
    proposals: Sequence[Trial | KnownResult], size: int, constraints: Sequence[Constraint], seed: str
) -> list[int]:
    """Indices of the proposals a sampler with a window is shown, in order.

    All that still run; of the finished that it can learn from, up to `size`: one half the best, by rank of
    non-domination, those that fulfil the constraints first; the other half drawn from the rest.
    """
    known = [index for index, proposal in enumerate(proposals) if proposal.params and proposal.state != FAIL]
    running = [index for index in known if proposals[index].state == RUNNING]
    finished = [index for index in known if proposals[index].state != RUNNING]
    if len(finished) <= size:
        return known
    complete = [index for index in finished if proposals[index].state == COMPLETE]
    best: list[int] = []
    if complete:
        metrics = [metrics_of(proposals[index]) for index in complete]
        violation = np.array([sum(max(0.0, bound.violation(of)) for bound in constraints) for of in metrics])
        points = np.array([[-of[OBJECTIVES[0]], of[OBJECTIVES[1]]] for of in metrics])
        order = np.lexsort((moocore.pareto_rank(points), violation))
        best = [complete[place] for place in order[: size // 2]]
    chosen = set(best)
    rest = [index for index in finished if index not in chosen]
    return sorted([*running, *best, *random.Random(seed).sample(rest, size - len(best))])


class SamplerView:
    """An Optuna study in memory that follows the ledger, and the proposals made with it.

    Proposal i depends on the configuration, on i, and on what the ledger tells of the proposals before it, and on
    nothing else: the sampler is made anew for each, and a window is chosen at every `NEW_WINDOW_EVERY`-th, whether
    the driver has lived that long or not.

    Attributes:
        study: Optuna's, as of the last proposal. A proposal without parameters (an anchor outside the space) is not
            in it: samplers take the dimensions that all trials share for the space.
    """

    def __init__(self, config: StudyConfig, history: History) -> None:
        self._config = config
        self._history = history
        self._sampling = SAMPLERS[config.sampler]
        self._constraints = [Constraint.parse(text) for text in config.constraints]
        self._first = first_trials(config)
        self._num_priors = sum(
            isinstance(proposal, KnownResult) and proposal.number is None for proposal in history.proposals
        )
        self._window_begins = -1
        self._pending: dict[int, optuna.Trial] = {}  # by index of the proposal, as long as Optuna has it running

    @property
    def first_left(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Those of the first trials that were not proposed yet."""
        return self._first[len(self._history.proposals) - self._num_priors :]

    def follow(self) -> None:
        """Tells Optuna what has ended since."""
        index = len(self._history.proposals)
        begins = index - index % NEW_WINDOW_EVERY if self._sampling.window is not None else 0
        if begins != self._window_begins:
            self._show(begins)
            return
        for place, optuna_trial in list(self._pending.items()):
            proposal = self._history.proposals[place]
            if proposal.state != RUNNING:
                self._tell(optuna_trial, proposal)
                del self._pending[place]

    def propose(self) -> Proposal:
        """What comes next; it is to be recorded, as ASKED or REPEATED, before the next call."""
        self.follow()
        index = len(self._history.proposals)
        params, user_attrs = next(iter(self.first_left), ({}, {}))
        anchor = ANCHOR in user_attrs
        if anchor and not params:
            return Proposal(dict(user_attrs[ANCHOR]), {}, {}, {}, anchor)
        self.study.sampler = make_sampler(self._config, index)
        if params:
            self.study.enqueue_trial(params, user_attrs=user_attrs)
        before = self._storage.get_study_system_attrs(self._study_id)
        optuna_trial = self.study.ask()
        searched = suggest(optuna_trial, self._config.space)
        self._pending[index] = optuna_trial
        return Proposal(
            searched=searched,
            params=optuna_trial.params,
            distributions={
                name: optuna.distributions.distribution_to_json(distribution)
                for name, distribution in optuna_trial.distributions.items()
            },
            sampler_state=self._sampler_state(optuna_trial, before),
            anchor=anchor,
        )

    def _sampler_state(self, optuna_trial: optuna.Trial, before: dict[str, Any]) -> dict[str, Any]:
        """What the sampler has left in Optuna to find again, as JSON; empty for most."""
        if not self._sampling.keeps:
            return {}
        of_trial = self._storage.get_trial(self._trial_id(optuna_trial.number)).system_attrs
        of_study = self._storage.get_study_system_attrs(self._study_id)
        return {
            "trial": {name: value for name, value in of_trial.items() if name.startswith(self._sampling.keeps)},
            "study": {
                name: value
                for name, value in of_study.items()
                if name.startswith(self._sampling.keeps) and value != before.get(name)
            },
        }

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)

    def _show(self, begins: int) -> None:
        """Makes Optuna's study anew: of the proposals before `begins` those of the window, and all that follow."""
        self._window_begins = begins
        proposals = self._history.proposals
        self._storage = optuna.storages.InMemoryStorage()
        sampler = make_sampler(self._config, begins)
        self.study = optuna.create_study(storage=self._storage, sampler=sampler, directions=DIRECTIONS)
        self._study_id = self._storage.get_study_id_from_name(self.study.study_name)
        number = 0
        if self._sampling.needs_all_dimensions:
            self.study.add_trial(self._of_all_dimensions())
            number = 1
        shown: list[int] = []
        if self._sampling.window is not None:
            seed = f"{self._config.seed} {begins}"
            shown = select(proposals[:begins], self._sampling.window, self._constraints, seed)
        self._pending = {}
        for index in [*shown, *range(begins, len(proposals))]:
            proposal = proposals[index]
            if not proposal.params:
                continue
            self.study.add_trial(frozen(proposal, self._user_attrs(proposal), self._constraint_values(proposal)))
            if proposal.state == RUNNING:
                self._pending[index] = optuna.Trial(self.study, self._trial_id(number))
            number += 1
        for proposal in proposals:
            for name, value in proposal.sampler_state.get("study", {}).items():
                self._storage.set_study_system_attr(self._study_id, name, value)

    def _of_all_dimensions(self) -> FrozenTrial:
        """A trial that says nothing but which dimensions there are, for a sampler that looks at the first alone."""
        space = self._config.space
        family = max(space.family, key=lambda name: FAMILIES[name].has_penalty)
        params: dict[str, Any] = {"family": family, "num_levels": space.num_levels.low, "lam": space.lam.low}
        found: dict[str, BaseDistribution] = distributions(space, family)
        for name in found.keys() - params.keys():
            params[name] = space.placements(family)[0]
        return create_trial(state=TrialState.PRUNED, params={name: params[name] for name in found}, distributions=found)

    def _constraint_values(self, proposal: Trial | KnownResult) -> dict[str, float]:
        if proposal.state not in (COMPLETE, PRUNED):
            return {}
        metrics = metrics_of(proposal)
        return {str(constraint): constraint.violation(metrics) for constraint in self._constraints}

    def _user_attrs(self, proposal: Trial | KnownResult) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if isinstance(proposal, Trial) and proposal.anchor:
            found[ANCHOR] = {name: proposal.config[name] for name in ("family", "num_levels", "placement")}
        if isinstance(proposal, Trial) and proposal.failure is not None:
            found[FAILURE] = proposal.failure
        return found

    def _tell(self, optuna_trial: optuna.Trial, proposal: Trial | KnownResult) -> None:
        for name, value in self._constraint_values(proposal).items():
            optuna_trial.set_constraint(name, value)
        if isinstance(proposal, Trial) and proposal.failure is not None:
            optuna_trial.set_user_attr(FAILURE, proposal.failure)
        self.study.tell(optuna_trial, values_of(proposal), STATES[proposal.state])
