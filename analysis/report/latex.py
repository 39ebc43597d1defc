"""LaTeX tables for the package booktabs."""

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
    """Return a text with LaTeX's special characters escaped and control characters removed."""
    return "".join(_SPECIAL.get(sign, sign) for sign in text if unicodedata.category(sign) not in ("Cc", "Cs"))


def tabular(
    header: Sequence[str],
    blocks: Sequence[tuple[str | None, Sequence[Sequence[str]]]],
    notes: str,
    columns: str = "",
    title: str = "",
) -> str:
    r"""Return a `tabular` for booktabs with notes below it, to be included with \input inside a table.

    Args:
        header: cells of the header, in LaTeX.
        blocks: groups of rows, in LaTeX, each with a title across all columns, or None.
        notes: explanation of the numbers, intervals and marks, in LaTeX.
        columns: alignment of the columns, such as `lrr`; by default, left for the first and right for all others.
        title: text above the header; empty for none.
    """
    columns = columns or f"l{'r' * (len(header) - 1)}"
    lines = [
        r"% needs \usepackage{booktabs}",
        rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        *([rf"\multicolumn{{{len(header)}}}{{@{{}}l@{{}}}}{{{escape(title)}}} \\"] if title else []),
        r"\toprule",
        f"{' & '.join(header)} \\\\",
    ]
    for block, rows in blocks:
        lines.append(r"\midrule")
        if block is not None:
            lines.append(rf"\multicolumn{{{len(header)}}}{{@{{}}l}}{{\emph{{{block}}}}} \\")
        lines += [f"{' & '.join(row)} \\\\" for row in rows]
    return "\n".join(
        [*lines, r"\bottomrule", r"\end{tabular}", rf"\par\smallskip{{\footnotesize\raggedright {notes}\par}}", ""]
    )


def number(value: float, digits: int) -> str:
    """Return a rounded number; a dash for NaN or None, ∞ for infinity."""
    if value is None or math.isnan(value):
        return "--"
    if math.isinf(value):
        return r"$\infty$" if value > 0 else r"$-\infty$"
    return f"{value:,.{digits}f}" if value >= 0 else f"$-${-value:,.{digits}f}"


def power(value: float) -> str:
    """Return a number with two digits, as used for λ; in scientific notation below 0.01 and from 1000 on."""
    if value is None or math.isnan(value):
        return "--"
    if value == 0:
        return "0"
    if 0.01 <= abs(value) < 1000:
        return f"{value:.2g}" if abs(value) < 100 else f"{value:.0f}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return rf"${mantissa}\cdot10^{{{int(exponent)}}}$"
