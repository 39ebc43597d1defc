"""The search space: dimensions of a study as Optuna's distributions, some of which depend on the family."""

from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from study.config import Space, StudyConfig
from trainables.families import family_of

ANCHOR = "anchor"
"""User attribute of an anchor's Optuna trial, which is never stopped early. It holds the fixed searched fields."""


def _placement_key(family: str) -> str:
    # Optuna allows one distribution per name, and a family without representatives of its own has fewer placements.
    return "placement" if family_of(family).has_representatives else "placement_none"


def _lam_key(family: str, space: Space) -> str:
    # One distribution per name here too: a family with a range of its own has a name of its own.
    return f"lam_{family}" if family in space.lam_by_family else "lam"


def suggest(optuna_trial: optuna.Trial, space: Space) -> dict[str, Any]:
    """Ask Optuna for the searched fields of a `TrialConfig`; λ only for families with a penalty."""
    family = optuna_trial.suggest_categorical("family", space.family)
    searched = {
        "family": family,
        "num_levels": optuna_trial.suggest_int("num_levels", space.num_levels.low, space.num_levels.high, log=True),
        "placement": optuna_trial.suggest_categorical(_placement_key(family), space.placements(family)),
    }
    if family_of(family).has_penalty:
        lam = space.lam_range(family)
        searched["lam"] = optuna_trial.suggest_float(_lam_key(family, space), lam.low, lam.high, log=True)
    return searched


def distributions(space: Space, family: str) -> dict[str, BaseDistribution]:
    """Return the distributions that `suggest` uses for a family, by Optuna's parameter names."""
    by_name: dict[str, BaseDistribution] = {
        "family": CategoricalDistribution(space.family),
        "num_levels": IntDistribution(space.num_levels.low, space.num_levels.high, log=True),
        _placement_key(family): CategoricalDistribution(space.placements(family)),
    }
    if family_of(family).has_penalty:
        lam = space.lam_range(family)
        by_name[_lam_key(family, space)] = FloatDistribution(lam.low, lam.high, log=True)
    return by_name


def first_value(distribution: BaseDistribution) -> Any:
    """Return the first choice or the lowest number of a dimension."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return distribution.low


def params_of(searched: dict[str, Any], space: Space) -> dict[str, Any] | None:
    """Return Optuna's parameters for searched fields (the inverse of `suggest`); None if they lie outside the space."""
    family, num_levels, placement = searched["family"], searched["num_levels"], searched.get("placement")
    inside = (
        family in space.family
        and num_levels is not None
        and space.num_levels.low <= num_levels <= space.num_levels.high
        and placement in space.placements(family)
    )
    if not inside:
        return None
    params = {"family": family, "num_levels": num_levels, _placement_key(family): placement}
    if family_of(family).has_penalty:
        lam, allowed = searched.get("lam"), space.lam_range(family)
        if lam is None or not allowed.low <= lam <= allowed.high:
            return None
        params[_lam_key(family, space)] = lam
    return params


def _anchor(family: str, num_levels: int, space: Space) -> dict[str, Any]:
    """Return the searched fields of an anchor: placed by default, and with λ in the middle of its range."""
    anchor = {"family": family, "num_levels": num_levels, "placement": family_of(family).default_placement}
    return anchor | ({"lam": space.middle_lam(family)} if family_of(family).has_penalty else {})


def first_trials(study: StudyConfig) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the proposals made before the sampler chooses, as pairs of Optuna's parameters and user attributes.

    With a plan, these are its trials. Otherwise the anchors come first: the float baseline, then a trial of each family
    of `anchors` at each of its K. An anchor outside the space has no parameters. One trial of each family follows,
    whose other dimensions the sampler chooses. That trial is an anchor too, so that every family has a result, unless
    `early_stopping.first_of_family` is `compared`.
    """
    if study.plan:
        return [({}, {ANCHOR: trial.model_dump()}) for _ in range(study.replicates) for trial in study.plan]
    anchors: list[dict[str, Any]] = [{"family": "none", "num_levels": None}]
    anchors += [
        _anchor(family, num_levels, study.space)
        for num_levels in study.anchors.num_levels
        for family in study.anchors.family
    ]
    first = [(params_of(anchor, study.space) or {}, {ANCHOR: anchor}) for anchor in anchors]
    for family in study.space.family:
        is_anchor = study.early_stopping.first_of_family == "finished"
        first.append(({"family": family}, {ANCHOR: {"family": family}} if is_anchor else {}))
    return first
