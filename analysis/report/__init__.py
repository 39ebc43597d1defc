"""The report of a study: figures, tables, the page, and provenance.

Each public name imports its module when it is first used.
"""

from typing import TYPE_CHECKING

from trainables.lazy import lazy_names

if TYPE_CHECKING:
    from analysis.report.findings import Findings, load_findings
    from analysis.report.format import Format
    from analysis.report.report import write_brief_report, write_comparison, write_report
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "Findings": "findings",
            "Format": "format",
            "load_findings": "findings",
            "write_brief_report": "report",
            "write_comparison": "report",
            "write_report": "report",
        },
    )


__all__ = [
    "Findings",
    "Format",
    "load_findings",
    "write_brief_report",
    "write_comparison",
    "write_report",
]
