"""Early stopping: which trials are given up before their full budget. Ray's side of `study.rungs`."""

from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from study.config import StudyConfig
from study.ledger import DerivedFromLedger, History
from study.rungs import Rungs


class RungScheduler(DerivedFromLedger, FIFOScheduler):
    """Begins trials in the order in which they were asked for, and stops those that their rungs give up."""

    def __init__(self, rungs: Rungs) -> None:
        super().__init__()
        self._rungs = rungs

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if "val_accuracy" not in result:  # a trial that fails without an exception reports only why
            return str(TrialScheduler.CONTINUE)
        goes_on = self._rungs.arrive(trial.config["number"], trial.config["anchor"], result)
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)


def make_scheduler(config: StudyConfig, history: History) -> TrialScheduler:
    """The scheduler that a study asks for, its rungs as the study's history has filled them."""
    return RungScheduler(Rungs.replay(config, history))
