"""Records derived from the ledger for other readers: tables, provenance, and the mirror in Optuna's database.

Importing this package imports none of its modules: each public name imports its module when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from study.records.failures import FailTrial, Retry, StopStudy, decide
    from study.records.optuna_mirror import OptunaMirror
    from study.records.recorder import Recorder, write_tables
else:
    _MODULES = {
        "FailTrial": "failures",
        "OptunaMirror": "optuna_mirror",
        "Recorder": "recorder",
        "Retry": "failures",
        "StopStudy": "failures",
        "decide": "failures",
        "write_tables": "recorder",
    }

    def __getattr__(name):
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


__all__ = [
    "FailTrial",
    "OptunaMirror",
    "Recorder",
    "Retry",
    "StopStudy",
    "decide",
    "write_tables",
]
