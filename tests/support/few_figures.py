"""Reports with few figures, for tests of their other parts: the figures take most of a report's time."""

import pytest

from analysis.report.figures import FIGURES


def keep_figures(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Leave out of reports all figures of a study but these; a format without suffixes leaves out every figure."""
    figures = dict(FIGURES)
    for name in reversed(figures):  # in this order, since what is put back last is last in reports
        monkeypatch.delitem(FIGURES, name)
    for name in figures:
        if name in names:
            monkeypatch.setitem(FIGURES, name, figures[name])
