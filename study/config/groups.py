"""Rules of a study's groups of layers: those that a trial names, and those that come of an allocation of bits."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from study.config.dimensions import Dimension, group_of
from study.config.sections import Space
from trainables.config import DEFAULT_CHOICES, FLOAT
from trainables.result import ALLOCATED

AUTO = "auto"
"""Value of `trial.groups` that lets measured costs choose K for each layer."""

BITS = "allocation.bits"
"""Name of the field that says how many bits are shared out."""


def with_allocation(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a study with `groups: auto` written out.

    It stands for an allocation between `DEFAULT_CHOICES`, unless `trial.allocation` names others. Where bits are
    allocated, no layer has a K that is searched by itself: `space.num_levels` is the largest choice if it is left out.

    Args:
        values: content of a study.yaml.
    """
    trial, space = values.get("trial", {}), values.get("space")
    if not isinstance(trial, Mapping):
        return dict(values)
    given = trial.get("allocation", {})
    if trial.get("groups") == AUTO and isinstance(given, Mapping):
        given = {"num_levels": list(DEFAULT_CHOICES)} | dict(given)
        trial = {**trial, "groups": {}, "allocation": given}
    choices = given.get("num_levels") if isinstance(given, Mapping) else None
    whole = isinstance(choices, list) and bool(choices) and all(type(value) is int for value in choices)
    if choices and whole and isinstance(space, Mapping) and "num_levels" not in space:
        space = {**space, "num_levels": {"low": max(choices), "high": max(choices)}}
    return {**values, "trial": trial} | ({} if space is None else {"space": space})


def check_groups_of(trial: Mapping[str, Any], fields: Collection[str], set_by_trials: Iterable[str]) -> None:
    """Check that the groups and the bits that a study searches are there.

    Args:
        trial: section `trial` of the study, complete.
        fields: further fields of the space.
        set_by_trials: further fields that the space or the plan sets for each trial.

    Raises:
        ValueError: a rule is broken; one line.
    """
    groups = trial["groups"]
    for name in groups:
        if name.startswith(ALLOCATED):
            raise ValueError(
                f"trial.groups must have names that don't begin with {ALLOCATED!r}, which an allocation makes, got "
                f"{name!r}; choose another name"
            )
    names = set(set_by_trials)
    for field in sorted(names):
        if (group := group_of(field)) is not None and group not in groups:
            raise ValueError(
                f"{'space' if field in fields else 'plan'}.{field} must name a group of trial.groups, got {group!r}; "
                f"choose from {sorted(groups)}, or add it there"
            )
    choices, has_bits = trial["allocation"]["num_levels"], BITS in names or trial["allocation"]["bits"] is not None
    if choices and not has_bits:
        raise ValueError(
            f"space.{BITS} must be given where groups are {AUTO}, got none; set it to bits per weight, as [1.5, 2, 3]"
        )
    if has_bits and trial["init"] != "pretrained":
        raise ValueError(
            f"trial.init must be 'pretrained' where bits are allocated, since costs are measured on the float network, "
            f"got {trial['init']!r}; set it so"
        )


def levels_of_groups(space: Space) -> dict[str, Any]:
    """Return a value of K that is searched for each group, by dotted name; one that quantizes, if there is one."""
    dimensions: Mapping[str, Dimension] = space.fields
    return {
        name: next((value for value in one.examples() if value != FLOAT), FLOAT)
        for name, one in dimensions.items()
        if group_of(name) is not None and name.endswith(".num_levels")
    }
