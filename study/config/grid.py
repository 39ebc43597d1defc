"""Plans written as a grid: all combinations of values, each with several seeds."""

import json
from collections.abc import Mapping
from itertools import product
from typing import Any

from trainables.families import family_of
from trainables.import_path import is_import_path

MOST_CONFIGURATIONS = 10_000
"""Largest number of combinations. study.yaml lists each of them, and has a largest size."""

_KEYS = {"grid", "seeds"}


def with_expanded_plan(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the configuration of a study with the list of trials, the seeds and their product in place of a grid.

    A combination that no trial can have is left out: a placement that a family does not support, and K = null for a
    family other than `none`. λ is left out for a family without a penalty, whose trials are then listed once.

    Args:
        values: content of a study.yaml.

    Raises:
        ValueError: the grid is malformed; one line.
    """
    plan = values.get("plan")
    if not isinstance(plan, Mapping):
        return values
    if set(plan) != _KEYS or not isinstance(plan["grid"], Mapping) or not plan["grid"]:
        raise ValueError(
            f"plan must be a list of trials, or have the keys grid and seeds, got {plan!r}; "
            "write {grid: {family: […], num_levels: […]}, seeds: 3}"
        )
    seeds = plan["seeds"]
    if type(seeds) is not int or seeds < 1:
        raise ValueError(f"plan.seeds must be an integer of at least 1, got {seeds!r}; correct it")
    axes = _axes(plan["grid"])
    for key in ("family", "num_levels"):
        if key not in axes:
            if key not in plan["grid"]:
                raise ValueError(f"plan.grid.{key} is missing; give a list of values")
            raise ValueError(f"plan.grid.{key} must be a list of values, got {plan['grid'][key]!r}; set it so")
    count = 1
    for choices in axes.values():
        count *= len(choices)
    if count > MOST_CONFIGURATIONS:
        raise ValueError(
            f"plan.grid must have at most {MOST_CONFIGURATIONS} combinations, got {count}; shorten its lists"
        )
    distinct: dict[str, dict[str, Any]] = {}
    for combination in product(*axes.values()):
        trial = _trial(dict(zip(axes, combination, strict=True)))
        if trial is not None:
            distinct.setdefault(_key(trial), trial)
    trials = list(distinct.values())
    if not trials:
        raise ValueError(
            f"plan.grid must hold a combination that a trial can have, got {dict(plan['grid'])!r}; correct it"
        )
    _refuse_other_counts(values, trials, seeds)
    return {**values, "plan": trials, "replicates": seeds, "trials": len(trials) * seeds}


def _axes(grid: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the values of each dotted name; a section such as `recipe` may be written as a mapping."""
    axes: dict[str, list[Any]] = {}
    for key, choices in grid.items():
        if isinstance(choices, Mapping):
            axes |= {f"{key}.{name}": inner for name, inner in _axes(choices).items()}
            continue
        choices = choices if isinstance(choices, list) else [choices]
        if not choices:
            raise ValueError(f"plan.grid.{key} must be a list of at least 1 value, got []; add to it")
        axes[key] = choices
    return axes


def _key(trial: Mapping[str, Any]) -> str:
    """Return a text that two equal trials share; 1 and 1.0 are equal."""
    plain = {key: int(v) if isinstance(v, float) and v.is_integer() else v for key, v in trial.items()}
    return json.dumps(plain, sort_keys=True, default=repr)


def _trial(trial: dict[str, Any]) -> dict[str, Any] | None:
    """Return a combination as a planned trial; None if no trial can have it. What is invalid stays, to be refused."""
    if not isinstance(trial["family"], str):
        return trial
    try:
        family = family_of(trial["family"])
    except ValueError:
        return trial
    if not family.has_penalty:
        trial.pop("lam", None)
    if trial["num_levels"] is None:
        return None if trial["family"] != "none" else {key: v for key, v in trial.items() if key != "placement"}
    placement = trial.get("placement")
    if isinstance(placement, str) and not is_import_path(placement) and placement not in family.placements:
        return None
    return trial


def _refuse_other_counts(values: Mapping[str, Any], trials: list[dict[str, Any]], seeds: int) -> None:
    for key, expected in (("replicates", seeds), ("trials", len(trials) * seeds)):
        if values.get(key, expected) != expected:
            raise ValueError(
                f"{key} must be left out beside a grid, whose {len(trials)} configurations and {seeds} seeds make it "
                f"{expected}, got {values[key]!r}; leave it out"
            )
