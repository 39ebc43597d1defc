"""`qar report`: figures, tables and an HTML page of one or several studies."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.report.format import Format
from analysis.report.options import view_of
from analysis.report.report import Report, write_comparison, write_report
from study.commands.importance import hyperparameter_importances
from study.storage.folder import StudyFolder


def report(
    folders: Sequence[StudyFolder],
    out: Path | None = None,
    *,
    style: Path | None = None,
    formats: Sequence[str] | None = None,
    **shown: Any,
) -> Report:
    """Write the report of a study, or one that compares several.

    Args:
        folders: the studies.
        out: folder of the report; None for `report` in the folder of one study, or in the working directory.
        style: Matplotlib style file whose keys override the built-in style.
        formats: formats of the figures; None for all, and an empty sequence for no figure.
        **shown: what figures and tables show, as `analysis.report.options.view_of` takes it.

    Raises:
        ValueError: an option is wrong, a study has no tables, or `out` can't be written.
        DamagedFileError: the tables of a study can't be read.
        StorageError: a bucket can't be reached.
    """

    def named(path: Path) -> str:
        shown_as = (folder.storage.shown(path) for folder in folders if path.is_relative_to(folder.path))
        return next(shown_as, str(path))

    suffixes = None if formats is None else tuple(formats)
    format = Format(style=style, suffixes=suffixes, named=named, view=view_of(**shown))
    for folder in folders:
        folder.check_no_links()
        folder.storage.fetch_results()
        folder.check_recorded()
    paths = [folder.path for folder in folders]
    if len(folders) > 1:
        return write_comparison(paths, out or Path("report"), format=format, importances=hyperparameter_importances)
    written = write_report(paths[0], out or paths[0] / "report", format=format, importances=hyperparameter_importances)
    folders[0].publish()
    return written
