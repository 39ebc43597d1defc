"""End of a run of a study: the report, the next steps and the exit status."""

from collections import Counter
from dataclasses import dataclass

from study.interruption import interruption
from study.ledger.history import History
from study.storage.folder import StudyFolder
from study.storage.liveliness import Liveliness
from study.storage.study_storage import REPORT
from trainables.errors import message_of
from trainables.result import TrialState


@dataclass(frozen=True, kw_only=True)
class BriefReport:
    """Text of a report, and warnings about what could not be written."""

    text: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StudyOutcome:
    """End of a run of a study.

    Attributes:
        folder: the study.
        state: FINISHED or INTERRUPTED.
        report: report on the study, or on the study that it confirms; empty if the run was interrupted.
        failure: line that explains why every trial failed; None if one did not.
        next_steps: line with the commands that follow.
    """

    folder: StudyFolder
    state: Liveliness
    report: BriefReport = BriefReport()
    failure: str | None = None
    next_steps: str

    @property
    def interrupted(self) -> bool:
        """Whether a signal has ended the run before its last trial."""
        return self.state is Liveliness.INTERRUPTED

    @property
    def exit_status(self) -> int:
        """Exit status of the command: 0, 1 if every trial failed, 128 and the number of the signal if interrupted."""
        if self.interrupted:
            return interruption.status
        return 0 if self.failure is None else 1


def brief_report(folder: StudyFolder) -> BriefReport:
    """Write the front and the summary of a study; the study has been trained, so every error is a warning."""
    try:
        from analysis.report.report import write_brief_report  # here, since a broken Matplotlib is a warning too

        folder.check_no_links()
        folder.storage.fetch_results()
        written = write_brief_report(folder.path, folder.path / REPORT)
        folder.publish()
    except Exception as error:
        reason = folder.storage.as_shown(message_of(error))
        return BriefReport(warnings=(f"no report was written: {reason}; try again with: qar report {folder}",))
    shown = folder.storage.as_shown
    return BriefReport(text=shown(written.text), warnings=tuple(map(shown, written.failures)))


def next_steps(folder: StudyFolder, reported: StudyFolder, is_plan: bool) -> str:
    """Return the line with the commands that follow a finished run."""
    report = f"qar report {reported}"
    return f"next: {report if is_plan else f'qar confirm {folder} --seeds 5; {report}'}"


def common_failure(folder: StudyFolder, history: History) -> str | None:
    """Return the line that says so if every trial of a study has failed."""
    trials = history.trials.values()
    if any(trial.state != TrialState.FAIL for trial in trials) or not trials:
        return None
    reasons = Counter(trial.failure or "unknown" for trial in trials)
    ((reason, count),) = reasons.most_common(1)
    often = "" if count == len(trials) else f" in {count} of them"
    return f"every trial failed,{often} because: {reason}; see all reasons with: qar status {folder}"
