"""The ledger: the append-only log of facts, the history derived from it, and the costs derived from that.

Importing this package imports none of its modules: each public name imports its module when it is first used.
"""

from typing import TYPE_CHECKING

from trainables.lazy import lazy_names

if TYPE_CHECKING:
    from study.ledger.costs import Costs, costs_of
    from study.ledger.epochs import RungReport
    from study.ledger.facts import FACTS, Fact
    from study.ledger.history import CheckpointRecord, History, KnownResult, Session, Trial
    from study.ledger.ledger import Ledger, LedgerCopy
    from study.ledger.order import check_order
    from study.ledger.reading import read_history
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "CheckpointRecord": "history",
            "Costs": "costs",
            "FACTS": "facts",
            "Fact": "facts",
            "History": "history",
            "KnownResult": "history",
            "Ledger": "ledger",
            "LedgerCopy": "ledger",
            "RungReport": "epochs",
            "Session": "history",
            "Trial": "history",
            "check_order": "order",
            "costs_of": "costs",
            "read_history": "reading",
        },
    )


__all__ = [
    "FACTS",
    "CheckpointRecord",
    "Costs",
    "Fact",
    "History",
    "KnownResult",
    "Ledger",
    "LedgerCopy",
    "RungReport",
    "Session",
    "Trial",
    "check_order",
    "costs_of",
    "read_history",
]
