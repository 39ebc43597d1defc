"""The search space: dimensions of a study as Optuna's distributions, conditional where the family asks for it."""

from typing import Any

import optuna

from study.config import Space, StudyConfig
from trainables.families import FAMILIES

ANCHOR = "anchor"
"""User attribute of an Optuna trial that comes first and is never stopped early: its searched fields."""


def _placement_key(family: str) -> str:
    # Optuna wants one distribution a name, and `none` can't be placed at its own representatives.
    return "placement" if FAMILIES[family].has_penalty else "placement_none"


def _holds(space: Space, searched: dict[str, Any]) -> bool:
    return (
        searched["num_levels"] is not None
        and space.num_levels.low <= searched["num_levels"] <= space.num_levels.high
        and searched["family"] in space.family
        and searched["placement"] in space.placements(searched["family"])
    )


def suggest(optuna_trial: optuna.Trial, space: Space) -> dict[str, Any]:
    """Asks for the searched fields of a `TrialConfig`, define-by-run: λ only where the family has one."""
    anchor = optuna_trial.user_attrs.get(ANCHOR)
    if anchor is not None and not _holds(space, anchor):
        return dict(anchor)
    family = optuna_trial.suggest_categorical("family", space.family)
    searched = {
        "family": family,
        "num_levels": optuna_trial.suggest_int("num_levels", space.num_levels.low, space.num_levels.high, log=True),
        "placement": optuna_trial.suggest_categorical(_placement_key(family), space.placements(family)),
    }
    if FAMILIES[family].has_penalty:
        searched["lam"] = optuna_trial.suggest_float("lam", space.lam.low, space.lam.high, log=True)
    return searched


def first_trials(study: StudyConfig) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """What is enqueued before the sampler chooses, as pairs of Optuna's parameters and user attributes.

    The anchors: the float baseline, then plain quantization after training at each K asked for. An anchor outside
    the space has no parameters for Optuna to learn from. Then one trial of each family with the rest left to the
    sampler, so that no family is judged unseen.
    """
    space = study.space
    anchors: list[dict[str, Any]] = [{"family": "none", "num_levels": None}]
    anchors += [
        {"family": "none", "num_levels": num_levels, "placement": "kmeans"} for num_levels in study.anchors.num_levels
    ]
    first: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for anchor in anchors:
        parameters = {}
        if _holds(space, anchor):
            parameters = {
                "family": anchor["family"],
                "num_levels": anchor["num_levels"],
                _placement_key(anchor["family"]): anchor["placement"],
            }
        first.append((parameters, {ANCHOR: anchor}))
    return first + [({"family": family}, {}) for family in space.family]
