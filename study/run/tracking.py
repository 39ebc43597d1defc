"""The process beside a driver that sends its study to the trackers."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from study.config import StudyConfig
from study.storage.folder import StudyFolder
from study.storage.study_storage import TRACKERS
from study.trackers.registry import trackers_root

SECONDS_TO_FINISH = 60.0
"""Longest time that a driver waits at its end for the trackers to be brought up to date."""
MESSAGES = "messages.log"


@contextmanager
def trackers_beside(folder: StudyFolder, config: StudyConfig, say: Callable[[str], None]) -> Iterator[None]:
    """Run the process while the context is entered; its failure is a warning, and never the study's.

    Args:
        folder: the study, which this process drives.
        config: names the trackers.
        say: prints a line.
    """
    if not config.loggers and not config.notify:
        yield
        return
    folder.storage.fetch_folder(TRACKERS)
    root = trackers_root(folder)
    root.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "study.trackers", str(folder.path), folder.address]
    with (root / MESSAGES).open("w") as messages:
        # A session of its own: the keys of the terminal end the driver, which tells this process.
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=messages, stderr=messages, start_new_session=True
        )
    try:
        yield
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            status = process.wait(SECONDS_TO_FINISH)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            say(f"warning: the trackers take long to answer; send them the rest with: qar track {folder}")
        else:
            if status:
                lines = (root / MESSAGES).read_text(errors="replace").split("\n")
                reason = next((line for line in reversed(lines) if line.strip()), f"exit status {status}")
                say(f"warning: {reason}; send the rest with: qar track {folder}")
        folder.publish()
