"""Which families and which values of K a figure or a table shows, in what order."""

from collections.abc import Iterable

from trainables import families

FAMILIES = tuple(families.FAMILIES)
"""Names in the order of figures, tables and pages: plain quantization, fixed representatives, trainable ones."""

MOST_LEVELS = 10
"""Values of K side by side in one column."""
FEWEST_POWERS = 4
"""Powers of two that stand for all values of K where there are too many."""


def families_of(values: Iterable[str]) -> list[str]:
    """Those among the values, ours in their order, then others by name."""
    found = set(values)
    return [*(family for family in FAMILIES if family in found), *sorted(found - set(FAMILIES))]


def shown_levels(levels: Iterable[float], most: int = MOST_LEVELS) -> list[int]:
    """Values of K, increasing; of too many the powers of two, or an even share where those are few."""
    found = sorted({int(value) for value in levels if value == value})
    if len(found) <= most:
        return found
    powers = [value for value in found if value & (value - 1) == 0]
    if len(powers) >= FEWEST_POWERS:
        return powers[:most]
    return [found[place * (len(found) - 1) // (most - 1)] for place in range(most)]
