"""The style of figures: a paper's, whatever the caller has set, and the user's where one is given."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from analysis.plots import plot_front
from analysis.plots.elements.style import (
    COLUMN_WIDTH,
    FORMATS,
    STYLE_FILE,
    available_formats,
    check_style,
    paper_style,
    save_figure,
)
from tests.support.example_studies import trials_frame

TRIALS = trials_frame({"family": "RE"}, {"family": "none", "num_levels": None, "val_accuracy": 0.9})


def drawn(stem: Path, formats: tuple[str, ...], style: Path | None = None) -> list[bytes]:
    with paper_style(style):
        figure = Figure(figsize=(COLUMN_WIDTH, 2.3), layout="constrained")
        plot_front(TRIALS, figure.add_subplot())
        return [path.read_bytes() for path in save_figure(figure, stem, formats)]


def test_figures_begin_as_their_formats_do(tmp_path: Path) -> None:
    starts = {"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}
    for content, start in zip(drawn(tmp_path / "front", tuple(starts)), starts.values(), strict=True):
        assert content.startswith(start)


def test_figures_are_the_same_whatever_style_the_caller_has(tmp_path: Path) -> None:
    usual = drawn(tmp_path / "usual", ("pdf", "svg", "png"))
    with mpl.rc_context({"font.size": 20, "axes.labelsize": 20, "savefig.dpi": 50}):
        assert drawn(tmp_path / "other", ("pdf", "svg", "png")) == usual
        assert mpl.rcParams["font.size"] == 20


@pytest.mark.parametrize(
    ("content", "mistakes"),
    [
        ("axes.spins.top: False\nlines.linewdth: 3\n", ["axes.spins.top", "lines.linewdth"]),
        ("font.size 8\n", ["Missing colon", "font.size 8"]),
        ("font.size: 8\nfont.size: 9\n", ["Duplicate key"]),
        ("font.size: large-ish\n", ["font.size", "large-ish"]),
        ("axes.spins.top: False\nfont.size: x\n", ["axes.spins.top", "font.size"]),
        ("lines.marker: nonsense\n", ["nonsense"]),
        ("axes.prop_cycle: nonsense\n", ["axes.prop_cycle"]),
        ("\x00\xff: \x1b[2J\n", []),
    ],
)
def test_mistakes_of_a_style_are_one_line_and_nothing_is_printed(
    content: str, mistakes: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    style = tmp_path / "mine.mplstyle"
    style.write_text(content)
    with pytest.raises(ValueError, match=r"^style [^\n]*mine.mplstyle can't be used: [^\n]*paper.mplstyle$") as refusal:
        check_style(style)
    assert [mistake for mistake in mistakes if mistake not in str(refusal.value)] == []
    assert capfd.readouterr() == ("", "")


def test_font_that_is_not_installed_is_told_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It may be installed where the figure is read, as in an SVG whose texts are not outlines."""
    style = tmp_path / "mine.mplstyle"
    style.write_text("font.family: No Such Font\n")
    assert re.search(r"^[^\n]*'No Such Font' not found[^\n]*$", check_style(style))
    drawn(tmp_path / "front", ("svg",), style)
    assert capfd.readouterr() == ("", "")


def test_file_that_others_leave_open_is_no_mistake_of_a_style(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python frees it, and warns, whenever it collects garbage: here while a style is read."""
    read = mpl.rc_params_from_file

    def leave_open(*arguments: Any, **options: Any) -> mpl.RcParams:
        (tmp_path / "left open").open("w")
        return read(*arguments, **options)

    monkeypatch.setattr(mpl, "rc_params_from_file", leave_open)
    assert check_style(STYLE_FILE) == ""
    assert (tmp_path / "left open").exists()


def test_style_of_the_reports_has_no_mistakes() -> None:
    assert check_style(STYLE_FILE) == ""


def test_users_style_replaces_single_keys(tmp_path: Path) -> None:
    style = tmp_path / "mine.mplstyle"
    style.write_text("font.size: 11\n")
    with paper_style():
        ours = dict(mpl.rcParams)
    with paper_style(style):
        theirs = dict(mpl.rcParams)
    assert {key for key in ours if ours[key] != theirs[key]} == {"font.size"}


@pytest.mark.parametrize("content", ["font.size: huge\n", "pdf.fonttype: 7\n"])
def test_style_that_matplotlib_refuses_is_refused_in_one_line(content: str, tmp_path: Path) -> None:
    style = tmp_path / "wrong.mplstyle"
    style.write_text(content)
    with pytest.raises(ValueError, match=r"^style [^\n]*wrong.mplstyle can't be used: [^\n]+$"), paper_style(style):
        pass


def test_latex_that_lacks_a_package_leaves_pgf_out(tmp_path: Path) -> None:
    latex = tmp_path / "pdflatex"
    latex.write_text("#!/bin/sh\necho \"! LaTeX Error: File 'underscore.sty' not found.\"\nexit 1\n")
    latex.chmod(0o755)
    command = [
        sys.executable,
        "-c",
        "from analysis.plots.elements.style import available_formats; print(*available_formats())",
    ]
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.split() == [name for name in FORMATS if name != "pgf"]


def test_figures_are_one_column_wide(tmp_path: Path) -> None:
    (svg,) = drawn(tmp_path / "front", ("svg",))
    assert f'width="{COLUMN_WIDTH * 72:g}pt"'.encode() in svg


def test_fonts_are_embedded(tmp_path: Path) -> None:
    pdf, svg = drawn(tmp_path / "front", ("pdf", "svg"))
    assert b"/FontFile2" in pdf  # TrueType, as journals ask
    assert b"<text" not in svg  # glyphs are outlines, which need no font
    try:
        listed = subprocess.run(["pdffonts", tmp_path / "front.pdf"], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        return  # the line above says the same of one font; Debian's poppler-utils of all
    fonts = [line.split()[-5] for line in listed.stdout.splitlines()[2:]]
    assert fonts
    assert set(fonts) == {"yes"}


def test_pgf_is_left_out_where_there_is_no_latex(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert set(available_formats()) == set(FORMATS) - {"pgf"}
