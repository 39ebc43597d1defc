"""Reading of configurations from nested dictionaries: keys and types are checked, and no value is converted."""

import math
from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin

from trainables.config.rules import require

LARGEST_INTEGER = 2**63 - 1
"""Largest integer that the tables hold."""

TYPE_NAMES = {int: "an integer", float: "a number", bool: "true or false", str: "text", NoneType: "null"}
"""Names of the types of fields in messages."""

_Section = TypeVar("_Section")


def read_section(kind: type[_Section], values: object, at: str) -> _Section:
    """Return the dataclass that a dictionary describes; raises as `TrialConfig.from_dict` does."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{at or 'a configuration'} must be a mapping of keys to values, got {values!r}; correct it")
    prefix = f"{at}." if at else ""
    known = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
    problems, accepted = [], {}
    for key, value in values.items():
        if key not in known:
            problems.append(f"unknown key {f'{prefix}{key}'!r}; choose from {sorted(known)}")
            continue
        try:
            annotation = known[key].type
            accepted[key] = (
                read_section(annotation, value, f"{prefix}{key}")
                if isinstance(annotation, type) and is_dataclass(annotation)
                else read_value(value, annotation, f"{prefix}{key}")
            )
        except ValueError as error:
            problems.append(str(error))
    for name, item in known.items():
        if item.default is MISSING and item.default_factory is MISSING and name not in values:
            problems.append(f"{prefix}{name} is missing; set it")
    if problems:
        raise ValueError("; ".join(problems))
    try:
        return kind(**accepted)
    except ValueError as error:
        raise ValueError(f"{at}: {error}" if at else str(error)) from None


def read_value(value: object, annotation: Any, name: str) -> object:
    """Return a value of a field's type: a truth value is no number, and a number with a fraction no integer.

    Raises:
        ValueError: it is of another type, or out of range; the message gives the rule, the value and the remedy.
    """
    if get_origin(annotation) is dict:
        entries = get_args(annotation)[1]
        if isinstance(entries, type) and is_dataclass(entries):
            return _read_sections(entries, value, name)
        return _read_options(value, name)
    if get_origin(annotation) is list:
        (entries,) = get_args(annotation)
        require(isinstance(value, list), name, "a list", value, "write […]")
        assert isinstance(value, list)
        return [read_value(item, entries, f"{name}.{place}") for place, item in enumerate(value)]
    kinds = get_args(annotation) or (annotation,)
    if type(value) in kinds:
        if isinstance(value, int):
            limit = LARGEST_INTEGER
            require(abs(value) <= limit, name, f"from {-limit} to {limit}", value, "choose another")
        return value
    if type(value) is int and float in kinds:
        require(abs(value) <= LARGEST_INTEGER, name, "a number of at most 19 digits", value, "write it as 1.0e+20")
        return float(value)
    rule = " or ".join(TYPE_NAMES[kind] for kind in kinds)
    raise ValueError(f"{name} must be {rule}, got {value!r}; {remedy_for_type(value, kinds)}")


def _read_sections(kind: Any, values: object, name: str) -> dict[str, Any]:
    """Return named sections, each of which may have a short form (`from_short_form` of its class)."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{name} must be a mapping of names to sections, got {values!r}; correct it")
    sections = {}
    for key, value in values.items():
        require(isinstance(key, str), f"a key of {name}", "text", key, "put it in quotes")
        try:
            expanded = kind.from_short_form(key, value)
        except ValueError as error:
            raise ValueError(f"{name}.{key}: {error}") from None
        sections[key] = read_section(kind, expanded, f"{name}.{key}")
    return sections


def _read_options(value: object, name: str) -> dict[str, Any]:
    """Return a mapping of names to plain values, as YAML and JSON hold them."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be a mapping of keys to values, got {value!r}; correct it")
    for key, option in value.items():
        require(isinstance(key, str), f"a key of {name}", "text", key, "put it in quotes")
        _require_plain(option, f"{name}.{key}")
    return dict(value)


def _require_plain(value: object, name: str) -> None:
    """Raise ValueError unless a value consists of texts, finite numbers, truth values, nulls, lists and mappings."""
    if isinstance(value, Mapping):
        _read_options(value, name)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            _require_plain(item, f"{name}.{place}")
    elif isinstance(value, float):
        require(math.isfinite(value), name, "a finite number", value, "correct it")
    else:
        plain = value is None or isinstance(value, (str, bool, int))
        require(plain, name, "text, a number, true, false or null", value, "correct it")


def remedy_for_type(value: object, kinds: Collection[type]) -> str:
    """Return what to write in place of a value of the wrong type."""
    if isinstance(value, float) and int in kinds and value.is_integer():
        return f"write {int(value)}"
    if isinstance(value, str) and not {int, float}.isdisjoint(kinds):
        return "write a number, without quotes"
    if bool in kinds:
        return "write true or false"
    if str in kinds:
        return "put it in quotes" if isinstance(value, (bool, int, float)) else "write a text"
    return "write a number"
