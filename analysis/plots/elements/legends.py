"""Entries of legends that several plots share."""

from collections.abc import Sequence

from matplotlib.lines import Line2D

from analysis.plots.elements.marks import family_mark
from analysis.plots.elements.style import plain
from analysis.view import View


def family_handles(families: Sequence[str], view: View) -> list[Line2D]:
    """Return the entries of a legend for families: their markers and labels."""
    handles = []
    for family in families:
        mark, label = family_mark(family), plain(view.names.family(family))
        handles.append(Line2D([], [], ls="", marker=mark.marker, c=mark.colour, mew=0, label=label))
    return handles
