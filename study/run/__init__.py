"""Running a study: launch, resume, float networks, recovery and progress.

Each public name imports its module when it is first used.
"""

from typing import TYPE_CHECKING

from trainables.lazy import lazy_names

if TYPE_CHECKING:
    from study.run.launch import resume
    from study.run.options import RunOptions
    from study.run.outcome import StudyOutcome
    from study.run.session import run_and_report, run_study
    from study.run.study_run import StudyRun
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "RunOptions": "options",
            "StudyOutcome": "outcome",
            "StudyRun": "study_run",
            "resume": "launch",
            "run_and_report": "session",
            "run_study": "session",
        },
    )


__all__ = [
    "RunOptions",
    "StudyOutcome",
    "StudyRun",
    "resume",
    "run_and_report",
    "run_study",
]
