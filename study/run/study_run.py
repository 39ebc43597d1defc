"""A study that is ready to run, and the function that runs it."""

from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from study.cluster.connect import quiet_libraries
from study.config import StudyConfig
from study.ledger.history import History
from study.run.options import RunOptions
from study.run.tracking import trackers_beside
from study.storage.folder import StudyFolder

if TYPE_CHECKING:
    from ray.tune import Trainable


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
        """Whether all trials of the study have ended."""
        return history.num_ended >= self.config.trials


def run_study(run: StudyRun, trainable: "type[Trainable] | None" = None) -> History:
    """Run the trials of a study that have not ended: all of a new study, the rest of an interrupted one.

    Args:
        run: the study.
        trainable: Ray's class of a trial; `CompressionTrial` if None.

    Returns:
        History of the study. It is not complete if a signal has interrupted the run; the study can then be resumed.

    Raises:
        ValueError: no trial fits the cluster, or another process runs the study.
        DamagedFileError: the ledger can't be read.
        StudyInterrupted: the study can't be written, or its trials can't be trained; it can be resumed.
    """
    if not run.options.verbose:
        quiet_libraries()
    say = run.options.console.print
    with closing(run.folder.open_ledger(say)) as ledger, trackers_beside(run.folder, run.config, say):
        from study.run.driver import Driver  # here, since it imports Ray, which reads the environment then

        Driver(run, ledger, trainable).run()
    return ledger.history
