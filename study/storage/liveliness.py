"""State of the run of a study."""

from enum import StrEnum

from study.ledger.facts import SessionOutcome
from study.ledger.history import History
from study.storage.folder import StudyFolder


class Liveliness(StrEnum):
    """State of the latest driver of a study."""

    NOT_STARTED = "not started"
    RUNNING = "running"
    FINISHED = SessionOutcome.FINISHED
    INTERRUPTED = SessionOutcome.INTERRUPTED
    DIED = "died"


def liveliness(folder: StudyFolder, history: History, trials: int) -> Liveliness:
    """Return the state of the run of a study that has a number of `trials`.

    A study that was extended after it had finished, and not resumed since, counts as interrupted.
    """
    if folder.is_driven():
        return Liveliness.RUNNING
    if not history.sessions:
        return Liveliness.NOT_STARTED
    if history.num_ended >= trials:
        return Liveliness.FINISHED
    outcome = Liveliness(history.sessions[-1].outcome or Liveliness.DIED)
    return Liveliness.INTERRUPTED if outcome is Liveliness.FINISHED else outcome
