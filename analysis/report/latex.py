"""Tables in LaTeX, for booktabs."""

import math
import unicodedata
from collections.abc import Sequence

_SPECIAL = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
}


def escape(text: str) -> str:
    """Return a text as LaTeX prints it: special signs lose their meaning, and control characters go."""
    return "".join(_SPECIAL.get(sign, sign) for sign in text if unicodedata.category(sign) not in ("Cc", "Cs"))


def tabular(
    header: Sequence[str], blocks: Sequence[tuple[str | None, Sequence[Sequence[str]]]], notes: str, columns: str = ""
) -> str:
    r"""Return a `tabular` for booktabs with notes below it, to be read with \input inside a table.

    Args:
        header: cells, in LaTeX.
        blocks: of rows, in LaTeX, each with a title that goes over all columns, or None.
        notes: in LaTeX: what the numbers are, and how intervals and marks were computed.
        columns: how each is set, as `lrr`; the first to the left and all others to the right if not given.
    """
    columns = columns or f"l{'r' * (len(header) - 1)}"
    lines = [
        r"% needs \usepackage{booktabs}",
        rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        r"\toprule",
        f"{' & '.join(header)} \\\\",
    ]
    for title, rows in blocks:
        lines.append(r"\midrule")
        if title is not None:
            lines.append(rf"\multicolumn{{{len(header)}}}{{@{{}}l}}{{\emph{{{title}}}}} \\")
        lines += [f"{' & '.join(row)} \\\\" for row in rows]
    return "\n".join(
        [*lines, r"\bottomrule", r"\end{tabular}", rf"\par\smallskip{{\footnotesize\raggedright {notes}\par}}", ""]
    )


def number(value: float, digits: int) -> str:
    """A rounded number; a dash where there is none, ∞ where it has no bound."""
    if value is None or math.isnan(value):
        return "--"
    if math.isinf(value):
        return r"$\infty$" if value > 0 else r"$-\infty$"
    return f"{value:,.{digits}f}" if value >= 0 else f"$-${-value:,.{digits}f}"


def power(value: float) -> str:
    """A number in powers of ten with two digits, as λ is told."""
    if value is None or math.isnan(value):
        return "--"
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.1e}".split("e")
    return rf"${mantissa}\cdot10^{{{int(exponent)}}}$"
