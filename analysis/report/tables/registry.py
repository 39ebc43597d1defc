"""Tables of a study's report, by name."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from analysis.report.attempts import Attempts
from analysis.report.findings import Findings
from analysis.report.tables.accuracies import accuracy_table, search_table
from analysis.report.tables.before_tuning import before_tuning_table
from analysis.report.tables.configurations import confirmed_table
from analysis.report.tables.gains import gains_table
from analysis.report.tables.importances import importances_table
from analysis.report.tables.sizes import sizes_table
from analysis.report.tables.table import Table, write_table

TABLES: dict[str, Callable[[Findings], Table]] = {
    "accuracy": accuracy_table,
    "search": search_table,
    "sizes": sizes_table,
    "gains": gains_table,
    "before-tuning": before_tuning_table,
    "confirmed": confirmed_table,
    "importances": importances_table,
}


def write_tables(findings: Findings, out: Path, attempts: Attempts) -> None:
    """Write all tables of a study into an existing folder; an error of one does not prevent the others.

    Raises:
        OSError: the storage cannot be written.
    """
    for name, make in TABLES.items():
        attempts.attempt(f"table {name}", partial(_make_and_write, name, make, findings, out))


def _make_and_write(name: str, make: Callable[[Findings], Table], findings: Findings, out: Path) -> list[Path]:
    return write_table(name, make(findings), out)
