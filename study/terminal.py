"""Safe printing: text from files and from Ray can't control the terminal."""

import re
import unicodedata
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

_ESCAPE_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, moves of the cursor
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x00-\x1f\x7f-\x9f]*(?:\x1b\\|\x07|\x9c)?"  # titles, links
    r"|\x1b[ -/]*[0-~]"
)
_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str) -> str:
    """Return a text without escape sequences, control characters and characters that change the text direction.

    Line feeds and tabs are kept.
    """
    if text.isascii() and text.isprintable():
        return text
    text = _ESCAPE_SEQUENCE.sub("", text)
    return "".join(
        character
        for character in text
        if character in "\n\t"
        or (unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp") and character not in _BIDI_CONTROLS)
    )


def one_line(text: str) -> str:
    """Return a printable text in which line breaks and runs of spaces have become single spaces."""
    return " ".join(printable(text).split())


def say(text: str, err: bool = False) -> None:
    """Print the `printable` form of a text.

    Args:
        text: text to print.
        err: whether to print on stderr instead of stdout.
    """
    typer.echo(printable(text), err=err)


class PlainConsole(Console):
    """Rich console that shows the `printable` form of strings, without markup and without wrapping."""

    def __init__(self, **options: Any) -> None:
        """Take the options of `rich.console.Console`."""
        super().__init__(highlight=False, markup=False, emoji=False, soft_wrap=True, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return the text to show for a string, also in the cell of a table."""
        return super().render_str(printable(text), **options)
