"""One-line messages, in the user's terms, for pydantic's validation errors of a configuration."""

import re
from collections.abc import Collection
from types import UnionType
from typing import Any, Union, get_origin

from pydantic import BaseModel, ValidationError

from trainables.config import TYPE_NAMES, remedy_for_type

_TYPES = {"int_type": int, "float_type": float, "bool_type": bool, "string_type": str}

_RULES = {
    "greater_than_equal": ("at least {ge}", "raise it"),
    "greater_than": ("above {gt}", "raise it"),
    "less_than_equal": ("at most {le}", "lower it"),
    "less_than": ("below {lt}", "lower it"),
    "finite_number": ("a finite number", "correct it"),
    "literal_error": ("{expected}", "choose one of these"),
    "too_short": ("a list of at least {min_length}", "add to it"),
    "list_type": ("a list", "write [{input}]"),
    "model_type": ("a mapping of keys to values", "correct it"),
    "dict_type": ("a mapping of keys to values", "correct it"),
    "invalid_key": ("text", "put it in quotes"),
}
"""Rule and remedy by pydantic's error type, with placeholders for the error's context."""

LONGEST_VALUE = 200
"""Number of characters after which a message cuts a received value."""


def shown(value: object) -> str:
    """Return the representation of a received value for a message, cut if it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def one_line(error: ValidationError, model: type[BaseModel]) -> str:
    """Return all errors in one line, each with name, rule, received value and remedy.

    Args:
        error: validation error of pydantic.
        model: model whose validation failed.
    """
    lines = [_line(dict(detail), model) for detail in error.errors()]
    return "; ".join(re.sub(r"\s+", " ", line) for line in lines)


def _line(detail: dict[str, Any], model: type[BaseModel]) -> str:
    kind, location, received = detail["type"], detail["loc"], detail["input"]
    name = ".".join(str(part) for part in location)
    context = detail.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key {name!r}; choose from {_choices(model, location[:-1])}"
    if kind == "value_error":  # one of our own validators, whose message is complete
        text = str(context["error"])
        return text if not name or name in text else f"{name}: {text}"
    if kind == "missing":
        return f"{name} is missing; set it"
    if kind in _TYPES:
        expected = _TYPES[kind]
        rule, remedy = TYPE_NAMES[expected], remedy_for_type(received, (expected,))
    elif kind in _RULES:
        rule, remedy = (text.format(**context, input=shown(received)) for text in _RULES[kind])
    else:
        rule, remedy = detail["msg"][:1].lower() + detail["msg"][1:], "correct it"
    return f"{name} must be {rule}, got {shown(received)}; {remedy}"


def _choices(model: Any, location: Collection[int | str]) -> list[str]:
    """Return the keys that are allowed at a location within a model."""
    for part in location:
        model = _present(model)
        field = getattr(model, "model_fields", {}).get(str(part))
        # An index leads into a list, a key into a mapping: their entries have the type that they are annotated with.
        entries = getattr(model, "__args__", [None])
        model = field.annotation if field is not None else entries[-1 if get_origin(model) is dict else 0]
    return sorted(getattr(_present(model), "model_fields", {}))


def _present(model: Any) -> Any:
    """Return the type of a section that may be None; other types unchanged."""
    if get_origin(model) not in (Union, UnionType):
        return model
    return next(kind for kind in model.__args__ if kind is not type(None))
