"""Writers of the parts of a study's report, one for each kind of file."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd

from analysis.report.attempts import Attempts
from analysis.report.findings import Findings
from analysis.report.format import Format, chosen_suffixes
from analysis.report.html import write_html
from analysis.report.provenance import PROVENANCE, write_provenance
from analysis.report.summary import summarize
from analysis.statistics.pareto import front

Writer = Callable[[Findings, Path, Format, Attempts], None]


def _write_figures(findings: Findings, out: Path, format: Format, attempts: Attempts) -> None:
    if format.suffixes == ():
        return
    from analysis.report.figures import write_figures  # matplotlib takes a second to import

    folder = made(out / "figures")
    write_figures(findings, folder, attempts, style=format.style, formats=chosen_suffixes(format))


def _write_front(findings: Findings, out: Path, format: Format, attempts: Attempts) -> None:
    """Write only the figures of the fronts, as at the end of a run."""
    from analysis.report.figures import WIDTHS, write_figure

    folder = made(out / "figures")
    for name in ["front"] if findings.results is None else ["front", "confirmed"]:
        write = partial(write_figure, findings, name, folder / name, WIDTHS[""], style=format.style)
        attempts.attempt(f"figure {name}", partial(write, formats=("pdf", "svg", "png")))


def _write_tables(findings: Findings, out: Path, format: Format, attempts: Attempts) -> None:
    from analysis.report.tables import write_tables

    write_tables(findings, out, attempts)


def _write_lists(findings: Findings, out: Path, format: Format, attempts: Attempts) -> None:
    """Write front.csv, and confirmed.csv with the means over seeds, each with all columns."""
    attempts.attempt("front.csv", lambda: [_written_list(front(findings.trials), out / "front.csv")])
    if (results := findings.results) is not None:
        attempts.attempt("confirmed.csv", lambda: [_written_list(results, out / "confirmed.csv")])


def _written_list(rows: pd.DataFrame, path: Path) -> Path:
    rows.to_csv(path, index=False, encoding="utf-8")
    return path


def _write_summary(findings: Findings, out: Path, format: Format, attempts: Attempts) -> None:
    def write() -> list[Path]:
        path = out / "summary.json"
        path.write_text(json.dumps(summarize(findings), indent=2) + "\n", encoding="utf-8")
        return [path]

    attempts.attempt("summary.json", write)


def _write_page(findings: Findings, out: Path, format: Format, attempts: Attempts) -> None:
    attempts.attempt("report.html", lambda: [write_html([findings], out)])


def _write_provenance(findings: Findings, out: Path, format: Format, attempts: Attempts) -> None:
    from analysis.report.figures import points_of_figures

    attempts.attempt(PROVENANCE, lambda: [write_provenance([findings.study], out, points_of_figures(findings))])


WRITERS: tuple[Writer, ...] = (
    *(_write_page, _write_provenance),
    *(_write_figures, _write_tables, _write_lists, _write_summary),
)
"""Writers of a complete report, one for each kind of file."""

BRIEF_WRITERS: tuple[Writer, ...] = (_write_front, _write_lists, _write_summary)
"""Writers of the brief report at the end of a run; they take about a second."""


def made(folder: Path) -> Path:
    """Return a folder, which is created if missing. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder
