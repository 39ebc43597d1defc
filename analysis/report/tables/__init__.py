"""Tables of a report, each as a DataFrame for CSV and as LaTeX for a paper."""

from analysis.report.tables.registry import TABLES, write_tables
from analysis.report.tables.studies import studies_table
from analysis.report.tables.table import Table, write_table

__all__ = ["TABLES", "Table", "studies_table", "write_table", "write_tables"]
