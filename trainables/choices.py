"""Check of a name against the known ones."""

from collections.abc import Iterable


def choose(kind: str, name: str, choices: Iterable[str]) -> str:
    """Return `name` if it is one of the choices.

    Args:
        kind: noun for the error message, such as `dataset`.
        name: the name to check.
        choices: known names.

    Raises:
        ValueError: `name` is not one of the choices; the message lists them.
    """
    known = sorted(choices)
    if name not in known:
        raise ValueError(f"unknown {kind} {name!r}; choose from {known}")
    return name
