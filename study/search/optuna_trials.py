"""Conversion of the ledger's proposals to Optuna's trials, for the sampler and for the dashboard."""

import functools
from typing import Any

from optuna.distributions import json_to_distribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, create_trial
from optuna.trial import TrialState as OptunaState

from study.ledger.history import KnownResult, Trial
from trainables.result import TrialState

OBJECTIVES = ("val_accuracy", "bits_per_weight")
DIRECTIONS = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE)
OPTUNA_STATES = {
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.PRUNED: OptunaState.PRUNED,
    TrialState.FAIL: OptunaState.FAIL,
    TrialState.RUNNING: OptunaState.RUNNING,
}

_distribution_of = functools.lru_cache(maxsize=256)(json_to_distribution)


class QuicklyCopied(FrozenTrial):
    """Frozen trial whose deep copies share its values and distributions, which nobody changes.

    Optuna copies each trial that is added to a study in memory, which with all distributions took 0.2 ms a trial.
    """

    @classmethod
    def of(cls, trial: FrozenTrial) -> "QuicklyCopied":
        """Return a trial with the same content."""
        result = cls.__new__(cls)
        vars(result).update(vars(trial))
        return result

    def __deepcopy__(self, memo: dict[int, Any]) -> "QuicklyCopied":
        """Return a copy with dictionaries of its own."""
        result = self.of(self)
        vars(result).update({name: dict(value) for name, value in vars(self).items() if isinstance(value, dict)})
        return result


def metrics_of(proposal: Trial | KnownResult) -> dict[str, Any]:
    """Return the metrics of a proposal's last epoch; empty before the first."""
    return proposal.last if isinstance(proposal, Trial) else proposal.metrics


def values_of(proposal: Trial | KnownResult) -> list[float] | None:
    """Return the objectives of a proposal that was trained for its full budget; None for any other."""
    return [metrics_of(proposal)[name] for name in OBJECTIVES] if proposal.state == TrialState.COMPLETE else None


def frozen(
    proposal: Trial | KnownResult, user_attrs: dict[str, Any], constraint_values: dict[str, float] | None = None
) -> FrozenTrial:
    """Return a proposal as Optuna's frozen trial, with the attributes that the sampler stored in it.

    Args:
        proposal: trial or known result of the ledger.
        user_attrs: user attributes of the frozen trial.
        constraint_values: violations by constraint, above 0 where violated; None for no constraints.
    """
    trial = create_trial(
        state=OPTUNA_STATES[proposal.state],
        params=proposal.params,
        distributions={name: _distribution_of(text) for name, text in proposal.distributions.items()},
        values=values_of(proposal),
        user_attrs=user_attrs,
        system_attrs=proposal.sampler_state.get("trial"),
        constraints=constraint_values or {},
    )
    return QuicklyCopied.of(trial)
