"""The sampler's view of a study: the ledger's proposals, or a window of them, as an Optuna study."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, create_trial
from optuna.trial import TrialState as OptunaState

from study.config import Constraint, StudyConfig
from study.ledger.history import History, KnownResult, Trial
from study.search.first_trials import FirstTrial, first_trials
from study.search.optuna_trials import DIRECTIONS, OPTUNA_STATES, frozen, metrics_of, values_of
from study.search.sampling.samplers import SAMPLERS, make_sampler
from study.search.sampling.tpe import StudyKnowledge
from study.search.sampling.window import Window
from study.search.space import ANCHOR, distributions, first_value, suggest
from study.search.versions import VersionedProposals
from trainables.families import family_of
from trainables.result import TrialState

FAILURE = "failure"
"""User attribute of a failed Optuna trial: the reason."""

NEW_WINDOW_EVERY = 50
"""Proposals after which a new window is selected; selecting one takes as long as several proposals."""


FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
"""States of trials from which samplers learn."""

ParamsKey = tuple[tuple[str, Any], ...]
"""Parameters of a proposal as a key: names and values in the order of names."""


def params_key(params: Mapping[str, Any]) -> ParamsKey:
    """Return the parameters of a proposal as a key."""
    return tuple(sorted(params.items()))


@dataclass(frozen=True)
class Proposal:
    """A proposal of the sampler or of the first trials, as recorded by the facts ASKED and REPEATED.

    Attributes:
        searched: searched fields of a `TrialConfig`.
        params: Optuna's parameters, by name.
        distributions: Optuna's distributions of these parameters as JSON, by name.
        sampler_state: attributes that the sampler stored in Optuna's `trial` and `study`.
        anchor: whether the trial is an anchor.
    """

    searched: dict[str, Any]
    params: dict[str, Any]
    distributions: dict[str, str]
    sampler_state: dict[str, Any]
    anchor: bool


class SamplerView:
    """An Optuna study in memory that follows the ledger, and the proposals made with it.

    Proposal i depends only on the configuration, on i, and on the ledger's record of earlier proposals: a new sampler
    is made for each proposal, and a new window is selected at every `NEW_WINDOW_EVERY`-th, also after a restart.

    Attributes:
        study: Optuna's study as of the last proposal. It lacks proposals without parameters (anchors outside the
            space), since samplers search only the dimensions that all trials share.
    """

    def __init__(self, config: StudyConfig, history: History) -> None:
        """Create the view; Optuna's study is filled at the first proposal.

        Args:
            config: configuration of the study.
            history: history of the ledger, which is followed as it grows.
        """
        self._config = config
        self._history = history
        self._sampler_entry = SAMPLERS[config.sampler]
        self._constraints = [Constraint.parse(text) for text in config.constraints]
        self._versions = VersionedProposals(config, history)
        self._first = first_trials(config, self._versions.proposed)
        size = self._sampler_entry.window
        self._window = None if size is None else Window(self._versions.at, size, self._constraints)
        self._window_begins = -1
        self._pending: dict[int, optuna.Trial] = {}  # by index of the proposal, as long as Optuna has it running
        self._begun: Counter[ParamsKey] = Counter()  # trials by their parameters
        self._counted = 0  # proposals of which `_begun` knows

    @property
    def first_left(self) -> list[FirstTrial]:
        """First trials that were not proposed yet."""
        return self._first[self._versions.sampled :]

    def follow(self) -> None:
        """Update Optuna's study with the trials that have ended since the last call."""
        index = len(self._history.proposals)
        begins = index - index % NEW_WINDOW_EVERY if self._window is not None else 0
        if begins != self._window_begins:
            self._rebuild(begins)
            return
        for place, optuna_trial in list(self._pending.items()):
            proposal = self._history.proposals[place]
            if proposal.state != TrialState.RUNNING:
                self._report_end(optuna_trial, proposal)
                del self._pending[place]

    def propose(self) -> Proposal:
        """Return the next proposal, which the caller must record as ASKED or REPEATED before the next call."""
        self.follow()
        index = len(self._history.proposals)
        params, user_attrs = next(iter(self.first_left), ({}, {}))
        anchor = ANCHOR in user_attrs
        if anchor and not params:
            return Proposal(dict(user_attrs[ANCHOR]), {}, {}, {}, anchor)
        self.study.sampler = make_sampler(self._config, index, self._knowledge())
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

    def _knowledge(self) -> StudyKnowledge:
        """Return what is known about the study besides the trials in the window."""
        for index in range(self._counted, len(self._history.proposals)):
            if isinstance(self._history.proposals[index], Trial):
                self._begun[params_key(self._versions.at(index).params)] += 1
        self._counted = len(self._history.proposals)
        return StudyKnowledge(
            finished=self._window.num_finished if self._window is not None else 0,
            is_taken=lambda params: self._begun[params_key(params)] >= self._config.replicates,
        )

    def _sampler_state(self, optuna_trial: optuna.Trial, before: dict[str, Any]) -> dict[str, Any]:
        """Return the attributes that the sampler stored in Optuna during a proposal; empty for most samplers.

        Args:
            optuna_trial: trial of the proposal.
            before: attributes of Optuna's study before the proposal.
        """
        if not self._sampler_entry.keeps:
            return {}
        trial_attrs = self._storage.get_trial(self._trial_id(optuna_trial.number)).system_attrs
        study_attrs = self._storage.get_study_system_attrs(self._study_id)
        return {
            "trial": {name: value for name, value in trial_attrs.items() if name.startswith(self._sampler_entry.keeps)},
            "study": {
                name: value
                for name, value in study_attrs.items()
                if name.startswith(self._sampler_entry.keeps) and value != before.get(name)
            },
        }

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)

    def _rebuild(self, begins: int) -> None:
        """Build Optuna's study anew from the window of the proposals before `begins`, and all proposals after it."""
        self._window_begins = begins
        self._storage = optuna.storages.InMemoryStorage()
        sampler = make_sampler(self._config, begins)
        self.study = optuna.create_study(storage=self._storage, sampler=sampler, directions=DIRECTIONS)
        self._study_id = self._storage.get_study_id_from_name(self.study.study_name)
        number = 0
        if self._sampler_entry.needs_all_dimensions:
            self.study.add_trial(self._trial_of_all_dimensions())
            number = 1
        shown = [] if self._window is None else self._window.select(begins, f"{self._config.seed} {begins}")
        self._pending = {}
        for index in [*shown, *range(begins, len(self._history.proposals))]:
            proposal = self._versions.at(index)
            if not proposal.params:
                continue
            self.study.add_trial(frozen(proposal, self._user_attrs(proposal), self._constraint_values(proposal)))
            if proposal.state == TrialState.RUNNING:
                self._pending[index] = optuna.Trial(self.study, self._trial_id(number))
            number += 1
        for proposal in self._history.proposals if self._sampler_entry.keeps else ():
            for name, value in proposal.sampler_state.get("study", {}).items():
                self._storage.set_study_system_attr(self._study_id, name, value)

    def _trial_of_all_dimensions(self) -> FrozenTrial:
        """Return a trial that only shows all dimensions, for a sampler that takes them from the first trial."""
        space = self._config.space
        family = max(space.family, key=lambda name: family_of(name).has_penalty)
        by_name: dict[str, BaseDistribution] = distributions(space, family)
        params = {name: first_value(distribution) for name, distribution in by_name.items()} | {"family": family}
        return create_trial(state=OptunaState.PRUNED, params=params, distributions=by_name)

    def _constraint_values(self, proposal: Trial | KnownResult) -> dict[str, float]:
        if proposal.state not in FINISHED:
            return {}
        metrics = metrics_of(proposal)
        return {str(constraint): constraint.violation(metrics) for constraint in self._constraints}

    def _user_attrs(self, proposal: Trial | KnownResult) -> dict[str, Any]:
        attributes: dict[str, Any] = {}
        if isinstance(proposal, Trial) and proposal.anchor:
            attributes[ANCHOR] = {name: proposal.config[name] for name in ("family", "num_levels", "placement")}
        if isinstance(proposal, Trial) and proposal.failure is not None:
            attributes[FAILURE] = proposal.failure
        return attributes

    def _report_end(self, optuna_trial: optuna.Trial, proposal: Trial | KnownResult) -> None:
        for name, value in self._constraint_values(proposal).items():
            optuna_trial.set_constraint(name, value)
        if isinstance(proposal, Trial) and proposal.failure is not None:
            optuna_trial.set_user_attr(FAILURE, proposal.failure)
        self.study.tell(optuna_trial, values_of(proposal), OPTUNA_STATES[proposal.state])
