"""A study that is ready to run."""

from dataclasses import dataclass, field

from study.config import StudyConfig
from study.run.options import RunOptions
from study.storage.folder import StudyFolder


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
