"""Columns of further searched fields in the tables that a terminal shows."""

from collections.abc import Mapping, Sequence
from typing import Any

from study.search.space import value_at

COLUMN_WIDTH = 14
"""Characters that a table is given for a column of a further field, so that it fits its terminal."""


def short_names(fields: Sequence[str]) -> list[str]:
    """Return the shortest end of each dotted name that no other has, as `learning_rate` for `recipe.learning_rate`."""
    ends = {name: ["." + ".".join(name.split(".")[start:]) for start in range(name.count(".") + 1)] for name in fields}
    return [
        next((end[1:] for end in reversed(ends[name]) if sum(f".{other}".endswith(end) for other in fields) == 1), name)
        for name in fields
    ]


def field_values(trial: Mapping[str, Any], fields: Sequence[str]) -> list[str]:
    """Return the values of further fields of a trial as text; `–` for one that is not set.

    Args:
        trial: nested dictionary of a `TrialConfig`.
        fields: dotted names of the fields.
    """
    values = [value_at(trial, name) for name in fields]
    return ["–" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value) for value in values]
