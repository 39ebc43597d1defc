"""Proposals of the ledger as Optuna's trials: for the sampler to learn from, and for the dashboard to show."""

import functools
from typing import Any

from optuna.distributions import json_to_distribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from study.ledger.history import KnownResult, Trial
from trainables.result import COMPLETE, FAIL, PRUNED, RUNNING

OBJECTIVES = ("val_accuracy", "bits_per_weight")
DIRECTIONS = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE)
STATES = {
    COMPLETE: TrialState.COMPLETE,
    PRUNED: TrialState.PRUNED,
    FAIL: TrialState.FAIL,
    RUNNING: TrialState.RUNNING,
}

_distribution_of = functools.lru_cache(maxsize=256)(json_to_distribution)


def metrics_of(proposal: Trial | KnownResult) -> dict[str, Any]:
    """Metrics of its last epoch; empty before the first."""
    return proposal.last if isinstance(proposal, Trial) else proposal.metrics


def values_of(proposal: Trial | KnownResult) -> list[float] | None:
    """What Optuna takes for its result: the objectives of one with its full budget, nothing of any other."""
    return [metrics_of(proposal)[name] for name in OBJECTIVES] if proposal.state == COMPLETE else None


def frozen(
    proposal: Trial | KnownResult, user_attrs: dict[str, Any], constraint_values: dict[str, float] | None = None
) -> FrozenTrial:
    """The proposal as Optuna keeps it, with what its sampler has left there."""
    return create_trial(
        state=STATES[proposal.state],
        params=proposal.params,
        distributions={name: _distribution_of(text) for name, text in proposal.distributions.items()},
        values=values_of(proposal),
        user_attrs=user_attrs,
        system_attrs=proposal.sampler_state.get("trial"),
        constraints=constraint_values or {},
    )
