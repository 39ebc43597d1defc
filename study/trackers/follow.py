"""The follower: brings the trackers of a study up to date with its ledger until its driver ends."""

import fcntl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from study.config import StudyConfig
from study.ledger.history import History
from study.storage.folder import StudyFolder
from study.terminal import one_line
from study.trackers.tracker import Tracker

SECONDS_BETWEEN_UPDATES = 5.0
LOCK = ".lock"


class TrackersBusyError(ValueError):
    """Another process sends the study to its trackers."""


class Follower:
    """Trackers of one study, and what they have been brought up to date with.

    Attributes:
        trouble: reason why the latest update of a tracker failed, in one line, by its name.
    """

    def __init__(self, config: StudyConfig, trackers: Mapping[str, Tracker]) -> None:
        """Begin with trackers that have been sent nothing by this process."""
        self._config = config
        self._trackers = trackers
        self._seen: dict[str, dict[int, tuple[int, str]]] = {name: {} for name in trackers}
        self.trouble: dict[str, str] = {}

    def update(self, history: History) -> None:
        """Bring each tracker up to date; one that fails is tried again at the next call."""
        for name, tracker in self._trackers.items():
            seen = self._seen[name]
            try:
                for number, trial in sorted(history.trials.items()):
                    state = (len(trial.epochs), trial.state)
                    if seen.get(number) != state:
                        tracker.update_trial(trial)
                        seen[number] = state
                tracker.update_study(self._config, history)
                self.trouble.pop(name, None)
            except Exception as error:  # of any tracker's own type
                self.trouble[name] = one_line(str(error)) or type(error).__name__

    def close(self) -> None:
        """Close all trackers."""
        for tracker in self._trackers.values():
            tracker.close()


def follow(
    folder: StudyFolder,
    trackers: Mapping[str, Tracker],
    root: Path,
    *,
    say: Callable[[str], None],
    wait: Callable[[], bool],
) -> dict[str, str]:
    """Bring the trackers of a study up to date again and again, for the last time after its driver has ended.

    Args:
        folder: the study.
        trackers: trackers by name.
        root: folder for files of the trackers; its lock keeps two followers apart.
        say: called with a line when the trouble of a tracker changes.
        wait: waits until the next update is due, and returns whether the driver has ended.

    Returns:
        The trackers that could not be brought up to date, with the reasons.

    Raises:
        TrackersBusyError: another process follows the study.
        StorageError: the bucket can't be reached.
        DamagedFileError: the ledger can't be read.
    """
    with _alone(root, folder):
        follower = Follower(folder.read_config(), trackers)
        shown: dict[str, str] = {}
        ended = False
        try:
            while True:
                follower.update(folder.read_history())
                for name, reason in follower.trouble.items():
                    if shown.get(name) != reason:
                        say(f"{name} can't be brought up to date: {reason}")
                shown = dict(follower.trouble)
                if ended:
                    return shown
                ended = wait()
                folder.storage.fetch_ledger()
        finally:
            follower.close()


def until_not_driven(folder: StudyFolder, seconds: float = SECONDS_BETWEEN_UPDATES) -> Callable[[], bool]:
    """Return what waits for a study that any process may drive; it returns at once if none does."""

    def wait() -> bool:
        if not folder.is_driven():
            return True
        time.sleep(seconds)
        return False

    return wait


@contextmanager
def _alone(root: Path, folder: StudyFolder) -> Iterator[None]:
    root.mkdir(parents=True, exist_ok=True)
    with (root / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrackersBusyError(
                f"the trackers of {folder} must be written by one process, got a second; end it"
            ) from None
        yield
