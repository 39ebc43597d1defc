"""Agreement of an Optuna database with the proposals of the ledger."""

from collections.abc import Iterable
from typing import Any

from study.ledger.history import History, KnownResult, Trial
from study.records.optuna_rows import StoredTrial
from study.search.optuna_trials import OPTUNA_STATES, values_of

KNOWN_FROM_START = ("number", "trial_id", "anchor", "config_hash")
"""User attributes of a trial that are there before it ends."""


def user_attrs(proposal: Trial | KnownResult) -> dict[str, Any]:
    """Return the user attributes that Optuna's trial of a proposal has."""
    attributes: dict[str, Any]
    if isinstance(proposal, Trial):
        attributes = {name: getattr(proposal, name) for name in KNOWN_FROM_START}
    else:
        attributes = {"prior": True} if proposal.number is None else {"repeated_of": proposal.number}
    if proposal.failure is not None:
        attributes["failure"] = proposal.failure
    return attributes


def matches(trials: Iterable[StoredTrial], history: History) -> bool:
    """Whether the trials in the storage match the ledger's proposals; unfinished ones may have ended since."""
    proposals = history.proposals
    return all(number < len(proposals) and agrees(trial, proposals[number]) for number, trial in enumerate(trials))


def agrees(trial: StoredTrial, proposal: Trial | KnownResult) -> bool:
    """Whether a trial in the storage matches a proposal; an unfinished one may have ended since."""
    expected = user_attrs(proposal)
    if not trial.state.is_finished():
        expected = {name: value for name, value in expected.items() if name in KNOWN_FROM_START}
        shown = {name: trial.user_attrs.get(name) for name in expected}
        return isinstance(proposal, Trial) and trial.params == proposal.params and shown == expected
    shown = {name: value for name, value in trial.user_attrs.items() if name in expected}
    return (
        trial.state == OPTUNA_STATES[proposal.state]
        and (trial.values or None) == values_of(proposal)
        and trial.params == proposal.params
        and shown == expected
    )
