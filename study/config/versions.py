"""Versions of a study: the sections `space` and `early_stopping` may change while the study goes on."""

from typing import Any

from study.config.dimensions import Dimension
from study.config.section import Section
from study.config.sections import MOST_LEVELS, EarlyStopping, Space


class StudyVersion(Section):
    """Space that a version of a study proposes from, and the rules by which it stops trials.

    Attributes:
        space: its search space.
        early_stopping: its rules.
    """

    space: Space
    early_stopping: EarlyStopping


def check_space_change(old: Space, new: Space) -> None:
    """Check that a space may replace another one in a study that exists.

    Lists of values may change, and so may the ends of ranges. The kind of a dimension stays, because Optuna holds one
    kind for each name.

    Raises:
        ValueError: a dimension has another kind, or K is too large; one line.
    """
    if new.num_levels.high > max(MOST_LEVELS, old.num_levels.high):
        raise ValueError(
            f"space.num_levels.high must be at most {MOST_LEVELS}, whose index has 16 bits, got "
            f"{new.num_levels.high}; lower it"
        )
    for name in old.fields.keys() & new.fields.keys():
        before, after = _kind(old.fields[name]), _kind(new.fields[name])
        if before != after:
            raise ValueError(
                f"space.{name} must stay {before} in a study that exists, got {after}; launch another study with it, "
                "and warm_start from this one"
            )


def _kind(dimension: Dimension) -> str:
    if dimension.values is not None:
        return "a list of values"
    numbers = "whole numbers" if dimension.is_whole else "numbers"
    return f"a range of {numbers}{' on a logarithmic scale' if dimension.log else ''}"


def union_of(one: Space, other: Space) -> Space:
    """Return the smallest space that holds two spaces, whose dimensions have the same kinds.

    Lists are joined, and a range reaches from the lower to the upper end of both.

    Raises:
        ValueError: a dimension has another kind, condition or role in the other space; one line.
    """
    check_space_change(one, other)
    values = one.model_dump()
    values["family"] = _joined(one.family, other.family)
    values["placement"] = _joined(one.placement, other.placement)
    values["num_levels"] = _hull(one.num_levels, other.num_levels)
    values["lam"] = _hull(one.lam, other.lam)
    own = {**one.lam_by_family, **other.lam_by_family}
    values["lam_by_family"] = {family: _hull(one.lam_range(family), other.lam_range(family)) for family in own}
    for name, dimension in other.fields.items():
        before = one.fields.get(name, dimension)
        if (before.when, before.role) != (dimension.when, dimension.role):
            raise ValueError(
                f"space.{name} must have the same when and role in both spaces, got {before.when}, {before.role} and "
                f"{dimension.when}, {dimension.role}"
            )
        found = before.model_dump() | {"values": _joined(before.values, dimension.values)}
        values["fields"][name] = found | (_hull(before, dimension) if dimension.values is None else {})
    return Space.model_validate(values)


def _joined(one: list[Any] | None, other: list[Any] | None) -> list[Any] | None:
    """Return the values of two lists, each once; None for two ranges."""
    if one is None or other is None:
        return None
    return [*one, *(value for value in other if value not in one)]


def _hull(one: Any, other: Any) -> dict[str, Any]:
    return {"low": min(one.low, other.low), "high": max(one.high, other.high)}
