"""Dimensions of a search space: any field of a trial by its dotted name, with a range or a list of values."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Self, get_args, get_origin

from pydantic import Field, field_validator, model_validator

from study.config.section import Section
from trainables.choices import choose
from trainables.config import TYPE_NAMES, LayerGroup, TrialConfig

FAMILY = "family"

OPTIONS = "model_options."
"""Beginning of the name of an option of the model, of any type."""

GROUPS = "groups."
"""Beginning of the name of a group's field, `groups.<name>.<field>`."""

GROUP_FIELDS: dict[str, tuple[type, ...]] = {
    item.name: get_args(item.type) for item in fields(LayerGroup) if item.name != "layers"
}
"""Types of the fields of a group that can be searched."""

NOT_SEARCHED = {
    "family": "set it under space.family",
    "num_levels": "set it under space.num_levels",
    "lam": "set it under space.lam",
    "placement": "set it under space.placement",
    "finetune_epochs": "search regularize_epochs, which the rest of all epochs follows",
    **dict.fromkeys(
        ("seed", "evaluate_test", "data_dir", "dataset", "subset", "validation_fraction", "init", "initial_weights"),
        "set it under trial, for trials with another one can't be compared",
    ),
    "sources": "leave it out: a launch computes it",
    "allocation.num_levels": "set it under trial, for the costs of all values are measured before the first trial",
    "recipe.statistics": "set it under trial, for it decides what the objective is",
}
"""Fields of a trial that can't be dimensions of this kind, with the remedy."""


def searchable_fields() -> dict[str, tuple[type, ...]]:
    """Return the types of all fields of a trial that can be searched, by dotted name."""
    return {name: kinds for name, kinds in _all_fields(TrialConfig, "") if name not in NOT_SEARCHED}


def _all_fields(section: type, prefix: str) -> Iterator[tuple[str, tuple[type, ...]]]:
    for item in fields(section):
        if isinstance(item.type, type) and is_dataclass(item.type):
            yield from _all_fields(item.type, f"{prefix}{item.name}.")
        elif get_origin(item.type) not in (dict, list):
            yield f"{prefix}{item.name}", get_args(item.type) or (item.type,)


def types_of(name: str) -> tuple[type, ...] | None:
    """Return the types of a searched field; None for an option of the model, which may have any.

    Raises:
        ValueError: there is no such field, or it can't be searched.
    """
    if name in NOT_SEARCHED:
        raise ValueError(f"space.{name} must not be there, got it; {NOT_SEARCHED[name]}")
    if name.startswith(OPTIONS) and name != OPTIONS:
        return None
    known = searchable_fields()
    if (group := group_of(name)) is not None:
        known |= {f"{GROUPS}{group}.{field}": kinds for field, kinds in GROUP_FIELDS.items()}
    if name not in known:
        choose(
            "field of a trial", name, [*known, f"{OPTIONS}<name>", *(f"{GROUPS}<name>.{key}" for key in GROUP_FIELDS)]
        )
    return known[name]


def group_of(name: str) -> str | None:
    """Return the name of the group whose field a dotted name is; None if it is a field of no group."""
    parts = name.split(".")
    return parts[1] if name.startswith(GROUPS) and len(parts) == 3 else None


class Dimension(Section):
    """Values of one field of a trial.

    Attributes:
        low: smallest number of a range.
        high: largest number of a range.
        log: whether a range is searched on a logarithmic scale.
        values: values of a dimension without a range.
        when: values of `family`, or of dimensions above this one that have a list of values, at which this dimension
            exists; elsewhere the field has the value of `trial`.
        role: `scientific` for a field whose values are compared with each other, `nuisance` for one whose best value
            counts in every comparison, `fixed` for a single value. Source of the terms: Godbole et al., "Deep Learning
            Tuning Playbook" (2023).
    """

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    values: list[Any] | None = None
    when: dict[str, list[Any]] = Field(default_factory=dict)
    role: Literal["scientific", "nuisance", "fixed"] = "nuisance"

    @model_validator(mode="before")
    @classmethod
    def _from_short_forms(cls, values: Any) -> Any:
        """Accept a list of values, a single one, and a single value in `when`."""
        if isinstance(values, list):
            return {"values": values}
        if not isinstance(values, Mapping):
            return {"values": [values], "role": "fixed"}
        if isinstance(values.get("when"), Mapping):
            when = {key: value if isinstance(value, list) else [value] for key, value in values["when"].items()}
            return {**values, "when": when}
        return dict(values)

    @field_validator("values")
    @classmethod
    def _plain_and_distinct(cls, values: list[Any] | None) -> list[Any] | None:
        if values is None:
            return None
        if not values:
            raise ValueError("values must be a list of at least 1, got []; add to it")
        for value in values:
            if not (value is None or isinstance(value, (bool, int, float, str))):
                raise ValueError(f"values must be texts, numbers, true, false or null, got {value!r}; correct it")
        twice = [value for place, value in enumerate(values) if (type(value), value) in _typed(values[:place])]
        if twice:
            raise ValueError(f"values must be distinct, got {twice[0]!r} twice; remove one of them")
        return values

    @model_validator(mode="after")
    def _range_or_values(self) -> Self:
        has_range = self.low is not None and self.high is not None
        if has_range == (self.values is not None) or (self.low is None) != (self.high is None):
            raise ValueError(
                "a dimension must have low and high, or a list of values, got "
                f"{ {key: value for key, value in self if key in ('low', 'high', 'values') and value is not None} }; "
                "write {low: …, high: …} or […]"
            )
        if self.low is not None and self.high is not None:
            if not abs(self.low) < float("inf") or not abs(self.high) < float("inf"):
                raise ValueError(f"low and high must be finite, got {self.low} and {self.high}; correct them")
            if self.high < self.low:
                raise ValueError(f"high must be at least low ({self.low}), got {self.high}; raise it")
            if self.log and self.low <= 0:
                raise ValueError(
                    f"low must be above 0 on a logarithmic scale, got {self.low}; raise it, or leave out log"
                )
        elif self.log:
            raise ValueError("log must be left out where there are values, got true; leave it out")
        if self.role == "fixed" and len(self.values or ()) != 1:
            raise ValueError("a fixed dimension must have one value, got more; leave out the others, or its role")
        return self

    @property
    def is_whole(self) -> bool:
        """Whether the dimension is a range of integers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def examples(self) -> list[Any]:
        """Return the values at which the rules of a trial are checked: all values, or both ends of the range."""
        return list(self.values) if self.values is not None else [self.low, self.high]

    def typed_as(self, name: str) -> "Dimension":
        """Return the dimension with its numbers in the type of a field: integers become numbers where it wants those.

        Args:
            name: dotted name of the field.

        Raises:
            ValueError: the field is unknown, or a value has another type.
        """
        kinds = types_of(name)
        if kinds is None:
            return self
        if self.values is None:
            if not {int, float} & set(kinds):
                raise ValueError(
                    f"space.{name} must be a list of values, each {_names_of(kinds)}, got a range; write […]"
                )
            if float not in kinds and not self.is_whole:
                raise ValueError(
                    f"space.{name} must have whole low and high, got {self.low} and {self.high}; round them"
                )
            if float in kinds:
                return self.model_copy(update={"low": float(self.low or 0), "high": float(self.high or 0)})
            return self
        typed = []
        for value in self.values:
            if type(value) is int and float in kinds:
                value = float(value)
            if type(value) not in kinds:
                raise ValueError(
                    f"space.{name} must have values of its type, {_names_of(kinds)}, got {value!r}; correct it"
                )
            typed.append(value)
        return self.model_copy(update={"values": typed})


def _names_of(kinds: tuple[type, ...]) -> str:
    return " or ".join(TYPE_NAMES[kind] for kind in kinds)


def _typed(values: list[Any]) -> set[tuple[type, Any]]:
    return {(type(value), value) for value in values}


def with_fields(space: Any, known: Mapping[str, Any]) -> Any:
    """Return a space whose fields of a trial stand under `fields`, by dotted name.

    They may be written beside the other keys, with dots or nested, as `--set` nests them; what is nested changes what
    has dots.

    Args:
        space: content of the key `space`.
        known: the keys of a space itself.
    """
    if not isinstance(space, Mapping):
        return space
    own = {key: value for key, value in space.items() if key in known}
    others = {key: value for key, value in space.items() if key not in known}
    if not others or not isinstance(own.get("fields", {}), Mapping):
        return own | others if others else dict(space)
    found = dict(own.get("fields", {}))
    dotted, nested = ({k: v for k, v in others.items() if ("." in k) == with_dot} for with_dot in (True, False))
    for name, value in [*dotted.items(), *_flattened(nested, "")]:
        before = found.get(name)
        found[name] = {**before, **value} if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return own | {"fields": found}


def _flattened(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield dotted names and contents of nested sections of a trial."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        sections = {field.rpartition(".")[0] for field in searchable_fields()} | {
            OPTIONS.rstrip("."),
            GROUPS.rstrip("."),
        }
        is_group = name.startswith(GROUPS) and name.count(".") == 1
        if (name in sections or is_group) and isinstance(value, Mapping):
            yield from _flattened(value, f"{name}.")
        else:
            yield name, value
