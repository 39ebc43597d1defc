"""Records derived from the ledger for other readers: tables, provenance, and the mirror in Optuna's database.

Importing this package imports none of its modules: each public name imports its module when it is first used.
"""

from typing import TYPE_CHECKING

from trainables.lazy import lazy_names

if TYPE_CHECKING:
    from study.records.failures import FailTrial, Retry, StopStudy, decide
    from study.records.optuna_mirror import OptunaMirror
    from study.records.recorder import Recorder
    from study.records.tables import write_tables
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "FailTrial": "failures",
            "OptunaMirror": "optuna_mirror",
            "Recorder": "recorder",
            "Retry": "failures",
            "StopStudy": "failures",
            "decide": "failures",
            "write_tables": "tables",
        },
    )


__all__ = [
    "FailTrial",
    "OptunaMirror",
    "Recorder",
    "Retry",
    "StopStudy",
    "decide",
    "write_tables",
]
