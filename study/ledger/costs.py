"""Costs of a study in seconds of training: by trial, phase and family, lost to crashes, and saved by early stopping."""

from dataclasses import dataclass, field

import numpy as np

from study.ledger.history import History, Trial
from trainables.result import FINETUNE, REGULARIZE, TrialState


@dataclass
class Costs:
    """Seconds of training, evaluation included, summed over trials that ran at the same time.

    Attributes:
        baseline: seconds spent on the float networks.
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
    trials = history.trials.values()
    costs.lost = sum(trial.seconds_lost for trial in trials)
    epochs = history.epochs
    counted = epochs.counts
    numbers, seconds = epochs.trials[counted], epochs.numbers_of("train_seconds")[counted]
    totals = np.bincount(numbers, seconds, minlength=max(history.trials, default=-1) + 1)
    costs.by_trial = {trial.trial_id: float(totals[trial.number]) for trial in trials}
    families = list(dict.fromkeys(trial.config["family"] for trial in trials))
    places = np.zeros(len(totals), np.int64)
    for trial in trials:
        places[trial.number] = families.index(trial.config["family"])
    paces: dict[tuple[str | None, str], float] = {}
    for phase in costs.by_phase:
        in_phase = epochs.is_value("phase", phase)[counted]
        spent = seconds[in_phase]
        costs.by_phase[phase] = float(spent.sum())
        if len(spent):
            paces[None, phase] = float(spent.mean())
        sums = np.bincount(places[numbers[in_phase]], spent, minlength=len(families))
        lengths = np.bincount(places[numbers[in_phase]], minlength=len(families))
        for family, total, length in zip(families, sums.tolist(), lengths.tolist(), strict=True):
            if length:
                costs.by_family[family] = costs.by_family.get(family, 0.0) + total
                paces[family, phase] = total / length

    def remaining_seconds(trial: Trial) -> float:
        done = max(trial.epochs, default=0)
        left = {REGULARIZE: max(0, trial.regularize_epochs - done)}
        left[FINETUNE] = trial.budget - done - left[REGULARIZE]
        family = trial.config["family"]
        return sum(number * paces.get((family, phase), paces.get((None, phase), 0.0)) for phase, number in left.items())

    costs.saved = sum(remaining_seconds(trial) for trial in trials if trial.state == TrialState.PRUNED)
    return costs
