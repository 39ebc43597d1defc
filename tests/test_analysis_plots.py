"""Figures: what they show, and that the same study gives the same file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from example_studies import trials_frame
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle

from analysis.front import front
from analysis.plots import COLUMN_WIDTH, FAMILY_STYLES, plot_front, save_front
from trainables.families import FAMILIES
from trainables.result import FAIL, PRUNED

FAMILY_TABLE = trials_frame(
    {"family": "none", "num_levels": None, "lam": None, "val_accuracy": 0.97, "bits_per_weight": 32.1},
    *(
        {"family": family, "val_accuracy": 0.5 + place / 20 + better / 10, "bits_per_weight": 1.5 + place}
        for place, family in enumerate(FAMILIES)
        for better in (0, 1)
    ),
)
"""Of each family one trial on the front and one behind it, and the float baseline."""


@pytest.fixture
def ax() -> Iterator[Axes]:
    with mpl.rc_context():
        yield Figure().add_subplot()


def staircase(ax: Axes) -> Line2D | None:
    lines = [line for line in ax.lines if line.get_drawstyle() == "steps-post"]
    assert len(lines) <= 1
    return lines[0] if lines else None


def markers(ax: Axes) -> dict[str, list[tuple[tuple[float, float], float | None]]]:
    """Points and opacity of what is drawn, by the family whose marker and colour it has."""
    found: dict[str, list[Any]] = {family: [] for family in FAMILY_STYLES}
    for collection in ax.collections:
        for family, (colour, marker) in FAMILY_STYLES.items():
            style = MarkerStyle(marker)
            path = style.get_path().transformed(style.get_transform())
            same_marker = path.vertices.shape == collection.get_paths()[0].vertices.shape and np.allclose(
                path.vertices, collection.get_paths()[0].vertices
            )
            if same_marker and np.allclose(collection.get_facecolor()[0][:3], to_rgb(colour)):
                found[family] += [(tuple(point), collection.get_alpha()) for point in collection.get_offsets()]
    return found


def test_every_family_has_a_style_of_its_own() -> None:
    assert set(FAMILY_STYLES) == set(FAMILIES)
    colours, shapes = zip(*FAMILY_STYLES.values(), strict=True)
    assert len(set(colours)) == len(set(shapes)) == len(FAMILIES)


def test_plot_front_returns_the_axes_that_it_draws_on(ax: Axes) -> None:
    assert plot_front(FAMILY_TABLE, ax) is ax
    assert ax.get_xlabel() == "bits per weight"
    assert ax.get_ylabel() == "validation accuracy"
    assert ax.get_xscale() == "log"


def test_plot_front_draws_each_family_in_its_marker(ax: Axes) -> None:
    plot_front(FAMILY_TABLE, ax)
    quantized = FAMILY_TABLE[FAMILY_TABLE["num_levels"].notna()]
    for family, drawn in markers(ax).items():
        rows = quantized[quantized["family"] == family]
        expected = set(zip(rows["bits_per_weight"], rows["val_accuracy"], strict=True))
        assert {point for point, _ in drawn} == expected, family


def test_plot_front_draws_what_is_beaten_fainter(ax: Axes) -> None:
    plot_front(FAMILY_TABLE, ax)
    best = front(FAMILY_TABLE)
    on_front = set(zip(best["bits_per_weight"], best["val_accuracy"], strict=True))
    for drawn in markers(ax).values():
        for point, alpha in drawn:
            assert (alpha is None) == (point in on_front)


def test_plot_front_names_only_the_families_that_it_shows(ax: Axes) -> None:
    plot_front(trials_frame({"family": "RE"}, {"family": "RC", "state": PRUNED}), ax)
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["RE"]


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), min_size=1, max_size=12))
def test_staircase_climbs_and_passes_through_the_front(points: list[tuple[int, int]]) -> None:
    trials = trials_frame(*({"val_accuracy": a / 5, "bits_per_weight": float(b)} for a, b in points))
    ax = plot_front(trials, Figure().add_subplot())
    line = staircase(ax)
    assert line is not None
    bits, accuracies = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    assert (np.diff(bits) > 0).all()
    assert (np.diff(accuracies[:-1]) > 0).all()
    best = front(trials)
    corners = set(zip(best["bits_per_weight"], best["val_accuracy"], strict=True))
    assert set(zip(bits[:-1], accuracies[:-1], strict=True)) == corners
    assert accuracies[-1] == accuracies[-2]
    low, high = ax.get_xlim()
    assert low <= trials["bits_per_weight"].min()
    assert trials["bits_per_weight"].max() <= high


def test_plot_front_draws_the_float_baseline(ax: Axes) -> None:
    plot_front(FAMILY_TABLE, ax)
    (line,) = [line for line in ax.lines if line.get_drawstyle() != "steps-post"]
    assert set(np.asarray(line.get_ydata())) == {0.97}
    assert [text.get_text() for text in ax.texts] == ["float: 0.970"]


def test_plot_front_draws_neither_pruned_nor_failed_trials(ax: Axes) -> None:
    plot_front(trials_frame({}, {"state": PRUNED}, {"state": FAIL, "val_accuracy": None, "bits_per_weight": None}), ax)
    assert sum(len(drawn) for drawn in markers(ax).values()) == 1


@pytest.mark.parametrize(
    "trials",
    [
        trials_frame(),
        trials_frame({"state": FAIL, "val_accuracy": None, "bits_per_weight": None}),
        trials_frame({"num_levels": None, "family": "none"}),
    ],
    ids=["no trial", "all failed", "baseline alone"],
)
def test_plot_front_of_no_candidate_has_axes_and_no_staircase(trials: pd.DataFrame, ax: Axes) -> None:
    plot_front(trials, ax)
    assert staircase(ax) is None
    assert ax.get_legend() is None


FILES = {"front.pdf": b"%PDF", "front.svg": b"<?xml", "front.png": b"\x89PNG"}


@pytest.mark.parametrize("trials", [FAMILY_TABLE, trials_frame()], ids=["families", "no trial"])
def test_save_front_writes_the_same_three_files_each_time(trials: pd.DataFrame, tmp_path: Path) -> None:
    contents = []
    for name in ("once", "again"):
        folder = tmp_path / name
        folder.mkdir()
        paths = save_front(trials, folder)
        assert paths == [folder / file for file in FILES]
        assert {path.name for path in folder.iterdir()} == set(FILES)
        contents.append({path.name: path.read_bytes() for path in paths})
    assert [name for name, magic in FILES.items() if not contents[0][name].startswith(magic)] == []
    assert contents[0] == contents[1]


def test_save_front_draws_the_same_whatever_style_the_caller_has(tmp_path: Path) -> None:
    contents = []
    for size in (8, 20):
        folder = tmp_path / str(size)
        folder.mkdir()
        with mpl.rc_context({"font.size": size, "axes.labelsize": size}):
            contents.append([path.read_bytes() for path in save_front(FAMILY_TABLE, folder)])
            assert mpl.rcParams["font.size"] == size
    assert contents[0] == contents[1]


def test_save_front_is_one_column_wide_and_keeps_its_text_as_text(tmp_path: Path) -> None:
    save_front(FAMILY_TABLE, tmp_path)
    svg = (tmp_path / "front.svg").read_text()
    assert f'width="{COLUMN_WIDTH * 72:g}pt"' in svg
    assert "bits per weight" in svg
    assert b"/FontFile2" in (tmp_path / "front.pdf").read_bytes()  # TrueType, as journals ask
