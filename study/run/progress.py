"""Progress of a study in the terminal: trials by state, the front so far, elapsed and expected time."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from ray.tune import Callback, ProgressReporter
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from study.durations import duration
from study.interruption import interruption
from study.ledger.costs import Costs
from study.ledger.front import front_so_far
from study.ledger.history import History, Trial
from study.ledger.ledger import DerivedFromLedger
from study.run.panel import front_in_text, hypervolume_line, running_table
from study.run.stall import StallDetector, longest_epoch
from study.terminal import one_line
from trainables.result import TrialState

MOST_TRIALS_SHOWN = 4
"""Most running trials whose epochs a line of progress shows."""

MOST_FRONT_ROWS = 12
"""Most points of a front that the live panel lists; the drawing shows any number."""

MOST_FAILURES_SHOWN = 10
"""Most trials that a line about a failure names."""


def front_table(trials: list[Trial]) -> Table:
    """Return the front as a table: accuracy, bits, and the configuration of each point."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for header in ("bits/weight", "val accuracy", "family", "K", "λ", "placement", "trial"):
        table.add_column(header, justify="left" if header in ("family", "placement") else "right")
    for trial in trials:
        config = trial.config
        table.add_row(
            f"{trial.last['bits_per_weight']:.2f}",
            f"{trial.last['val_accuracy']:.4f}",
            config["family"],
            str(config["num_levels"]),
            f"{config['lam']:.2g}" if config["lam"] else "–",
            config["placement"],
            str(trial.number),
        )
    return table


def cost_lines(costs: Costs) -> list[str]:
    """Return lines about the training time of a study, the time lost to crashes and that saved by early stopping."""

    def parts(seconds: dict[str, float]) -> str:
        return ", ".join(f"{name} {duration(value)}" for name, value in seconds.items() if value)

    lines = [f"float baselines: training {duration(costs.baseline)}"] if costs.baseline else []
    if costs.trials:
        lines += [
            f"training {duration(costs.trials)}, summed over trials: {parts(costs.by_phase)}",
            f"by family: {parts(costs.by_family)}",
        ]
    if costs.lost >= 1:
        lines.append(f"lost to crashes: {duration(costs.lost)} of epochs that were trained twice")
    if costs.saved >= 1:
        lines.append(f"saved by early stopping: about {duration(costs.saved)} against full budgets")
    return lines


def failure_lines(history: History) -> list[str]:
    """Return a line for each reason why trials failed, with the numbers of the trials."""
    numbers: dict[str, list[int]] = {}
    for trial in history.trials.values():
        if trial.failure:
            numbers.setdefault(one_line(trial.failure), []).append(trial.number)
    lines = []
    for reason, failed in numbers.items():
        shown = ", ".join(map(str, failed[:MOST_FAILURES_SHOWN]))
        more = f" and {len(failed) - MOST_FAILURES_SHOWN} more" if len(failed) > MOST_FAILURES_SHOWN else ""
        lines.append(f"trial{'s'[: len(failed) > 1]} {shown}{more} failed: {reason}")
    return lines


def expected_seconds(history: History, trials: int, ended_before: int, elapsed: float) -> float | None:
    """Return the seconds that the rest takes at the pace of this session; None before one of its trials has ended."""
    ended_now = history.num_ended - ended_before
    return elapsed / ended_now * (trials - history.num_ended) if ended_now else None


def seconds_left(history: History, trials: int) -> float | None:
    """Return the seconds that the rest takes at the pace of the latest session in which a trial has ended.

    None where no trial has ended yet.
    """
    if history.num_ended >= trials:
        return 0.0
    ended: dict[int, int] = {}
    for trial in history.trials.values():
        if trial.state != TrialState.RUNNING and trial.sessions:
            number = trial.sessions[max(trial.sessions)]
            ended[number] = ended.get(number, 0) + 1
    latest = max(ended, default=0)
    if not latest:
        return None
    return history.sessions[latest - 1].seconds / ended[latest] * (trials - history.num_ended)


def states_line(history: History, trials: int, *, is_driven: bool = True) -> str:
    """Return `12 of 64 trials: 9 COMPLETE, 2 PRUNED, 1 RUNNING`, or `1 to resume` where no driver runs the study."""
    names = {state: state for state in TrialState} | ({} if is_driven else {TrialState.RUNNING: "to resume"})
    counts = ", ".join(f"{history.count(state)} {names[state]}" for state in TrialState if history.count(state))
    return f"{history.num_ended} of {trials} trials" + (f": {counts}" if counts else "")


def training_line(history: History, seconds: Mapping[int, float]) -> str:
    """Return which epoch each running trial is in, and for how long; empty if none runs.

    Args:
        history: history of the study.
        seconds: seconds since the last epoch of a trial, or its start, by the trial's number; other trials are left
            out.
    """
    shown = [trial for trial in history.unfinished if trial.number in seconds]
    parts = []
    for trial in shown[:MOST_TRIALS_SHOWN]:
        epoch = min(trial.latest_epoch + 1, trial.budget)
        parts.append(f"trial {trial.number} epoch {epoch} of {trial.budget} for {duration(seconds[trial.number])}")
    more = f", {len(shown) - MOST_TRIALS_SHOWN} more" if len(shown) > MOST_TRIALS_SHOWN else ""
    return f"training: {', '.join(parts)}{more}" if parts else ""


class Progress(DerivedFromLedger, Callback):
    """Ray's callback that shows the progress of a study: a live panel in a terminal, plain lines elsewhere."""

    def __init__(
        self,
        history: History,
        trials: int,
        console: Console,
        seconds_between_lines: float = 10.0,
        commit: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare the display.

        Args:
            history: history of the study, which the recorder keeps up to date.
            trials: number of trials of the study.
            console: where to show the progress.
            seconds_between_lines: time between two lines where the console is no terminal.
            commit: function that makes the facts of the history durable; called before they are shown.
        """
        self._history = history
        self._trials = trials
        self._commit = commit
        self._console = console
        self._seconds_between_lines = seconds_between_lines if not console.is_terminal else 0.25
        self._ended_before = history.num_ended
        self._seconds_before = history.seconds
        self._epoch_began: dict[int, float] = {}  # by number of the trial
        self._started = self._shown = time.monotonic()
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
        if time.monotonic() - self._shown < self._seconds_between_lines:
            return
        if notice := self._stall.notice(time.monotonic()):
            self._console.print(notice, soft_wrap=True, highlight=False)
        self._shown = time.monotonic()
        self._commit()
        if self._live:
            self._live.update(self._panel(), refresh=True)
        else:
            self._console.print(self._line(), soft_wrap=True, highlight=False)

    def _times(self) -> str:
        elapsed = time.monotonic() - self._started
        expected = expected_seconds(self._history, self._trials, self._ended_before, elapsed)
        rest = "" if expected is None else f", about {duration(expected)} to go"
        return f"{duration(self._seconds_before + elapsed)} elapsed{rest}"

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
        if seconds := self._seconds_in_epochs():
            parts += [Text(), running_table(self._history, seconds)]
        if front := front_so_far(self._history):
            parts += [Text("\nfront so far", style="bold"), *map(Text, front_in_text(self._history))]
            parts += [Text(hypervolume_line(self._history)), Text()]
            parts += [front_table(front)] if len(front) <= MOST_FRONT_ROWS else []
        return Group(*parts)


class SilentReporter(ProgressReporter):
    """Reporter that replaces Ray's own table by nothing."""

    def should_report(self, trials: list[Any], done: bool = False) -> bool:
        """Return False: there is nothing to report."""
        return False

    def report(self, trials: list[Any], done: bool, *sys_info: dict[str, Any]) -> None:
        """Report nothing."""
