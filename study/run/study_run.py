"""A study that is ready to run."""

from dataclasses import dataclass, field

from study.config import StudyConfig
from study.ledger.history import History
from study.run.options import RunOptions
from study.storage.folder import StudyFolder
from study.storage.liveliness import is_complete


@dataclass(frozen=True, kw_only=True)
class StudyRun:
    """A study that exists and has passed all checks, with all that a driver needs to run it.

    Attributes:
        folder: folder of the study.
        config: configuration that the folder holds.
        options: where to run, and where messages go.
        confirmed: the study that this one confirms; None if it is no confirmation.
    """

    folder: StudyFolder
    config: StudyConfig
    options: RunOptions = field(default_factory=RunOptions)
    confirmed: StudyFolder | None = None

    def is_complete(self, history: History) -> bool:
        """Whether the study has nothing left to train."""
        return is_complete(history, self.config)
