"""The style of figures: a paper's, whatever the caller has set, and the user's where one is given."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from analysis.plots import plot_front
from analysis.plots.style import COLUMN_WIDTH, FORMATS, available_formats, paper_style, save_figure
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
    command = [sys.executable, "-c", "from analysis.plots.style import available_formats; print(*available_formats())"]
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
