"""Rules for single values: one line with the name, the rule, the received value and the remedy."""

import math


def require(holds: bool, name: str, rule: str, value: object, remedy: str) -> None:
    """Raise a ValueError of one line unless the rule holds."""
    if not holds:
        raise ValueError(f"{name} must be {rule}, got {value!r}; {remedy}")


def require_positive(settings: object, *names: str) -> None:
    """Require that the fields with these names hold finite numbers above 0."""
    for name in names:
        value = getattr(settings, name)
        require(math.isfinite(value) and value > 0, name, "a finite number above 0", value, "raise it")
