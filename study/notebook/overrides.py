"""Changes of a configuration as keyword arguments, converted to the lines that `--set` takes."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml


class _OneLine(yaml.SafeDumper):
    """Writes texts with line breaks in double quotes, which escape them; other quotes would hold them as they are."""


_OneLine.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style='"' if text.splitlines() not in ([], [text]) else None
    ),
)


def override_lines(overrides: Mapping[str, Any]) -> list[str]:
    """Return changes of a configuration as `KEY=VALUE`, with dots between nested keys and values in YAML.

    Args:
        overrides: values by key. A mapping changes the keys that it names; a mapping with import paths as keys, which
            hold dots themselves, replaces all of them.

    Raises:
        ValueError: a key is no text, or a value is no plain data; one line.
    """
    return [f"{key}={_as_yaml(key, value)}" for key, value in _flattened(overrides, "")]


def _flattened(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if not isinstance(key, str):
            raise ValueError(f"keys of {prefix.rstrip('.') or 'overrides'} must be texts, got {key!r}; correct it")
        if isinstance(value, Mapping) and value and not any(":" in str(inner) for inner in value):
            yield from _flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _as_yaml(key: str, value: Any) -> str:
    try:
        plain = dict(value) if isinstance(value, Mapping) else value
        text = yaml.dump(plain, Dumper=_OneLine, default_flow_style=True, allow_unicode=True, width=float("inf"))
    except yaml.YAMLError:
        raise ValueError(
            f"{key} must be plain data (texts, numbers, true, false, None, lists, dicts), got {value!r}; convert it"
        ) from None
    return text.removesuffix("...\n").strip()
