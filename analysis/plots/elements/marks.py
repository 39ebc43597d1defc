"""Marks of families and studies: colour, marker and line."""

from dataclasses import dataclass
from typing import Literal
from zlib import crc32

from analysis.levels import FAMILIES

Line = str | tuple[float, tuple[float, ...]]
"""Style of a line: Matplotlib's name, or an offset and the lengths of dashes and gaps, in points."""

Marker = str | tuple[int, Literal[0, 1, 2], int]
"""Matplotlib's name of a marker, or corners, style and angle of a polygon."""


@dataclass(frozen=True)
class Mark:
    """Colour, marker and line of a family or a study; markers and lines each identify it, in greyscale too."""

    colour: str
    marker: Marker
    line: Line


# The first seven colours are Okabe and Ito's palette, which colour-blind readers can distinguish. The others are as far
# from these and from each other as possible, for them too. The page, in web/report.css and web/js/marks.js, has the
# same markers and hues.
MARKS = (
    Mark("#000000", "o", "-"),
    Mark("#0072B2", "^", "--"),
    Mark("#56B4E9", "v", "-."),
    Mark("#D55E00", "s", ":"),
    Mark("#009E73", "D", (0, (5, 1, 1, 1, 1, 1))),
    Mark("#CC79A7", "P", (0, (1, 2))),
    Mark("#E69F00", "X", (0, (8, 2))),
    Mark("#A50026", "<", (0, (3, 1))),
    Mark("#332288", ">", (0, (8, 2, 1, 2))),
    Mark("#882255", "p", (0, (3, 3))),
    Mark("#999933", "*", (0, (5, 1, 5, 1, 1, 1))),
    Mark("#661100", "d", (0, (2, 1, 2, 3))),
    Mark("#5C3A92", (3, 1, 0), (0, (12, 2))),
    Mark("#117733", (4, 1, 0), (0, (1, 1, 1, 3))),
    Mark("#888888", "h", (0, (6, 4))),
    Mark("#AA4499", (3, 1, 180), (0, (10, 2, 3, 2))),
)

FAMILY_MARKS = dict(zip(FAMILIES, MARKS, strict=False))


def family_mark(family: str) -> Mark:
    """Return the mark of a family; one that is not built in gets one of the marks that no built-in family has."""
    if family in FAMILY_MARKS:
        return FAMILY_MARKS[family]
    spare = MARKS[len(FAMILY_MARKS) :] or MARKS
    return spare[crc32(family.encode()) % len(spare)]
