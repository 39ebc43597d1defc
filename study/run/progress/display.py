"""Progress of a study in the terminal: trials by state, the front so far, elapsed and expected time."""

import time
from collections.abc import Callable
from typing import Any

from ray.tune import Callback, ProgressReporter
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from study.config import StudyConfig
from study.durations import duration
from study.interruption import interruption
from study.ledger.front import front_so_far
from study.ledger.history import History
from study.ledger.ledger import DerivedFromLedger
from study.run.progress.field_columns import COLUMN_WIDTH
from study.run.progress.lines import front_table, states_line, training_line
from study.run.progress.panel import front_in_text, hypervolume_line, running_table
from study.run.progress.remaining import seconds_left
from study.run.progress.stall import StallDetector, longest_epoch

MIN_INTERVAL_FACTOR = 30
"""Least time between two displays, as a multiple of the time that the last one took."""

MOST_FRONT_ROWS = 12
"""Most points of a front that the live panel lists; the drawing shows any number."""


class Progress(DerivedFromLedger, Callback):
    """Ray's callback that shows the progress of a study: a live panel in a terminal, plain lines elsewhere."""

    def __init__(
        self,
        history: History,
        config: StudyConfig,
        console: Console,
        seconds_between_lines: float = 10.0,
        commit: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare the display.

        Args:
            history: history of the study, which the recorder keeps up to date.
            config: configuration of the study.
            console: where to show the progress.
            seconds_between_lines: time between two lines where the console is no terminal.
            commit: function that makes the facts of the history durable; called before they are shown.
        """
        self._history = history
        self._config = config
        self._trials = config.trials
        self._commit = commit
        self._console = console
        self._seconds_between_lines = seconds_between_lines if not console.is_terminal else 0.25
        self._seconds_before = history.seconds
        self._epoch_began: dict[int, float] = {}  # by number of the trial
        self._started = self._shown = time.monotonic()
        self._pause = 0.0  # least seconds until the next display, since displays of large studies take long
        self._stall = StallDetector(longest_epoch(history), self._started)
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def __enter__(self) -> "Progress":
        """Start the live panel."""
        if self._live:
            self._live.start()
            self._live.update(self._panel(), refresh=True)
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop the live panel."""
        self.stop()

    def stop(self) -> None:
        """Restore the terminal."""
        if self._live:
            self._live.stop()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Begin to time the first epoch of a trial."""
        self._epoch_began[trial.config["number"]] = now = time.monotonic()
        self._stall.progress(now)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Begin to time the next epoch of a trial."""
        self._epoch_began[trial.config["number"]] = now = time.monotonic()
        self._stall.progress(now, result.get("train_seconds"))

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Show the progress if the last display is old, and a notice if the study has come to a standstill.

        Raises:
            Interrupted: a signal has asked the study to end.
        """
        interruption.check()
        began = time.monotonic()
        if began - self._shown < max(self._seconds_between_lines, self._pause):
            return
        if notice := self._stall.notice(began):
            self._console.print(notice, soft_wrap=True, highlight=False)
        self._commit()
        if self._live:
            self._live.update(self._panel(), refresh=True)
        else:
            self._console.print(self._line(), soft_wrap=True, highlight=False)
        self._shown = began
        self._pause = MIN_INTERVAL_FACTOR * (time.monotonic() - began)

    def _times(self) -> str:
        elapsed = time.monotonic() - self._started
        seconds = self._seconds_before + elapsed
        expected = seconds_left(self._history, self._config, seconds)
        rest = "" if expected is None else f", about {duration(expected)} to go"
        return f"{duration(seconds)} elapsed{rest}"

    def _seconds_in_epochs(self) -> dict[int, float]:
        """Return the seconds since the last epoch, or the start, of each trial that this session has begun."""
        now = time.monotonic()
        unfinished = {trial.number for trial in self._history.unfinished}
        return {number: now - began for number, began in self._epoch_began.items() if number in unfinished}

    def _training(self) -> str:
        return training_line(self._history, self._seconds_in_epochs())

    def _line(self) -> str:
        front = front_so_far(self._history)
        points = [f"{trial.last['val_accuracy']:.3f}@{trial.last['bits_per_weight']:.2f}" for trial in front]
        tail = f"; front (accuracy@bits): {', '.join(dict.fromkeys(points))}" if points else ""
        training = self._training()
        parts = [states_line(self._history, self._trials), self._times(), *([training] if training else [])]
        return f"{'; '.join(parts)}{tail}"

    def _panel(self) -> RenderableType:
        bar = Table.grid()  # alone, the bar would not end its line
        bar.add_row(ProgressBar(total=self._trials, completed=self._history.num_ended, width=60))
        parts: list[RenderableType] = [bar, Text(states_line(self._history, self._trials)), Text(self._times())]
        fields = self._config.searched_fields
        if self._console.width < 80 + COLUMN_WIDTH * len(fields):
            fields = []  # `qar status` shows them
        if seconds := self._seconds_in_epochs():
            parts += [Text(), running_table(self._history, seconds, fields)]
        if front := front_so_far(self._history):
            parts += [Text("\nfront so far", style="bold"), *map(Text, front_in_text(self._history))]
            parts += [Text(hypervolume_line(self._history)), Text()]
            parts += [front_table(front, fields)] if len(front) <= MOST_FRONT_ROWS else []
        return Group(*parts)


class SilentReporter(ProgressReporter):
    """Reporter that replaces Ray's own table by nothing."""

    def should_report(self, trials: list[Any], done: bool = False) -> bool:
        """Return False: there is nothing to report."""
        return False

    def report(self, trials: list[Any], done: bool, *sys_info: dict[str, Any]) -> None:
        """Report nothing."""
