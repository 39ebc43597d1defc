"""Early stopping of trials before their full budget: Ray's interface to `study.search.rungs`."""

from collections.abc import Callable
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from study.config import StudyConfig
from study.ledger.history import History
from study.ledger.ledger import DerivedFromLedger
from study.search.gate import Gate
from study.search.rungs import Rungs


class RungScheduler(DerivedFromLedger, FIFOScheduler):
    """Ray scheduler that starts trials in the order of their creation and stops those that a rung rejects."""

    def __init__(self, rungs: Rungs, gate: Gate | None = None, cuts: Callable[[int], bool] | None = None) -> None:
        """Create the scheduler.

        Args:
            rungs: rungs with the reports so far.
            gate: holds trials that continue until their facts are durable; None to let them continue at once.
            cuts: function that returns whether a trial, by its number, ends after its present epoch, because of a rule
                or a user; None if none does.
        """
        super().__init__()
        self._rungs = rungs
        self._gate = gate
        self._cuts = cuts

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Return the newest pending trial, or None.

        Older pending trials already have an actor that is starting, perhaps on a node that has just joined. If Ray
        gave them an actor that became free, it would cancel that start, and with short trials the new node would never
        train one.
        """
        return next((trial for trial in reversed(tune_controller.get_trials()) if trial.status == Trial.PENDING), None)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return whether Ray continues, stops or holds a trial after a result."""
        # A trial that fails without an exception reports only the reason.
        if "val_accuracy" in result:
            number = trial.config["number"]
            continues = self._rungs.report(number, trial.config["anchor"], result)
            if not continues or (self._cuts is not None and self._cuts(number)):
                return str(TrialScheduler.STOP)
            if self._gate is not None:
                return self._gate.hold(tune_controller, trial)
        return str(TrialScheduler.CONTINUE)


def make_scheduler(config: StudyConfig, history: History) -> TrialScheduler:
    """Return the scheduler of a study, its rungs restored from the history."""
    return RungScheduler(Rungs.replay(config, history))
