"""Writer of the report of one or several studies: page, figures, tables, lists and the printed summary."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.literature import shown_points
from analysis.report.attempts import Attempts
from analysis.report.findings import Findings, Importances, findings_of, load_findings
from analysis.report.format import Format, check_format, chosen_suffixes, lacks_latex
from analysis.report.html import write_html
from analysis.report.options import check_choice
from analysis.report.provenance import PROVENANCE, write_provenance
from analysis.report.summary import files_text, text_of
from analysis.report.writers import BRIEF_WRITERS, WRITERS, Writer, made
from analysis.study import read_studies, read_study
from analysis.view import View


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
    note = check_format(format)
    findings = load_findings(study, importances, named=format.named, view=format.view)
    check_choice(format.view, [findings.study])
    _read_epochs(findings)
    attempts = _write(findings, out, format, WRITERS)
    notes = [*_left_out(format.view), *_lines(attempts.omissions), *_lines(note)]
    files = files_text(out, notes, figures=format.suffixes != (), without_latex=lacks_latex(format))
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
    note = check_format(format)
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
    parts.append(files_text(out, notes, figures=format.suffixes != (), without_latex=lacks_latex(format)))
    return Report(text="\n\n".join(parts), files=common.files, failures=common.failures)


def _write_common(compared: dict[str, Findings], out: Path, format: Format, attempts: Attempts) -> None:
    """Write the files that compare several studies: figures, a table, the page and the provenance."""
    from analysis.report.figures import points_of_studies_figures, write_studies_figures
    from analysis.report.tables import studies_table, write_table

    studies = list(compared.values())
    if format.suffixes != ():
        write_studies_figures(
            compared, made(out / "figures"), attempts, style=format.style, formats=chosen_suffixes(format)
        )
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
        made(out)
        for writer in writers:
            writer(findings, out, format, attempts)
    except OSError as error:
        raise _unwritable(out, error) from None
    return attempts


def _unwritable(out: Path, error: OSError) -> ValueError:
    return ValueError(f"report {out} can't be written: {error.strerror}; choose another --out")


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
