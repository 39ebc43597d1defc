"""One-line messages for what pydantic finds wrong in a configuration."""

import re
from collections.abc import Collection
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import ValidationError


def _choices(model: Any, location: tuple[int | str, ...], left_out: Collection[str]) -> list[str]:
    """Return the keys that are allowed where `location` points into a model of pydantic or a dataclass.

    Args:
        model: the outermost model.
        location: keys from there to the mapping.
        left_out: fields of the outermost model that a configuration can't set.
    """

    def fields_of(model: Any) -> dict[str, Any]:
        if is_dataclass(model):
            return {field.name: field.type for field in fields(model)}
        return {name: field.annotation for name, field in getattr(model, "model_fields", {}).items()}

    top = model
    for part in location:
        model = fields_of(model).get(str(part))
    return sorted(set(fields_of(model)) - set(left_out if model is top else ()))


def one_line(error: ValidationError, model: Any, left_out: Collection[str] = (), prefix: str = "") -> str:
    """Return all that is wrong, in one line: name, rule, received value, remedy.

    Args:
        error: what pydantic raised.
        model: the model that was validated.
        left_out: fields of it that a configuration can't set, and which are no choices for an unknown key.
        prefix: of every name: the model's own place in the configuration, with a dot after it.
    """
    lines = []
    for detail in error.errors():
        location = detail["loc"]
        name = prefix + ".".join(str(part) for part in location)
        if detail["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            lines.append(f"unknown key {name!r}; choose from {_choices(model, location[:-1], left_out)}")
        elif detail["type"] == "value_error":  # our own message has all of it
            text = str(detail["ctx"]["error"])
            lines.append(text if not name or name.rstrip(".") in text else f"{name.rstrip('.')}: {text}")
        elif detail["type"] in ("missing", "missing_argument"):
            lines.append(f"{name} is missing; set it")
        else:
            rule = detail["msg"][:1].lower() + detail["msg"][1:]
            lines.append(f"{name}: {rule}, got {detail['input']!r}; correct it")
    return "; ".join(re.sub(r"\s+", " ", line) for line in lines)
