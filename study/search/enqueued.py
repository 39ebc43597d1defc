"""Trials that users ask for: the check of their fields, and their proposal."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from study.config import PlannedTrial, StudyConfig
from study.config.messages import one_line
from study.search.space import dimensions, params_of, value_at
from trainables.families import family_of


def searched_fields(values: Mapping[str, Any], config: StudyConfig) -> dict[str, Any]:
    """Return the searched fields of a trial that a user asks for, by dotted name.

    A placement that is left out is the family's default, and a further searched field has the value of `trial`. The
    trial may lie outside the space: K and λ beyond the ranges, or a family that is not searched.

    Args:
        values: family, num_levels, lam, placement and fields of the space, by dotted name or nested.
        config: configuration of the study.

    Raises:
        ValueError: the study searches nothing, a field is missing, unknown or not searched, or no trial can have these
            values; one line.
    """
    if config.plan:
        raise ValueError("the study must search, got one that runs a plan; launch another study for further trials")
    try:
        planned = PlannedTrial.model_validate(values)
    except ValidationError as error:
        raise ValueError(one_line(error, PlannedTrial)) from None
    for name in planned.fields:
        if name not in config.space.fields:
            names = ["family", "num_levels", "lam", "placement", *config.space.fields]
            raise ValueError(f"{name} must be searched by the study, got it; choose from {names}")
    has_penalty = family_of(planned.family).has_penalty
    if has_penalty and not planned.lam:
        raise ValueError(f"lam is missing for {planned.family}, whose penalty it weights; set it above 0")
    if not has_penalty and planned.lam:
        raise ValueError(f"lam must be left out for {planned.family}, which has no penalty, got {planned.lam}")
    searched = {name: value_at(config.trial, name) for name in config.space.fields} | planned.searched
    config.trial_config(searched)
    return searched


def params_in_space(searched: Mapping[str, Any], config: StudyConfig) -> dict[str, Any]:
    """Return Optuna's parameters of a trial that a user asks for; empty if it lies outside the space."""
    return params_of(searched, config.space) or {}


def distributions_in_space(params: Mapping[str, Any], config: StudyConfig) -> dict[str, str]:
    """Return Optuna's distributions of parameters as JSON, by name."""
    from optuna.distributions import distribution_to_json

    by_name = {one.name: one.distribution for one in dimensions(config.space)}
    return {name: distribution_to_json(by_name[name]) for name in params}
