"""Costs of a study in seconds of training: by trial, phase and family, lost to crashes, and saved by early stopping."""

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import mean

from study.ledger.history import History, Trial
from trainables.result import FINETUNE, REGULARIZE, TrialState


@dataclass
class Costs:
    """Seconds of training, evaluation included, summed over trials that ran at the same time.

    Attributes:
        baseline: seconds spent on the float baselines.
        by_trial: seconds by trial_id, over all epochs that count.
        by_phase: seconds by phase.
        by_family: seconds by family.
        lost: seconds spent on epochs that were trained again after a crash.
        saved: seconds that the stopped trials would have taken for the rest of their budget. An epoch counts with the
            mean of its phase in trials of the same family, or in all trials if the family has none.
    """

    baseline: float = 0.0
    by_trial: dict[str, float] = field(default_factory=dict)
    by_phase: dict[str, float] = field(default_factory=lambda: {REGULARIZE: 0.0, FINETUNE: 0.0})
    by_family: dict[str, float] = field(default_factory=dict)
    lost: float = 0.0
    saved: float = 0.0

    @property
    def trials(self) -> float:
        """Seconds of all trials."""
        return sum(self.by_trial.values())


def costs_of(history: History) -> Costs:
    """Return the costs of a study so far.

    Args:
        history: history of the study, which may still run.
    """
    costs = Costs(baseline=sum(sum(epochs.values()) for epochs in history.baseline_seconds.values()))
    paces: dict[tuple[str | None, str], list[float]] = defaultdict(list)
    for trial in history.trials.values():
        family = trial.config["family"]
        costs.lost += trial.seconds_lost
        costs.by_trial[trial.trial_id] = 0.0
        for metrics in trial.epochs.values():
            seconds, phase = metrics["train_seconds"], metrics["phase"]
            costs.by_trial[trial.trial_id] += seconds
            costs.by_phase[phase] += seconds
            costs.by_family[family] = costs.by_family.get(family, 0.0) + seconds
            paces[family, phase].append(seconds)
            paces[None, phase].append(seconds)
    pace = {key: mean(seconds) for key, seconds in paces.items()}

    def remaining_seconds(trial: Trial) -> float:
        done = max(trial.epochs, default=0)
        left = {REGULARIZE: max(0, trial.regularize_epochs - done)}
        left[FINETUNE] = trial.budget - done - left[REGULARIZE]
        family = trial.config["family"]
        return sum(number * pace.get((family, phase), pace.get((None, phase), 0.0)) for phase, number in left.items())

    costs.saved = sum(remaining_seconds(trial) for trial in history.trials.values() if trial.state == TrialState.PRUNED)
    return costs
