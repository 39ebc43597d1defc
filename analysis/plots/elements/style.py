"""Style and files of figures: widths of a paper, and file formats."""

import logging
import re
import shutil
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_pgf import LatexError
from matplotlib.figure import Figure
from matplotlib.text import Text

STYLE_FILE = Path(__file__).with_name("paper.mplstyle")
"""Sizes, fonts and lines of all figures; a user's file changes single keys."""

COLUMN_WIDTH = 3.4
"""Width of one column of a two-column page, in inches."""

PAGE_WIDTH = 7.0
"""Width of both columns, in inches."""

FORMATS = ("pgf", "pdf", "svg", "png")


@contextmanager
def paper_style(style: Path | None = None) -> Iterator[None]:
    """Set Matplotlib's parameters to those of a paper within the block, whatever they were before.

    Args:
        style: an .mplstyle file whose keys replace those of `STYLE_FILE`; None for none.

    Raises:
        ValueError: the file can't be read, or has an unknown key or a value that Matplotlib refuses; one line.
    """
    with mpl.rc_context(), _once_about_fonts():
        mpl.rcdefaults()
        mpl.rcParams.update(mpl.rc_params_from_file(STYLE_FILE, use_default_template=False))
        if style is not None:
            mpl.rcParams.update(_parameters_of(style))
        yield


@contextmanager
def _once_about_fonts() -> Iterator[None]:
    """Silence Matplotlib's warning at each text that a font is missing; `check_style` reports it once."""
    logger = logging.getLogger("matplotlib.font_manager")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def check_style(style: Path) -> str:
    """Raise ValueError, one line with all mistakes, if figures can't be drawn in a style.

    Returns:
        One line on fonts of the style that are not installed and are replaced; empty if there are none.
    """
    with paper_style(style), _messages() as messages:
        logging.getLogger("matplotlib.font_manager").setLevel(logging.WARNING)
        try:
            figure = Figure(layout="constrained")
            figure.add_subplot(xlabel="word", ylabel="$K$").plot([1, 2], label="word")
            figure.legend()
            for format in ("png", "pdf", "svg"):
                figure.savefig(BytesIO(), format=format)
        except Exception as error:  # whatever a style makes a backend raise
            messages.append(f"no figure can be drawn: {str(error) or type(error).__name__}")
    fonts = [message for message in messages if message.startswith("findfont:")]
    _refuse_if([message for message in messages if message not in fonts], style)
    return "; ".join(dict.fromkeys(" ".join(font.removeprefix("findfont:").split()) for font in fonts))


def _parameters_of(style: Path) -> mpl.RcParams:
    """Read a style file; Matplotlib reports some of its mistakes by raising, others only by logging."""
    parameters = mpl.RcParams()
    with _messages() as messages:
        try:
            parameters = mpl.rc_params_from_file(style, fail_on_error=True, use_default_template=False)
        except OSError as error:
            messages.append(error.strerror or "it can't be opened")
        except (ValueError, KeyError) as error:
            messages.append(str(error))
    _refuse_if(messages, style)
    return parameters


def _refuse_if(messages: list[str], style: Path) -> None:
    if messages:
        # Only the first line of each message: the others point to Matplotlib's own files.
        lines = [message.strip().splitlines()[0].removesuffix(".") for message in messages if message.strip()]
        reasons = "; ".join(dict.fromkeys(" ".join(line.split()) for line in lines))
        raise ValueError(f"style {style} can't be used: {reasons}; begin from a copy of {STYLE_FILE}") from None


@contextmanager
def _messages() -> Iterator[list[str]]:
    """Collect Matplotlib's log messages and warnings within the block instead of printing them."""
    logger, handler = logging.getLogger("matplotlib"), _Collector(logging.WARNING)
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            # These come when the memory of anything is freed, and not from Matplotlib.
            warnings.simplefilter("ignore", ResourceWarning)
            yield handler.messages
        handler.messages += [str(warning.message) for warning in caught]
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates


class _Collector(logging.Handler):
    """Handler that keeps the messages of log records."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def available_formats(style: Path | None = None) -> tuple[str, ...]:
    """Return `FORMATS`, without PGF if there is no complete LaTeX, which Matplotlib needs to measure words."""
    with paper_style(style):
        has_latex = shutil.which(mpl.rcParams["pgf.texsystem"]) is not None and _sets_a_word()
    return tuple(name for name in FORMATS if name != "pgf" or has_latex)


def _sets_a_word() -> bool:
    figure = Figure()
    figure.text(0, 0, "word")
    try:
        figure.savefig(StringIO(), format="pgf")
    except (LatexError, OSError):  # depends on where LaTeX stops
        return False
    return True


def plain(name: str) -> str:
    """Return a name, such as a family's or a study's, as text in which no character begins mathematics.

    `save_figure` escapes the other characters that are special in LaTeX.
    """
    return "".join(sign for sign in name if unicodedata.category(sign) not in ("Cc", "Cs")).replace("$", r"\$")


_IN_LATEX = {r"\$": r"\textdollar{}", "\\": r"\textbackslash{}", "~": r"\textasciitilde{}"} | {
    sign: f"\\{sign}" for sign in "_&#{}"
}
"""Characters that are special in LaTeX, escaped; Matplotlib escapes % and ^, and turns an escaped $ into a bare one."""


def _for_latex(text: str) -> str:
    """Return a text of Matplotlib, escaped for LaTeX; mathematics, between two dollars, stays as it is."""
    parts = re.split(r"(?<!\\)\$", text)
    parts[::2] = [re.sub(r"\\\$|[\\~_&#{}]", lambda sign: _IN_LATEX[sign[0]], part) for part in parts[::2]]
    return "$".join(parts)


def save_figure(figure: Figure, stem: Path, formats: Sequence[str]) -> list[Path]:
    """Write a figure as `stem` with the suffix of each format; return the paths.

    Args:
        figure: figure to write.
        stem: path without suffix.
        formats: names of `FORMATS`.
    """
    paths = []
    for suffix in formats:
        path = stem.with_name(f"{stem.name}.{suffix}")
        # Files without dates are identical for the same study.
        undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
        options: dict[str, Any] = {"metadata": undated[suffix]} if suffix in undated else {}
        with _texts_for_latex(figure) if suffix == "pgf" else nullcontext():
            figure.savefig(path, format=suffix, **options)
        if suffix != "pgf":  # LaTeX has measured the texts for PGF; the other formats share one layout
            figure.set_layout_engine("none")
        paths.append(path)
    return paths


@contextmanager
def _texts_for_latex(figure: Figure) -> Iterator[None]:
    """Escape all texts for LaTeX, which typesets a PGF figure, within the block."""
    changed = [(text, text.get_text()) for text in figure.findobj(Text) if isinstance(text, Text)]
    try:
        for text, before in changed:
            text.set_text(_for_latex(before))
        yield
    finally:
        for text, before in changed:
            text.set_text(before)
