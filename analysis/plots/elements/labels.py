"""Labels at the ends of lines, where a legend would have too many entries."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

MOST_IN_LEGEND = 4
"""Greatest number of lines that a legend names; with more, each line has a label at its end."""

LINE_SPACING = 1.3
"""Smallest distance of two labels, over the size of their font."""


@dataclass(frozen=True, kw_only=True)
class LineEnd:
    """End of a line at the right edge of the axes, and its label.

    Attributes:
        y: height of the end, in data coordinates.
        label: text of the label.
        colour: colour of the line.
    """

    y: float
    label: str
    colour: str


def label_ends(ends: Sequence[LineEnd], ax: Axes) -> None:
    """Write a label right of the axes for each line, as close to its end as the other labels permit.

    A thin line leads from the end of a line to its label. The limits of the y axis are set.

    Args:
        ends: ends of the lines.
        ax: axes that hold the lines.
    """
    size = ax.xaxis.get_ticklabels()[0].get_fontsize() if ax.xaxis.get_ticklabels() else 7.0
    assert isinstance(size, float | int)
    low, high = ax.get_ylim()
    places = np.array([(min(max(end.y, low), high) - low) / (high - low) for end in ends])
    heights = spread(places, LINE_SPACING * size / _height_in_points(ax))
    for end, place, height in zip(ends, places, heights, strict=True):
        ax.annotate(
            end.label,
            (1.0, float(place)),
            xycoords="axes fraction",
            xytext=(1.05, float(height)),
            textcoords="axes fraction",
            va="center",
            fontsize=size,
            color=end.colour,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "relpos": (0.0, 0.5),
                "color": end.colour,
                "lw": 0.5,
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )


def spread(places: np.ndarray, gap: float) -> np.ndarray:
    """Return heights, (n,), that are at least `gap` apart, in the order of `places`, and near them.

    Args:
        places: (n,), wanted heights, in [0, 1].
        gap: smallest distance.

    Returns:
        Heights in [0, 1]; if so many do not fit, they are around the middle.
    """
    order = np.argsort(places, kind="stable")
    ranks = gap * np.arange(len(places))
    # Without the gaps, heights only must not fall: the closest such ones are means of neighbours that collide.
    blocks: list[list[float]] = []
    for wanted in places[order] - ranks:
        blocks.append([wanted])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            last = blocks.pop()
            blocks[-1] += last
    shifts = np.repeat([np.mean(block) for block in blocks], [len(block) for block in blocks])
    room = 1.0 - ranks.max(initial=0.0)
    heights = np.empty(len(places))
    heights[order] = np.clip(shifts, min(0.0, room / 2), max(room, room / 2)) + ranks
    return heights


def _height_in_points(ax: Axes) -> float:
    """Return the height that the axes have once the figure is laid out."""
    figure = ax.get_figure()
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    return ax.get_window_extent().height * 72 / figure.dpi
