"""The report of a study, or of several: figures, tables, lists, and the summary that the command prints."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from analysis.report.findings import Findings, load_findings
from analysis.report.html import write_html
from analysis.report.origin import Named, names_of, read_origin
from analysis.report.provenance import PROVENANCE, write_provenance
from analysis.report.summary import files_text, summarize, text_of
from analysis.statistics.front import front

Importances = Callable[[pd.DataFrame], pd.DataFrame]
"""From rows of trials.parquet to columns `objective`, `parameter`, `importance`, `n`."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was written.

    Attributes:
        text: the summary for a terminal: counts, fronts, where things are, and why some are not.
        files: paths of all files.
    """

    text: str
    files: list[Path]


@dataclass(frozen=True, kw_only=True)
class Format:
    """How a report is written.

    Attributes:
        style: an .mplstyle file whose keys replace those of `analysis.plots.style.STYLE_FILE`; None for the default.
        suffixes: of figures, among `analysis.plots.style.FORMATS`; None for all that can be written here.
        named: names paths in a study to readers of the page and of provenance.json.
    """

    style: Path | None = None
    suffixes: tuple[str, ...] | None = None
    named: Named = str


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a writer has done: paths, and by name why something is missing."""

    files: list[Path]
    missing: dict[str, str] = field(default_factory=dict)


def _write_figures(findings: Findings, out: Path, how: Format) -> Written:
    from analysis.report.figures import write_figures  # matplotlib takes a second to import

    files, missing = write_figures(findings, _made(out / "figures"), style=how.style, formats=_suffixes(how))
    return Written(files=files, missing={f"figure {name}": reason for name, reason in missing.items()})


def _write_front(findings: Findings, out: Path, how: Format) -> Written:
    """The figure of the front alone, as a run leaves it."""
    from analysis.report.figures import FIGURES, WIDTHS, write_figure

    names = ["front"] if findings.results is None else ["front", "confirmed"]
    folder = _made(out / "figures")
    files = []
    for name in names:
        files += write_figure(
            findings, FIGURES[name], folder / name, WIDTHS[""], style=how.style, formats=("pdf", "svg", "png")
        )
    return Written(files=files)


def _write_tables(findings: Findings, out: Path, how: Format) -> Written:
    from analysis.report.tables import write_tables

    files, missing = write_tables(findings, out)
    return Written(files=files, missing={f"table {name}": reason for name, reason in missing.items()})


def _write_lists(findings: Findings, out: Path, how: Format) -> Written:
    """The front, and what was confirmed, with all columns."""
    files = [out / "front.csv"]
    front(findings.trials).to_csv(files[0], index=False)
    if findings.results is not None:
        files.append(out / "confirmed.csv")
        findings.results.to_csv(files[-1], index=False)
    return Written(files=files)


def _write_summary(findings: Findings, out: Path, how: Format) -> Written:
    path = out / "summary.json"
    path.write_text(json.dumps(summarize(findings), indent=2) + "\n")
    return Written(files=[path])


def _write_page(findings: Findings, out: Path, how: Format) -> Written:
    return Written(files=[write_html([findings.folder], out, named=how.named)])


def _write_provenance(findings: Findings, out: Path, how: Format) -> Written:
    from analysis.report.figures import points_of_figures

    figures = points_of_figures(findings)
    return Written(files=[write_provenance([findings.folder], out, figures, named=how.named)])


Writer = Callable[[Findings, Path, Format], Written]

WRITERS: tuple[Writer, ...] = (
    *(_write_page, _write_provenance),
    *(_write_figures, _write_tables, _write_lists, _write_summary),
)
"""Of a whole report: one for each kind of file."""

BRIEF_WRITERS: tuple[Writer, ...] = (_write_front, _write_lists, _write_summary)
"""Of what a run leaves when it ends, in about a second."""


def write_report(
    study: Path, out: Path, *, how: Format | None = None, importances: Importances | None = None
) -> Report:
    """Writes the whole report of the study in folder `study` into the folder `out`.

    Args:
        study: folder of the study.
        out: folder of the report; made if it isn't there.
        how: it is written; None for figures of all formats in our style, and paths as they are.
        importances: computes them; None leaves them out.

    Raises:
        ValueError: there is no study, the style can't be used, or `out` can't be written.
        DamagedFileError: its tables can't be read.
    """
    how = how or Format()
    _check(how)
    findings = _load_whole(study, importances)
    written = _write(findings, out, how, WRITERS)
    text = f"{text_of(findings)}\n\n{files_text(out, written.missing, _lacks_latex(how))}"
    return Report(text=text, files=written.files)


def write_brief_report(study: Path, out: Path) -> Report:
    """Writes the front, its figure and the summary: what a run leaves; errors are those of `write_report`."""
    findings = load_findings(study)
    written = _write(findings, out, Format(), BRIEF_WRITERS)
    where = f"plot: {out / 'figures' / 'front.pdf'} (and .svg, .png); all figures and tables: qar report {study}"
    if (out / PROVENANCE).exists():
        where += f"\nthe page, the tables and the other figures in {out} are older: renew them in the same way"
    return Report(text=f"{text_of(findings)}\n{where}", files=written.files)


def write_comparison(
    studies: Sequence[Path], out: Path, *, how: Format | None = None, importances: Importances | None = None
) -> Report:
    """Writes the reports of several studies into folders of `out` named like them, and figures and a table of all.

    Args:
        studies: folders of the studies, of different names.
        out: folder of the comparison; made if it isn't there.
        how: as in `write_report`.
        importances: as in `write_report`.

    Raises:
        ValueError: as in `write_report`, or two studies have the same name.
        DamagedFileError: as in `write_report`.
    """
    from analysis.report.figures import points_of_studies_figures, write_studies_figures
    from analysis.report.tables import studies_table, write_table

    how = how or Format()
    _check(how)
    loaded = [_load_whole(study, importances) for study in studies]
    named = dict(zip(names_of(studies), loaded, strict=True))
    parts: list[str] = []
    files: list[Path] = []
    missing: dict[str, str] = {}
    for name, findings in named.items():
        written = _write(findings, out / name, how, WRITERS)
        files += written.files
        missing |= {f"{what} of {name}": reason for what, reason in written.missing.items()}
        parts.append(f"{name}\n{'=' * len(name)}\n{text_of(findings)}")
    table = studies_table(named)
    try:
        files += write_studies_figures(named, _made(out / "figures"), style=how.style, formats=_suffixes(how))
        files += write_table("studies", table, out)
        files.append(write_html(studies, out, named=how.named))
        files.append(write_provenance(studies, out, points_of_studies_figures(named), named=how.named))
    except OSError as error:
        raise _unwritable(out, error) from None
    parts += [_comparison_text(table.frame), files_text(out, missing, _lacks_latex(how))]
    return Report(text="\n\n".join(parts), files=files)


def _load_whole(study: Path, importances: Importances | None) -> Findings:
    """Reads everything, so that a damaged file is found before anything is written."""
    findings = load_findings(study, importances)
    _ = findings.epochs
    read_origin(study)
    return findings


def _write(findings: Findings, out: Path, how: Format, writers: Sequence[Writer]) -> Written:
    files: list[Path] = []
    missing: dict[str, str] = {}
    try:
        _made(out)
        for writer in writers:
            written = writer(findings, out, how)
            files += written.files
            missing |= written.missing
    except OSError as error:
        raise _unwritable(out, error) from None
    return Written(files=files, missing=missing)


def _unwritable(out: Path, error: OSError) -> ValueError:
    return ValueError(f"report {out} can't be written: {error.strerror}; choose another --out")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _check(how: Format) -> None:
    """Finds out before anything is written that a style or a format is wrong."""
    from analysis.plots.style import FORMATS, paper_style

    wrong = [suffix for suffix in how.suffixes or () if suffix not in FORMATS]
    if wrong:
        raise ValueError(f"unknown formats {wrong}; choose from {list(FORMATS)}")
    with paper_style(how.style):
        pass


def _suffixes(how: Format) -> tuple[str, ...]:
    from analysis.plots.style import FORMATS, available_formats

    available = available_formats(how.style)
    return tuple(suffix for suffix in how.suffixes or FORMATS if suffix in available)


def _lacks_latex(how: Format) -> bool:
    return "pgf" in (how.suffixes or ("pgf",)) and "pgf" not in _suffixes(how)


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
            "test accuracy of its best": table["test_accuracy"].map(lambda a: "–" if pd.isna(a) else f"{a:.4f}"),
        }
    )
    return "studies compared:\n" + shown.to_string(index=False)
