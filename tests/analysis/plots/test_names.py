"""Names of studies, families and parameters are text in figures and tables, whatever signs they hold."""

from io import BytesIO
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots.elements.style import _for_latex, available_formats, paper_style, plain, save_figure
from analysis.plots.front import plot_front
from analysis.plots.importance import plot_importances
from analysis.plots.studies import plot_studies
from analysis.report.latex import escape
from tests.support.example_studies import trials_frame

NAMES = ["a$b", "$x^", "$\\frac{$", "a_b^c", "back\\slash", "100%", "#{}&~", "a\\$b", "a\x1b[2Jb\0", "$$"]


def axes() -> Axes:
    return Figure().add_subplot()


def saved(ax: Axes) -> None:
    for format in ("png", "svg", "pdf"):
        ax.figure.savefig(BytesIO(), format=format)


@pytest.mark.parametrize("name", NAMES)
def test_figures_take_any_name(name: str) -> None:
    saved(plot_studies({name: trials_frame({}), "other": trials_frame({})}, axes()))
    saved(plot_front(trials_frame({"family": name}), axes()))
    importances = pd.DataFrame([{"objective": "val_accuracy", "parameter": name, "importance": 0.5}])
    saved(plot_importances(importances, axes()))


def test_latex_sets_any_name(tmp_path: Path) -> None:
    """Matplotlib hands a text to LaTeX with bare dollars in place of escaped ones."""
    with paper_style():
        figure = Figure()
        ax = figure.add_subplot()
        for place, name in enumerate(NAMES):
            ax.text(0, place / len(NAMES), plain(name))
            ax.text(0.5, place / len(NAMES), f"levels $K_1$ of {plain(name)}")
        formats = available_formats()
        assert len(save_figure(figure, tmp_path / "names", formats)) == len(formats)
        if "pgf" in formats:
            assert r"a\textdollar{}b" in (tmp_path / "names.pgf").read_text()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a$b", r"a\textdollar{}b"),
        ("a_b", r"a\_b"),
        ("back\\slash", r"back\textbackslash{}slash"),
        ("#{}&~", r"\#\{\}\&\textasciitilde{}"),
        ("a\\$b", r"a\textbackslash{}\textdollar{}b"),
        ("\\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
    ],
)
def test_names_are_text_to_latex(name: str, expected: str) -> None:
    assert _for_latex(plain(name)) == expected
    assert _for_latex(f"levels $K_1$ of {plain(name)}") == f"levels $K_1$ of {expected}"


def test_tables_hold_no_control_characters() -> None:
    assert escape("a\x1b[2J\0b_c") == r"a[2Jb\_c"
