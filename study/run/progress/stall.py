"""Notice that a study has come to a standstill: no epoch ends for far longer than epochs have taken so far."""

from study.durations import duration
from study.ledger.history import History

EPOCHS_OF_SILENCE = 20
"""Silence that counts as a standstill, in durations of the longest epoch so far."""

SHORTEST_STALL = 600.0
"""Seconds of silence below which no study counts as stalled: nodes may start, data sets may be fetched."""

STALL_BEFORE_EPOCHS = 1800.0
"""Seconds of silence that count as a standstill where no epoch has ended yet."""

LONGEST_GAP = 60.0
"""Seconds between two checks above which this process was stopped in between, as with a suspended laptop."""


def longest_epoch(history: History) -> float | None:
    """Return the duration of the longest epoch of a study, float networks included; None before the first."""
    trials = history.epochs.numbers_of("train_seconds")
    baselines = [seconds for epochs in history.baseline_seconds.values() for seconds in epochs.values()]
    return max([*baselines, *([float(trials.max())] if len(trials) else [])], default=None)


def stall_seconds(longest: float | None) -> float:
    """Return the silence, in seconds, that counts as a standstill.

    Args:
        longest: duration of the longest epoch so far; None before the first.
    """
    return STALL_BEFORE_EPOCHS if longest is None else max(SHORTEST_STALL, EPOCHS_OF_SILENCE * longest)


class StallDetector:
    """Decides when to show the notice: once for each standstill."""

    def __init__(self, longest: float | None, now: float) -> None:
        """Begin to observe.

        Args:
            longest: duration of the longest epoch so far; None before the first.
            now: seconds of a monotonic clock, as in all methods.
        """
        self._longest = longest
        self._last_progress = self._last_check = now
        self._noticed = False

    def progress(self, now: float, epoch_seconds: float | None = None) -> None:
        """Record that a trial has started or ended, or that an epoch has ended, which took `epoch_seconds`."""
        if epoch_seconds is not None:
            self._longest = max(self._longest or 0.0, epoch_seconds)
        self._last_progress = self._last_check = now
        self._noticed = False

    def notice(self, now: float) -> str | None:
        """Return the notice if the study has come to a standstill that was not noticed before."""
        gap = now - self._last_check
        self._last_check = now
        if gap > LONGEST_GAP:
            self._last_progress += gap  # trials were stopped too
        silence = now - self._last_progress
        if self._noticed or silence < stall_seconds(self._longest):
            return None
        self._noticed = True
        before = "" if self._longest is None else f"; the longest so far took {duration(self._longest)}"
        return (
            f"no epoch has ended for {duration(silence)}{before}; see `ray status` and the load of the machines; "
            "Ctrl-C, then qar resume, continues from the checkpoints"
        )
