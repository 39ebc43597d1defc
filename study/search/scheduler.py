"""Early stopping: which trials are given up before their full budget. Ray's side of `study.search.rungs`."""

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from study.config import StudyConfig
from study.ledger.history import History
from study.ledger.ledger import DerivedFromLedger
from study.search.rungs import Rungs


class RungScheduler(DerivedFromLedger, FIFOScheduler):
    """Begins trials as they are asked for, and stops those that their rungs give up."""

    def __init__(self, rungs: Rungs) -> None:
        super().__init__()
        self._rungs = rungs

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The trial asked for last of those that wait, or None.

        The others have an actor that starts, perhaps on a node that has just joined. Given one that has become free,
        Ray calls that start off; where trials are shorter than it, the node would never get any.
        """
        return next((trial for trial in reversed(tune_controller.get_trials()) if trial.status == Trial.PENDING), None)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if "val_accuracy" not in result:  # a trial that fails without an exception reports only why
            return str(TrialScheduler.CONTINUE)
        goes_on = self._rungs.arrive(trial.config["number"], trial.config["anchor"], result)
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)


def make_scheduler(config: StudyConfig, history: History) -> TrialScheduler:
    """The scheduler that a study asks for, its rungs as the study's history has filled them."""
    return RungScheduler(Rungs.replay(config, history))
