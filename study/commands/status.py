"""Status of a study: progress, costs and front."""

from dataclasses import asdict, dataclass
from typing import Any

from study.config import StudyConfig
from study.durations import duration
from study.ledger.costs import costs_of
from study.ledger.front import front_so_far
from study.ledger.history import History, Trial
from study.run.progress.lines import cost_lines, failure_lines, states_line
from study.run.progress.remaining import seconds_left
from study.search.stopping import StopWatch
from study.storage.folder import StudyFolder
from study.storage.liveliness import Liveliness, liveliness, rule_met
from study.storage.requests import ENQUEUE, pending
from trainables.result import TrialState


@dataclass(frozen=True, kw_only=True)
class StudyStatus:
    """Configuration, history and state of a study at one moment.

    Attributes:
        requested: number of requests for a trial that the driver has not taken.
    """

    config: StudyConfig
    history: History
    state: Liveliness
    requested: int = 0

    @property
    def enqueued(self) -> int:
        """Number of trials that users have asked for, and that were not created yet."""
        return self.requested + len(self.history.enqueued)

    @property
    def front(self) -> list[Trial]:
        """Trials on the front so far."""
        return front_so_far(self.history)

    @property
    def is_resumable(self) -> bool:
        """Whether `qar resume` would train more."""
        return self.state not in (Liveliness.RUNNING, Liveliness.FINISHED)

    @property
    def _seconds_left(self) -> float | None:
        return seconds_left(self.history, self.config) if self.state is not Liveliness.FINISHED else 0.0

    def __str__(self) -> str:
        """Return the lines that `qar status` shows."""
        return "\n".join(self.lines())

    def as_dict(self) -> dict[str, Any]:
        """Return the status for programs, as `qar status --json` prints it."""
        costs = costs_of(self.history)
        counts: dict[str, int] = {state: self.history.count(state) for state in TrialState}
        counts["to_resume"] = 0
        if self.state is not Liveliness.RUNNING:
            counts[TrialState.RUNNING], counts["to_resume"] = 0, counts[TrialState.RUNNING]
        points = [
            {"trial_id": trial.trial_id, **{name: trial.last[name] for name in ("val_accuracy", "bits_per_weight")}}
            for trial in self.front
        ]
        summary = {"name": self.config.name, "state": self.state, "trials": self.config.trials, **counts}
        summary |= {"front": points, "wall_seconds": round(self.history.seconds, 1), "train_seconds": asdict(costs)}
        left = self._seconds_left
        summary["seconds_left"] = None if left is None else round(left, 1)
        summary["stopped"] = rule_met(self.history, self.config)
        summary["enqueued"] = self.enqueued
        summary["space_version"] = self.config.version
        return summary

    def lines(self, most: int | None = None) -> list[str]:
        """Return the progress, the unfinished and failed trials, and the costs, a line each.

        Args:
            most: most unfinished trials that get a line of their own; None for all.
        """
        config, history = self.config, self.history
        counted = states_line(history, config.trials, is_driven=self.state is Liveliness.RUNNING)
        left = self._seconds_left
        rest = f", about {duration(left)} to go" if left else ""
        costs = costs_of(history)
        unfinished = history.unfinished
        hidden = 0 if most is None else len(unfinished) - most
        return [
            f"{config.name}: {self.state}; {counted}; {duration(history.seconds)} so far{rest}",
            *(
                f"trial {trial.number}: {len(trial.epochs)} of {config.epochs} epochs trained"
                for trial in unfinished[:most]
            ),
            *([f"… and {hidden:,} more trials that have not ended"] if hidden > 0 else []),
            *self._request_lines(),
            *failure_lines(history),
            *self._stop_lines(),
            *cost_lines(costs),
        ]

    def _request_lines(self) -> list[str]:
        """Return lines about changes of the space, and about the trials that users have asked for or ended."""
        lines = []
        for version, change in sorted(self.history.version_changes.items()):
            if version <= self.config.version:
                by = f" by {change.user}" if change.user else ""
                drawn = sum(trial.space_version == version for trial in self.history.trials.values())
                lines.append(f"space version {version}{by}: {', '.join(change.changes)}; {drawn} trials")
        made = [str(trial.number) for trial in self.history.trials.values() if trial.request is not None]
        if made or self.enqueued:
            parts = [f"trial {', '.join(made)}"] if made else []
            parts += [f"{self.enqueued} waiting"] if self.enqueued else []
            lines.append(f"enqueued: {'; '.join(parts)}")
        stopped: dict[str, list[str]] = {}
        for trial in self.history.trials.values():
            if trial.stopped_by is not None:
                stopped.setdefault(trial.stopped_by, []).append(str(trial.number))
        return lines + [f"stopped by {user}: trial {', '.join(numbers)}" for user, numbers in stopped.items()]

    def _stop_lines(self) -> list[str]:
        """Return a line about the rules of the section `stop`: which has ended the study, or how near each is."""
        if self.config.stop is None:
            return []
        if reason := rule_met(self.history, self.config):
            return [f"ended by its rule: {reason}"]
        return [f"ends by: {'; '.join(gauge.text for gauge in StopWatch(self.config, self.history).gauges())}"]


def status_of(folder: StudyFolder) -> StudyStatus:
    """Return the status of a study.

    Raises:
        ValueError: the folder holds no study.
        DamagedFileError: the files of the study can't be read.
    """
    config = folder.read_config()
    history = folder.read_history()
    requests = [
        request for request in pending(folder)[0] if request.kind == ENQUEUE and request.name not in history.requests
    ]
    state = liveliness(folder, history, config)
    return StudyStatus(config=config, history=history, state=state, requested=len(requests))
