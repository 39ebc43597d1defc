"""Legibility of printed figures: sizes of texts, overlaps, and marks in grey and with dichromacy."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle

from analysis.names import Names
from analysis.plots.elements.marks import FAMILY_MARKS, MARKS, family_mark
from analysis.plots.elements.style import paper_style
from analysis.report.figures.kind import WIDTHS
from analysis.report.figures.registry import FIGURES, draw_figure
from analysis.view import View
from tests.support.colour_vision import SIMULATIONS, lab, simulate
from tests.support.many_families import findings_with_many_families, overlapping, printed_texts

SMALLEST_TEXT = 6.0
"""Points, at the size of print."""

LITERATURE = pd.DataFrame(
    {
        "citation": ["Han, Mao and Dally, 2016, at twice the size", "Choi, El-Khamy and Lee, 2020"],
        "accuracy": [0.9, 0.8],
        "bits_per_weight": [1.6, 2.5],
    }
)

VIEWS = {
    "bits": View(),
    "loss in points over size": View(cost_name="size", loss=True),
    "literature": View(literature=LITERATURE),
    "two families with titles": View(
        families=("RM", "none"), cost_name="ratio", names=Names(titles=dict.fromkeys(FIGURES, "A title"))
    ),
}


def drawn(name: str, width: float, view: View) -> Figure:
    figure = draw_figure(findings_with_many_families(view), name, width)
    figure.set_dpi(300)
    return figure


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("width", WIDTHS.values(), ids=["column", "page"])
@pytest.mark.parametrize("name", FIGURES)
def test_texts_are_large_enough_apart_and_whole(name: str, width: float, view: View) -> None:
    with paper_style():
        figure = drawn(name, width, view)
        texts = printed_texts(figure)
    assert texts
    assert [text.get_text() for text, _ in texts if float(text.get_fontsize()) < SMALLEST_TEXT] == []
    assert overlapping(texts) == []
    box = figure.bbox.padded(1.0)
    assert [text.get_text() for text, at in texts if not (box.contains(*at.p0) and box.contains(*at.p1))] == []


def test_first_thirteen_marks_differ_in_marker_and_line() -> None:
    for first, second in combinations(MARKS[:13], 2):
        assert first.line != second.line
        shapes = [MarkerStyle(mark.marker) for mark in (first, second)]
        one, other = (shape.get_path().transformed(shape.get_transform()).vertices for shape in shapes)
        assert one.shape != other.shape or not np.allclose(one, other), (first, second)


@pytest.mark.parametrize("vision", [vision for vision in SIMULATIONS if vision != "grey"])
def test_colours_of_thirteen_families_differ(vision: str) -> None:
    """A distance of 2.3 in CIELAB is just noticeable (Mahy et al., 1994); marks are small, so four times as much."""
    colours = lab(simulate(np.array([to_rgb(mark.colour) for mark in MARKS[:13]]), vision))
    distances = [float(np.linalg.norm(one - other)) for one, other in combinations(colours, 2)]
    assert min(distances) > 4 * 2.3


@pytest.mark.parametrize("vision", SIMULATIONS)
def test_every_colour_stands_out_from_paper(vision: str) -> None:
    white = np.ones(3)
    for mark in MARKS:
        assert np.linalg.norm(lab(simulate(np.array(to_rgb(mark.colour)), vision)) - lab(white)) > 20, mark


def test_simulated_visions_leave_white_as_it_is_and_grey_has_one_hue() -> None:
    for vision in SIMULATIONS:
        np.testing.assert_allclose(simulate(np.ones(3), vision), 1.0, atol=2e-3)
    grey = simulate(np.array(to_rgb("#D55E00")), "grey")
    assert grey[0] == pytest.approx(grey[1]) == pytest.approx(grey[2])


def test_red_and_green_of_one_lightness_look_alike_to_deuteranopes() -> None:
    red, green = (np.array(to_rgb(colour)) for colour in ("#C04040", "#6B7B00"))
    distances = {
        vision: np.linalg.norm(lab(simulate(red, vision)) - lab(simulate(green, vision)))
        for vision in ("normal", "deuteranopia")
    }
    assert distances["deuteranopia"] < distances["normal"] / 2


def test_family_that_is_not_built_in_has_a_mark_of_its_own() -> None:
    mark = family_mark("my_package:penalty")
    assert mark == family_mark("my_package:penalty")
    assert mark not in FAMILY_MARKS.values()
