"""Process of a driver's own that sends its study to the trackers: `python -m study.trackers FOLDER ADDRESS`.

It goes on until its standard input ends, which the driver closes, or the system when the driver is killed.
"""

import select
import signal
import sys
from pathlib import Path

from study.storage.folder import StudyFolder
from study.terminal import one_line, say
from study.trackers.follow import SECONDS_BETWEEN_UPDATES, follow
from study.trackers.registry import open_trackers, trackers_root


def main(path: str, address: str) -> int:
    """Follow the study in a folder; return the exit status: 1 if a tracker lacks something at the end."""
    for number in (signal.SIGINT, signal.SIGHUP):  # of the terminal; the driver says when to end
        signal.signal(number, signal.SIG_IGN)
    folder = StudyFolder(Path(path))
    try:
        config = folder.read_config()
        root = trackers_root(folder)
        trackers = open_trackers(config.loggers, config.notify, name=config.name, address=address, root=root)
        return int(bool(follow(folder, trackers, root, say=say, wait=_driver_ended)))
    except Exception as error:  # of any kind: the driver shows the line, and its study goes on
        say(one_line(str(error)) or type(error).__name__)
        return 1


def _driver_ended() -> bool:
    """Wait for the next update; return whether the driver has ended."""
    readable, _, _ = select.select([sys.stdin], [], [], SECONDS_BETWEEN_UPDATES)
    return bool(readable)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
