"""State of the run of a study."""

from enum import StrEnum

from study.config import StudyConfig
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


def rule_met(history: History, config: StudyConfig) -> str | None:
    """Return the rule of the section `stop` that has ended a study, in words; None if none has.

    A study that was extended since, or whose rules were changed, is not ended.
    """
    stopped = history.stopped
    if stopped is None or config.stop is None or stopped.trials != config.trials:
        return None
    return stopped.reason if stopped.rules == config.stop.model_dump(mode="json") else None


def is_complete(history: History, config: StudyConfig) -> bool:
    """Whether a study has nothing left to train: all trials have ended, or a rule has ended it with those that ran."""
    if history.num_ended >= config.trials:
        return True
    return rule_met(history, config) is not None and not history.unfinished


def liveliness(folder: StudyFolder, history: History, config: StudyConfig) -> Liveliness:
    """Return the state of the run of a study.

    A study that was extended after it had finished, and not resumed since, counts as interrupted.
    """
    if folder.is_driven():
        return Liveliness.RUNNING
    if not history.sessions:
        return Liveliness.NOT_STARTED
    if is_complete(history, config):
        return Liveliness.FINISHED
    outcome = Liveliness(history.sessions[-1].outcome or Liveliness.DIED)
    return Liveliness.INTERRUPTED if outcome is Liveliness.FINISHED else outcome
