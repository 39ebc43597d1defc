"""The proposals of earlier versions of a study, expressed in its present space."""

from dataclasses import replace
from typing import Any

from optuna.distributions import distribution_to_json

from study.config import StudyConfig
from study.ledger.history import History, KnownResult, Trial
from study.search.space import dimensions, distributions, params_of, value_at


class VersionedProposals:
    """Proposals of a study as its present space has them.

    A sampler learns from a proposal of an earlier version if the present space holds it: each of its values lies in
    the present ranges and lists, and each field that the present space does not search has the value of `trial`. Any
    other is shown without parameters, as an anchor outside the space is.
    """

    def __init__(self, config: StudyConfig, history: History) -> None:
        """Follow a history, which grows.

        Args:
            config: configuration of the study.
            history: history of its ledger.
        """
        self._config = config
        self._history = history
        self._begins = [history.version_changes[version].proposals for version in range(2, config.version + 1)]
        self._distributions: dict[str, dict[str, str]] = {}
        self._params: dict[int, dict[str, Any]] = {}  # by index of the proposal
        self._counts = [0]  # of sampled proposals before each index

    @property
    def proposed(self) -> list[int]:
        """Number of proposals by the sampler and by the first trials, in each earlier version."""
        counts = [self._sampled_before(index) for index in self._begins]
        return [after - before for before, after in zip([0, *counts], counts, strict=False)]

    @property
    def sampled(self) -> int:
        """Number of proposals by the sampler and by the first trials, in the present version."""
        return self._sampled_before(len(self._history.proposals)) - sum(self.proposed)

    def _sampled_before(self, index: int) -> int:
        """Count the proposals before an index that are neither priors nor requests of users."""
        for proposal in self._history.proposals[len(self._counts) - 1 : index]:
            sampled = proposal.request is None if isinstance(proposal, Trial) else proposal.number is not None
            self._counts.append(self._counts[-1] + sampled)
        return self._counts[index]

    def at(self, index: int) -> Trial | KnownResult:
        """Return a proposal as the present space has it."""
        proposal = self._history.proposals[index]
        if not self._begins or index >= self._begins[-1]:
            return proposal
        if index not in self._params:
            self._params[index] = params_of(self._searched(index, proposal), self._config.space) or {}
        params = self._params[index]
        if not params:
            return replace(proposal, params={}, distributions={})
        texts = self._distributions_of(params["family"])
        return replace(proposal, params=params, distributions={name: texts[name] for name in params})

    def _distributions_of(self, family: str) -> dict[str, str]:
        if family not in self._distributions:
            found = distributions(self._config.space, family)
            self._distributions[family] = {name: distribution_to_json(kind) for name, kind in found.items()}
        return self._distributions[family]

    def _searched(self, index: int, proposal: Trial | KnownResult) -> dict[str, Any]:
        """Return the fields of a proposal by dotted name; empty if it differs in a field that is not searched now."""
        trial = self._config.trial
        version = sum(begin <= index for begin in self._begins)
        earlier = self._config.earlier_versions[version].space
        if isinstance(proposal, KnownResult) and proposal.number is not None:
            proposal = self._history.trials[proposal.number]
        fields = dict.fromkeys([*earlier.fields, *self._config.space.fields])
        if isinstance(proposal, Trial):
            names = ("family", "num_levels", "lam", "placement", *fields)
            found = {name: value_at(proposal.config, name) for name in names}
        else:
            found = {name: value_at(trial, name) for name in fields}
            found |= {
                one.searched: proposal.params[one.name] for one in dimensions(earlier) if one.name in proposal.params
            }
        fixed = [name for name in earlier.fields if name not in self._config.space.fields]
        return {} if any(found[name] != value_at(trial, name) for name in fixed) else found
