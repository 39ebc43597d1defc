"""Writer of the report of one or several studies: page, figures, tables, lists and the printed summary."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from analysis.literature import shown_points
from analysis.origin import Named
from analysis.report.attempts import Attempts
from analysis.report.findings import Findings, Importances, findings_of, load_findings
from analysis.report.html import write_html
from analysis.report.options import check_choice
from analysis.report.provenance import PROVENANCE, write_provenance
from analysis.report.summary import files_text, summarize, text_of
from analysis.statistics.pareto import front
from analysis.study import read_studies, read_study
from analysis.view import EVERYTHING, View


@dataclass(frozen=True, kw_only=True)
class Report:
    """A report that was written.

    Attributes:
        text: summary for a terminal: counts, fronts, locations of files, and parts that have no data.
        files: paths of all files.
        failures: one line for each error that prevented parts of the report; all other parts were written.
    """

    text: str
    files: list[Path]
    failures: tuple[str, ...] = ()


STUDIES_PARTS = ("studies", "studies-confirmed", "studies-attainment", "studies-hypervolume")
"""Names of the figures, and of the table, that compare several studies."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """Format of a report.

    Attributes:
        style: an .mplstyle file whose keys override those of `analysis.plots.elements.style.STYLE_FILE`; None for the
            default.
        suffixes: formats of figures, among `analysis.plots.elements.style.FORMATS`; None for all available ones.
        named: returns the address to show for a path in a study, on the page and in provenance.json.
        view: what figures and tables show; the page and the lists show all trials.
    """

    style: Path | None = None
    suffixes: tuple[str, ...] | None = None
    named: Named = str
    view: View = EVERYTHING


Writer = Callable[[Findings, Path, Format, Attempts], None]


def _write_figures(findings: Findings, out: Path, format: Format, attempts: Attempts) -> None:
    from analysis.report.figures import write_figures  # matplotlib takes a second to import

    folder = _made(out / "figures")
    write_figures(findings, folder, attempts, style=format.style, formats=_suffixes(format))


def _write_front(findings: Findings, out: Path, format: Format, attempts: Attempts) -> None:
    """Write only the figures of the fronts, as at the end of a run."""
    from analysis.report.figures import WIDTHS, write_figure

    folder = _made(out / "figures")
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


def write_report(
    study: Path, out: Path, *, format: Format | None = None, importances: Importances | None = None
) -> Report:
    """Write the complete report of a study.

    A figure, table or file that fails does not prevent the others; `Report.failures` lists the errors.

    Args:
        study: folder of the study.
        out: folder of the report; created if it does not exist.
        format: format of the report; None for the defaults of `Format`.
        importances: computes hyperparameter importances; None omits them.

    Raises:
        ValueError: `study` is not a study, the style cannot be used, or `out` cannot be written.
        DamagedFileError: the tables of the study cannot be read.
    """
    format = format or Format()
    note = _check(format)
    findings = load_findings(study, importances, named=format.named, view=format.view)
    check_choice(format.view, [findings.study])
    _read_epochs(findings)
    attempts = _write(findings, out, format, WRITERS)
    notes = [*_left_out(format.view), *_lines(attempts.omissions), *_lines(note)]
    files = files_text(out, notes, _lacks_latex(format))
    return Report(text=f"{_text_of(findings, attempts)}\n\n{files}", files=attempts.files, failures=attempts.failures)


def write_brief_report(study: Path, out: Path) -> Report:
    """Write the brief report at the end of a run: front, its figure and summary; raises as `write_report` does."""
    findings = Findings(study=read_study(study))
    attempts = _write(findings, out, Format(), BRIEF_WRITERS)
    where = f"plot: {out / 'figures' / 'front.pdf'} (also .svg and .png)"
    if (out / PROVENANCE).exists():
        where += f"\nthe page, the tables and the other figures in {out} are older; update them with qar report"
    return Report(text=f"{_text_of(findings, attempts)}\n{where}", files=attempts.files, failures=attempts.failures)


def write_comparison(
    studies: Sequence[Path], out: Path, *, format: Format | None = None, importances: Importances | None = None
) -> Report:
    """Write the report of each study into a folder of `out`, and figures, a table and a page that compare them.

    Studies with the same name are named by their folders, or by as much of their paths as is needed.

    Args:
        studies: folders of the studies.
        out: folder of the comparison; created if it does not exist.
        format: as in `write_report`.
        importances: as in `write_report`.

    Raises:
        ValueError: as in `write_report`, or a study is given twice.
        DamagedFileError: as in `write_report`.
    """
    from analysis.report.tables import studies_table

    format = format or Format()
    note = _check(format)
    read = read_studies(studies, named=format.named)
    check_choice(format.view, read)
    compared = {study.name: findings_of(study, importances, format.view) for study in read}
    for findings in compared.values():
        _read_epochs(findings)
    parts: list[str] = []
    omissions: list[str] = []
    common = Attempts()
    for name, findings in compared.items():
        attempts = _write(findings, out / name, format, WRITERS)
        parts.append(f"{name}\n{'=' * len(name)}\n{_text_of(findings, attempts)}")
        omissions += [f"{name}: {line}" for line in _lines(attempts.omissions)]
        common.files.extend(attempts.files)
        common.failed.update({f"{part} of {name}": reason for part, reason in attempts.failed.items()})
    try:
        _write_common(compared, out, format, common)
    except OSError as error:
        raise _unwritable(out, error) from None
    parts.append(_comparison_text(studies_table(compared).frame))
    notes = [*_left_out(format.view), *omissions, *_lines(note)]
    parts.append(files_text(out, notes, _lacks_latex(format)))
    return Report(text="\n\n".join(parts), files=common.files, failures=common.failures)


def _write_common(compared: dict[str, Findings], out: Path, format: Format, attempts: Attempts) -> None:
    """Write the files that compare several studies: figures, a table, the page and the provenance."""
    from analysis.report.figures import points_of_studies_figures, write_studies_figures
    from analysis.report.tables import studies_table, write_table

    studies = list(compared.values())
    write_studies_figures(compared, _made(out / "figures"), attempts, style=format.style, formats=_suffixes(format))
    attempts.attempt("table studies", lambda: write_table("studies", studies_table(compared), out))
    attempts.attempt("report.html", lambda: [write_html(studies, out)])
    files = [findings.study for findings in studies]
    attempts.attempt(PROVENANCE, lambda: [write_provenance(files, out, points_of_studies_figures(compared))])


def _read_epochs(findings: Findings) -> None:
    """Read the tables of epochs, so that a damaged one is detected before anything is written."""
    for study in (findings.study, findings.study.confirmation):
        if study is not None:
            _ = study.epochs


def _text_of(findings: Findings, attempts: Attempts) -> str:
    """Return the summary for a terminal; an error is recorded as a failed part of the report."""
    texts: list[str] = []

    def summarized() -> list[Path]:
        texts.append(text_of(findings))
        return []

    attempts.attempt("the summary", summarized)
    return "".join(texts)


def _left_out(view: View) -> list[str]:
    """Return lines that say what figures and tables leave out; none if they show all."""
    lines = [f"figures and tables show {view.restriction}"] if view.restriction else []
    if view.literature is not None:
        total = len(view.literature)
        lacking = total - int(shown_points(view.literature, view.cost, view.loss).sum())
        if lacking:
            needed = f"no {view.cost.label.replace('$', '')}{' or no float_accuracy' if view.loss else ''}"
            lines.append(f"not drawn: {lacking} of {total} points from the literature, which have {needed}")
    return lines


def _lines(text: str) -> list[str]:
    return [text] if text else []


def _write(findings: Findings, out: Path, format: Format, writers: Sequence[Writer]) -> Attempts:
    attempts = Attempts()
    try:
        _made(out)
        for writer in writers:
            writer(findings, out, format, attempts)
    except OSError as error:
        raise _unwritable(out, error) from None
    return attempts


def _unwritable(out: Path, error: OSError) -> ValueError:
    return ValueError(f"report {out} can't be written: {error.strerror}; choose another --out")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _check(format: Format) -> str:
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


def _suffixes(format: Format) -> tuple[str, ...]:
    from analysis.plots.elements.style import FORMATS, available_formats

    available = available_formats(format.style)
    return tuple(suffix for suffix in format.suffixes or FORMATS if suffix in available)


def _lacks_latex(format: Format) -> bool:
    return "pgf" in (format.suffixes or ("pgf",)) and "pgf" not in _suffixes(format)


def _comparison_text(table: pd.DataFrame) -> str:
    shown = pd.DataFrame(
        {
            "study": table["study"],
            "trials": table["trials"],
            "finished": table["finished"].map({True: "yes", False: "no"}),
            "hypervolume": table["hypervolume"].map("{:.4f}".format),
            "knee": [
                "–" if pd.isna(bits) else f"{accuracy:.4f} at {bits:.2f} bits"
                for accuracy, bits in zip(table["knee_val_accuracy"], table["knee_bits_per_weight"], strict=True)
            ],
            "test accuracy of the best": table["test_accuracy"].map(lambda a: "–" if pd.isna(a) else f"{a:.4f}"),
        }
    )
    return "comparison of studies:\n" + shown.to_string(index=False)
