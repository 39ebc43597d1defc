"""A paper: the PGF figures and the tables of a report in a LaTeX document, set with Debian's TeX."""

import shutil
import subprocess
from pathlib import Path

import pytest

from analysis.report.format import Format
from analysis.report.latex import escape, number, power, tabular
from analysis.report.report import write_comparison
from study.commands.importance import hyperparameter_importances
from tests.support.example_studies import make_study, write_confirmed_study

DOCUMENT = r"""
\documentclass[twocolumn,letterpaper]{article}
\usepackage[margin=0.75in]{geometry}
\usepackage{booktabs}
\usepackage{pgf}
\begin{document}
%s
\end{document}
"""


def compiled(folder: Path, body: str) -> str:
    """Sets a document with this body in a folder; returns what LaTeX said."""
    (folder / "paper.tex").write_text(DOCUMENT % body)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-3000:]
    assert (folder / "paper.pdf").stat().st_size > 10_000
    return done.stdout


@pytest.mark.latex
def test_figures_and_tables_compile_in_a_latex_document(tmp_path: Path) -> None:
    write_confirmed_study(tmp_path / "one", seeds=5)
    write_confirmed_study(tmp_path / "two_&_more", seeds=1)
    for name in ("one", "two_&_more"):
        (tmp_path / name / "study.yaml").write_text(f"name: {name}\n")
    out = tmp_path / "report"
    studies = [tmp_path / "one", tmp_path / "two_&_more"]
    report = write_comparison(studies, out, format=Format(suffixes=("pgf",)), importances=hyperparameter_importances)
    figures = [path for path in report.files if path.suffix == ".pgf" and "two_" not in str(path)]
    tables = [path for path in report.files if path.suffix == ".tex" and "two_" not in str(path)]
    assert {path.stem for path in figures} >= {"front", "confirmed", "attainment", "gains", "improvements", "studies"}
    assert {path.stem for path in tables} >= {"table-accuracy", "table-search", "table-sizes", "table-studies"}
    parts = []
    for path in [*figures, *tables]:
        kind = "table*" if path in tables else "figure*" if "wide" in path.stem else "figure"
        parts.append(rf"\begin{{{kind}}}\centering\input{{{path.relative_to(out)}}}\end{{{kind}}}")
    said = compiled(out, "\n\\clearpage\n".join(parts))
    assert "Overfull \\hbox" not in said  # neither is wider than its column


@pytest.mark.latex
def test_a_study_without_confirmation_compiles_too(tmp_path: Path) -> None:
    from analysis.report.report import write_report

    study = make_study(tmp_path / "small").path
    report = write_report(study, tmp_path / "report", format=Format(suffixes=()))
    tables = [path.name for path in report.files if path.suffix == ".tex"]
    assert tables
    said = compiled(tmp_path / "report", "\n".join(rf"\begin{{table}}\input{{{name}}}\end{{table}}" for name in tables))
    assert "Undefined control sequence" not in said


@pytest.mark.latex
def test_escaped_text_is_printed_as_it_is(tmp_path: Path) -> None:
    text = r"50% of {ab} & c^2 ~ $5 #1 \x –"  # an underscore is a rule, which is no text in a PDF
    compiled(tmp_path, rf"{escape(text)} {escape('a_b')} \rule{{1cm}}{{1cm}}\clearpage " + "x" * 10)
    if shutil.which("pdftotext") is None:
        return  # it compiles, which is most of it
    printed = subprocess.run(["pdftotext", "paper.pdf", "-"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert text in printed.stdout.replace("\u02dc", "~").replace("\u02c6", "^")


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [
        (0.9834, 2, "0.98"),
        (12345.6, 1, "12,345.6"),
        (-1.25, 1, "$-$1.2"),
        (float("nan"), 1, "--"),
        (float("inf"), 1, r"$\infty$"),
    ],
)
def test_numbers_in_latex(value: float, digits: int, shown: str) -> None:
    assert number(value, digits) == shown


def test_powers_of_ten_in_latex() -> None:
    assert [power(value) for value in (1.23e-5, 8.0, 123.4, 0.0, float("nan"))] == [
        r"$1.2\cdot10^{-5}$",
        "8",
        "123",
        "0",
        "--",
    ]


def test_tabular_has_a_rule_between_blocks() -> None:
    text = tabular(["$K$", "RS"], [("before", [["2", "0.5"]]), ("after", [["2", "0.6"]])], "notes")
    assert text.count(r"\midrule") == 2
    assert r"\begin{tabular}{@{}lr@{}}" in text
    assert r"\multicolumn{2}{@{}l}{\emph{before}}" in text
