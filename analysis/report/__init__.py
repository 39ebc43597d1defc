"""The report of a study: figures, tables, the page, and provenance."""
