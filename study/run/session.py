"""One session: the run of a study that has passed all checks, by this process, and the report on it."""

from contextlib import closing, suppress
from typing import TYPE_CHECKING

from study.cluster.connect import quiet_libraries
from study.interruption import interruption
from study.ledger.history import History
from study.run.outcome import StudyOutcome, brief_report, common_failure, next_steps
from study.run.study_run import StudyRun
from study.run.tracking import trackers_beside
from study.storage.liveliness import Liveliness, is_complete

if TYPE_CHECKING:
    from ray.tune import Trainable


def run_study(run: StudyRun, trainable: "type[Trainable] | None" = None) -> History:
    """Run the trials of a study that have not ended: all of a new study, the rest of an interrupted one.

    Args:
        run: the study.
        trainable: Ray's class of a trial; that of this package if None.

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


def run_and_report(run: StudyRun) -> StudyOutcome:
    """Run the rest of a study, and report on it, or on the study that it confirms.

    Raises:
        Exception: as `run_study` raises; what goes wrong with the report is a warning in the outcome.
    """
    reported = run.confirmed or run.folder
    resume = f"interrupted; continue with: qar resume {run.folder}"
    interruption.last_words = resume
    with suppress(KeyboardInterrupt):
        history = run_study(run)
        if is_complete(history, run.config):
            return StudyOutcome(
                folder=run.folder,
                state=Liveliness.FINISHED,
                failure=common_failure(run.folder, history),
                next_steps=next_steps(run.folder, reported, is_plan=bool(run.config.plan)),
                report=brief_report(reported),
            )
    return StudyOutcome(folder=run.folder, state=Liveliness.INTERRUPTED, next_steps=resume)
