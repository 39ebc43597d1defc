"""Format of a report, and its check before anything is written."""

from dataclasses import dataclass
from pathlib import Path

from analysis.origin import Named
from analysis.view import EVERYTHING, View

STUDIES_PARTS = ("studies", "studies-confirmed", "studies-attainment", "studies-hypervolume")
"""Names of the figures, and of the table, that compare several studies."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """Format of a report.

    Attributes:
        style: an .mplstyle file whose keys override those of `analysis.plots.elements.style.STYLE_FILE`; None for the
            default.
        suffixes: formats of figures, among `analysis.plots.elements.style.FORMATS`; None for all available ones, and
            an empty tuple for a report without figures.
        named: returns the address to show for a path in a study, on the page and in provenance.json.
        view: what figures and tables show; the page and the lists show all trials.
    """

    style: Path | None = None
    suffixes: tuple[str, ...] | None = None
    named: Named = str
    view: View = EVERYTHING


def check_format(format: Format) -> str:
    """Check style and formats before anything is written.

    Returns:
        A note about missing fonts; empty if there are none.

    Raises:
        ValueError: the style cannot be used, or a format is unknown.
    """
    from analysis.plots.elements.style import FORMATS, check_style

    wrong = [suffix for suffix in format.suffixes or () if suffix not in FORMATS]
    if wrong:
        raise ValueError(f"unknown formats {wrong}; choose from {list(FORMATS)}")
    _check_titles(format.view)
    fonts = "" if format.style is None else check_style(format.style)
    return f"style: {fonts}" if fonts else ""


def _check_titles(view: View) -> None:
    """Raise ValueError if a title is of no figure or table."""
    from analysis.report.figures import FIGURES
    from analysis.report.tables import TABLES

    known = [*FIGURES, *TABLES, *STUDIES_PARTS]
    if wrong := [name for name in view.names.titles if name not in known]:
        raise ValueError(f"names: titles must be of a figure or table, got {wrong[0]!r}; choose from {known}")


def chosen_suffixes(format: Format) -> tuple[str, ...]:
    """Return the formats of figures that are asked for and available."""
    from analysis.plots.elements.style import FORMATS, available_formats

    available = available_formats(format.style)
    return tuple(suffix for suffix in _asked_suffixes(format, FORMATS) if suffix in available)


def _asked_suffixes(format: Format, every: tuple[str, ...]) -> tuple[str, ...]:
    return every if format.suffixes is None else format.suffixes


def lacks_latex(format: Format) -> bool:
    """Return whether PGF figures are asked for, and LaTeX is missing."""
    return "pgf" in _asked_suffixes(format, ("pgf",)) and "pgf" not in chosen_suffixes(format)
