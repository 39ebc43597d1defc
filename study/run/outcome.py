"""Run of a study, and what follows it: the report, the next steps and the exit status."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

from study.interruption import interruption
from study.ledger.history import History
from study.run.session import run_study
from study.run.study_run import StudyRun
from study.storage.folder import StudyFolder
from study.storage.liveliness import Liveliness, is_complete
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
                failure=_common_failure(run.folder, history),
                next_steps=_next_steps(run.folder, reported, is_plan=bool(run.config.plan)),
                report=brief_report(reported),
            )
    return StudyOutcome(folder=run.folder, state=Liveliness.INTERRUPTED, next_steps=resume)


def brief_report(folder: StudyFolder) -> BriefReport:
    """Write the front and the summary of a study; the study has been trained, so every error is a warning."""
    try:
        from analysis.report.report import write_brief_report  # here, since a broken Matplotlib is a warning too

        folder.check_no_links()
        folder.storage.fetch_results()
        written = write_brief_report(folder.path, folder.path / "report")
        folder.publish()
    except Exception as error:
        reason = folder.storage.as_shown(" ".join(str(error).split()) or type(error).__name__)
        return BriefReport(warnings=(f"no report was written: {reason}; try again with: qar report {folder}",))
    shown = folder.storage.as_shown
    return BriefReport(text=shown(written.text), warnings=tuple(map(shown, written.failures)))


def _next_steps(folder: StudyFolder, reported: StudyFolder, is_plan: bool) -> str:
    """Return the line with the commands that follow a finished run."""
    report = f"qar report {reported}"
    return f"next: {report if is_plan else f'qar confirm {folder} --seeds 5; {report}'}"


def _common_failure(folder: StudyFolder, history: History) -> str | None:
    """Return the line that says so if every trial of a study has failed."""
    trials = history.trials.values()
    if any(trial.state != TrialState.FAIL for trial in trials) or not trials:
        return None
    reasons = Counter(trial.failure or "unknown" for trial in trials)
    ((reason, count),) = reasons.most_common(1)
    often = "" if count == len(trials) else f" in {count} of them"
    return f"every trial failed,{often} because: {reason}; see all reasons with: qar status {folder}"
