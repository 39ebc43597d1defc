"""Figures of a report: the data that each shows, and how it is drawn."""

from analysis.report.figures.kind import WIDTHS, FigureKind
from analysis.report.figures.registry import FIGURES, points_of_figures, write_figure, write_figures
from analysis.report.figures.studies import points_of_studies_figures, write_studies_figures

__all__ = [
    "FIGURES",
    "WIDTHS",
    "FigureKind",
    "points_of_figures",
    "points_of_studies_figures",
    "write_figure",
    "write_figures",
    "write_studies_figures",
]
