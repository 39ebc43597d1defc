"""The example of docs/analysis.md runs, and what the page names is there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.plots.curves import MOST_CURVES
from analysis.plots.elements.axes import MOST_DRAWN
from analysis.report.figures import FIGURES
from analysis.report.tables import TABLES
from study.commands.importance import MOST
from tests.support.example_studies import write_confirmed_study

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "analysis.md").read_text()


LEGENDS = """
from matplotlib.legend import Legend
for number in plt.get_fignums():
    figure = plt.figure(number)
    with paper_style():
        figure.draw_without_rendering()
    for legend in figure.findobj(Legend):
        box = legend.get_window_extent()
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1, (number, box)
"""
"""Continuation of the example: every legend is inside of its figure, as none was without the style of the reports."""


def test_example_runs_as_it_stands_and_its_figures_are_whole(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    write_confirmed_study(tmp_path / "studies" / "digits", seeds=5)
    environment = {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg", "PATH": "", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example + LEGENDS],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "hypervolume 0." in done.stdout
    for name in ("search.pdf", "confirmed.pdf"):
        assert (tmp_path / name).read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("name", FIGURES)
def test_page_names_every_figure(name: str) -> None:
    assert f"| `{name}` |" in PAGE


@pytest.mark.parametrize("name", [*TABLES, "studies"])
def test_page_names_every_table(name: str) -> None:
    assert f"| `table-{name}` |" in PAGE


def test_page_says_how_many_are_drawn() -> None:
    for text in (f"{MOST_DRAWN:,} dominated trials", f"{MOST_CURVES} learning curves", f"up to {MOST} complete"):
        assert text in " ".join(PAGE.split())
