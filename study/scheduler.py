"""Early stopping: which trials are given up before their full budget."""

from typing import Any

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from study.config import StudyConfig


class AnchoredASHA(ASHAScheduler):
    """Asynchronous successive halving on `val_accuracy`, from which anchors are exempt and which they don't crowd.

    Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning", arXiv 1810.05934.
    """

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        if not trial.config["anchor"]:
            super().on_trial_add(tune_controller, trial)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        if not trial.config["anchor"]:
            super().on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        if not trial.config["anchor"]:
            super().on_trial_remove(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if trial.config["anchor"]:
            return TrialScheduler.CONTINUE
        return super().on_trial_result(tune_controller, trial, result)


def make_scheduler(config: StudyConfig) -> TrialScheduler:
    """The scheduler that a study asks for; its rungs are at epochs, and equal epochs are equal phases."""
    stopping = config.early_stopping
    # ASHA has no rung at the last epoch, so a grace period of all epochs means that nothing is ever stopped.
    if stopping.scheduler == "none" or stopping.grace_period == config.epochs:
        return FIFOScheduler()
    return AnchoredASHA(
        time_attr="epoch",
        metric="val_accuracy",
        mode="max",
        max_t=config.epochs,
        grace_period=stopping.grace_period,
        reduction_factor=stopping.reduction_factor,
    )
