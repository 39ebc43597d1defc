"""Groups of layers: sets of layers with their own K, λ and placement, or left in float."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from trainables.config.rules import require
from trainables.families import check_placement, family_of

FLOAT = "float"
"""Value of `num_levels` of a group whose layers are not quantized."""

TYPES = ("conv", "linear")
ENDS = ("first", "last")
KEYWORDS = (*TYPES, *ENDS)
"""Names of sets of layers that every network has: by type, and by place in the order of definition."""

NOT = "not "
"""Beginning of a pattern whose layers are left out of a group."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class LayerGroup:
    """A set of layers with settings of its own.

    Attributes:
        layers: patterns, separated by commas: `conv`, `linear`, `first`, `last`, or a glob on the names of modules
            (`features.*`). `not` before a pattern leaves its layers out: `conv, not first`. In YAML, a list of patterns
            may be written, and nothing where the group's name is one of the four words.
        num_levels: K of the layers; `float` if they are not quantized, None for the trial's K.
        lam: λ of the layers, None for the trial's; without effect on a family without a penalty.
        placement: placement of the layers' representatives, None for the trial's, which also counts where the family
            does not support this one.
    """

    layers: str
    num_levels: int | str | None = None
    lam: float | None = None
    placement: str | None = None

    def __post_init__(self) -> None:
        require(bool(self.patterns) and all(self.patterns), "layers", "patterns of layers", self.layers, "add one")
        levels = self.num_levels
        whole = type(levels) is int and levels >= 2
        require(levels in (None, FLOAT) or whole, "num_levels", "at least 2, or 'float'", levels, "correct it")
        if self.is_float:
            for key, value in (("lam", self.lam), ("placement", self.placement)):
                require(value is None, key, "left out where num_levels is 'float'", value, "leave it out")
        if self.lam is not None:
            require(math.isfinite(self.lam) and self.lam >= 0, "lam", "finite and at least 0", self.lam, "correct it")
        if self.placement is not None:
            check_placement(self.placement)

    @property
    def is_float(self) -> bool:
        """Whether the layers are left in float."""
        return self.num_levels == FLOAT

    @property
    def patterns(self) -> list[str]:
        """Patterns of the layers, in order; those of layers that are left out begin with `NOT`."""
        return [" ".join(part.split()) for part in self.layers.split(",")]

    @classmethod
    def from_short_form(cls, name: str, value: Any) -> Any:
        """Return the fields of a group for what a YAML file may hold in their place.

        `first: float` and `linear: 16` give K alone; a list of patterns becomes a text; without `layers`, a name that
        is one of `KEYWORDS` is the pattern.

        Raises:
            ValueError: the name is none, or the patterns are missing; one line.
        """
        require(
            _NAME.fullmatch(name) is not None, "a group's name", "letters, digits and '_'", name, "choose another name"
        )
        if not isinstance(value, Mapping):
            value = {"num_levels": value}
        layers = value.get("layers", name if name in KEYWORDS else None)
        require(layers is not None, "layers", f"given, since {name!r} is none of {list(KEYWORDS)}", None, "set it")
        if isinstance(layers, list):
            layers = ", ".join(str(pattern) for pattern in layers)
        return {**value, "layers": layers}


def effective_groups(groups: Mapping[str, LayerGroup], family: str) -> dict[str, LayerGroup]:
    """Return groups without the settings that have no effect on a family: λ without a penalty, and its placement."""
    known = family_of(family)
    return {
        name: replace(
            group,
            lam=group.lam if known.has_penalty else None,
            placement=group.placement if _supports(family, group.placement) else None,
        )
        for name, group in groups.items()
    }


def _supports(family: str, placement: str | None) -> bool:
    if placement is None:
        return False
    try:
        check_placement(placement, family)
    except ValueError:
        return False
    return True
