"""The search space: dimensions of a study as Optuna's distributions, conditional where the family asks for it."""

from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from study.config import Space, StudyConfig
from trainables.families import FAMILIES

ANCHOR = "anchor"
"""User attribute of an Optuna trial that comes first and is never stopped early: searched fields that are given."""


def _placement_key(family: str) -> str:
    # Optuna wants one distribution a name, and `none` can't be placed at its own representatives.
    return "placement" if FAMILIES[family].has_penalty else "placement_none"


def suggest(optuna_trial: optuna.Trial, space: Space) -> dict[str, Any]:
    """Asks for the searched fields of a `TrialConfig`, define-by-run: λ only where the family has one."""
    family = optuna_trial.suggest_categorical("family", space.family)
    searched = {
        "family": family,
        "num_levels": optuna_trial.suggest_int("num_levels", space.num_levels.low, space.num_levels.high, log=True),
        "placement": optuna_trial.suggest_categorical(_placement_key(family), space.placements(family)),
    }
    if FAMILIES[family].has_penalty:
        searched["lam"] = optuna_trial.suggest_float("lam", space.lam.low, space.lam.high, log=True)
    return searched


def distributions(space: Space, family: str) -> dict[str, BaseDistribution]:
    """The distributions that `suggest` asks for where it gets this family, by Optuna's names of them."""
    found: dict[str, BaseDistribution] = {
        "family": CategoricalDistribution(space.family),
        "num_levels": IntDistribution(space.num_levels.low, space.num_levels.high, log=True),
        _placement_key(family): CategoricalDistribution(space.placements(family)),
    }
    if FAMILIES[family].has_penalty:
        found["lam"] = FloatDistribution(space.lam.low, space.lam.high, log=True)
    return found


def params_of(searched: dict[str, Any], space: Space) -> dict[str, Any] | None:
    """Optuna's parameters of searched fields, the inverse of `suggest`; None if they lie outside the space."""
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
    if FAMILIES[family].has_penalty:
        lam = searched.get("lam")
        if lam is None or not space.lam.low <= lam <= space.lam.high:
            return None
        params["lam"] = lam
    return params


def first_trials(study: StudyConfig) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return what is proposed before the sampler chooses, as pairs of Optuna's parameters and user attributes.

    The anchors: the float baseline, then plain quantization after training at each K asked for. An anchor outside
    the space has no parameters for Optuna to learn from. Then one trial of each family with the rest left to the
    sampler; it is an anchor too, so that every family has a result, unless `early_stopping.first_of_family` has it
    compared. Where there is a plan: that, and nothing else.
    """
    if study.plan:
        return [({}, {ANCHOR: trial.model_dump()}) for _ in range(study.replicates) for trial in study.plan]
    anchors: list[dict[str, Any]] = [{"family": "none", "num_levels": None}]
    anchors += [
        {"family": "none", "num_levels": num_levels, "placement": "kmeans"} for num_levels in study.anchors.num_levels
    ]
    first = [(params_of(anchor, study.space) or {}, {ANCHOR: anchor}) for anchor in anchors]
    for family in study.space.family:
        is_anchor = study.early_stopping.first_of_family == "finished"
        first.append(({"family": family}, {ANCHOR: {"family": family}} if is_anchor else {}))
    return first
