"""Names in figures and tables: labels and order of the families, titles, and labels of axes, from a YAML file."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from analysis.costs import COSTS
from analysis.levels import families_of
from trainables.errors import message_of
from trainables.files.regular import read_regular

MOST_BYTES = 10**5

ACCURACY_LABELS = {
    "search": "validation accuracy (search)",
    "trials": "validation accuracy (trials)",
    "validation": "validation accuracy",
    "test": "test accuracy",
}
"""Labels of the accuracy axis by name: of trials of a search or plan, and of means over seeds on each split."""

SECTIONS = {
    "families": "labels of families; their order is that of figures and tables",
    "titles": "titles by the name of a figure or table",
    "labels": f"labels of axes by their name: {', '.join([*COSTS, *ACCURACY_LABELS])}",
}


def field_text(value: object) -> str:
    """Return the value of a searched field as tables and pages show it: three digits, a dash if it is missing."""
    if value is None or value != value:
        return "–"
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, kw_only=True)
class Names:
    """Names that figures and tables show.

    Attributes:
        families: label of each family; those in it come first, in its order.
        titles: title of a figure or table, by its name.
        labels: label of an axis, by a key of `analysis.costs.COSTS` or one of `ACCURACY_LABELS`.
    """

    families: Mapping[str, str] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    def order(self, values: Iterable[str]) -> list[str]:
        """Return the distinct families: those of the file in its order, then the others as `families_of` does."""
        present = families_of(values)
        listed = [family for family in self.families if family in present]
        return [*listed, *(family for family in present if family not in listed)]

    def family(self, name: str) -> str:
        """Return the label of a family; its name if the file has none."""
        return self.families.get(name, name)


def read_names(path: Path) -> Names:
    """Read labels, order and titles from a YAML file.

    Raises:
        ValueError: the file cannot be read, or is not as `SECTIONS` says; one line.
    """
    try:
        content = yaml.safe_load(read_regular(path, MOST_BYTES).decode())
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or message_of(error)
        raise ValueError(f"names {path} can't be read: {reason}; give a YAML file with {_expected()}") from None
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise ValueError(f"names {path} must hold a mapping, got {type(content).__name__}; write {_expected()}")
    if unknown := [key for key in content if key not in SECTIONS]:
        raise ValueError(f"names {path} must hold {_expected()}, got {unknown[0]!r}; remove it")
    sections = {key: _texts(path, key, content.get(key)) for key in SECTIONS}
    known = [*COSTS, *ACCURACY_LABELS]
    if wrong := [key for key in sections["labels"] if key not in known]:
        raise ValueError(f"names {path}: labels must be of one of {known}, got {wrong[0]!r}; correct or remove it")
    labels = list(sections["families"].values())
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise ValueError(f"names {path}: labels of families must differ, got {twice[0]!r} twice; change one")
    return Names(**sections)


def _expected() -> str:
    return ", ".join(f"'{key}' ({meaning})" for key, meaning in SECTIONS.items())


def _texts(path: Path, section: str, content: Any) -> dict[str, str]:
    """Return a section of the file, a mapping of names to texts; raise ValueError if it is none."""
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"names {path}: {section} must map names to texts, got {content!r}; write NAME: TEXT lines")
    for name, text in content.items():
        if not (isinstance(name, str) and isinstance(text, str) and text.strip() and text.isprintable()):
            raise ValueError(
                f"names {path}: {section} must map names to texts of one line, got {name!r}: {text!r}; "
                "put quotes around a name or text that YAML reads as something else"
            )
    return dict(content)
