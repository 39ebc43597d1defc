"""The facts with which a session begins and ends, and the kind of loop that trains its trials."""

import os
import socket
from typing import Any

from study.config import StudyConfig
from study.ledger.facts import SESSION_ENDED, SESSION_STARTED, SessionOutcome
from study.ledger.history import History
from study.ledger.ledger import Ledger
from study.records.provenance import provenance
from study.sources import import_paths_of
from study.storage.folder import StudyFolder
from study.storage.liveliness import is_complete
from trainables.import_path import module_of

LOOP = "loop"
"""Key of the provenance of a session that says who trains its trials; absent where `trainables` does."""
OWN = "own"
"""Value of `LOOP` for a training loop of the user's own, which asks for trials and tells their results."""


def start_session(folder: StudyFolder, config: StudyConfig, ledger: Ledger, **origin: Any) -> None:
    """Record the start of a session.

    Args:
        folder: the study.
        config: configuration of the study.
        ledger: ledger of the study, open for writing.
        **origin: further provenance of the session.
    """
    modules = {module_of(name).partition(".")[0] for names in import_paths_of(config).values() for name in names}
    ledger.record(
        SESSION_STARTED,
        session=len(ledger.history.sessions) + 1,
        pid=os.getpid(),
        hostname=socket.gethostname(),
        provenance=provenance(modules, config.trial["sources"]) | origin,
        study_yaml=folder.config_digest(),
    )


def end_session(config: StudyConfig, ledger: Ledger) -> None:
    """Record the end of the session that runs."""
    history = ledger.history
    outcome = SessionOutcome.FINISHED if is_complete(history, config) else SessionOutcome.INTERRUPTED
    ledger.record(SESSION_ENDED, session=len(history.sessions), outcome=outcome)


def check_loop(folder: StudyFolder, history: History, own: bool) -> None:
    """Check that all sessions of a study had the kind of loop that is about to train its trials.

    Args:
        folder: the study.
        history: history of the study.
        own: whether a loop of the user's own is about to train.

    Raises:
        ValueError: a session had the other kind of loop, so that trials could not be compared.
    """
    loops = {session.provenance.get(LOOP) == OWN for session in history.sessions}
    if loops <= {own}:
        return
    kind = "a training loop of its user's own" if not own else "qar itself"
    remedy = "go on with Study.ask in that loop" if not own else f"go on with: qar resume {folder}"
    raise ValueError(
        f"{folder} must be trained by one kind of loop, got {len(history.sessions)} sessions of {kind}; {remedy}"
    )
