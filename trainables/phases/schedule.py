"""Schedules of the learning rates and of λ over a phase."""

import math
from dataclasses import dataclass

from trainables.config import TrialConfig


def learning_rate_share(schedule: str, done: float) -> float:
    """Return the learning rate as a share of its highest value.

    Args:
        schedule: `cosine` falls from 1 to 0; `step` is 1 in the first half, 0.1 in the third quarter, then 0.01.
        done: share of the phase that is over, in [0, 1].
    """
    if schedule == "step":
        return 1.0 if done < 0.5 else 0.1 if done < 0.75 else 0.01
    return (1 + math.cos(math.pi * done)) / 2


def warmup_share(epochs_done: float, warmup_epochs: float) -> float:
    """Return a factor that rises linearly from 0 to 1 over the first `warmup_epochs` epochs, and stays 1.

    Args:
        epochs_done: epochs of the phase that are over.
        warmup_epochs: length of the rise; 0 for none.
    """
    return min(1.0, epochs_done / warmup_epochs) if warmup_epochs else 1.0


@dataclass(frozen=True, kw_only=True)
class PhaseSchedule:
    """Learning rates over the steps of one phase.

    Attributes:
        schedule: as for `learning_rate_share`.
        epochs: length of the phase.
        batches_per_epoch: steps of an epoch.
        warmup_epochs: over which the learning rates rise from 0.
    """

    schedule: str
    epochs: int
    batches_per_epoch: int
    warmup_epochs: float

    def share(self, epochs_done: float) -> float:
        """Return the learning rates as a share of their highest values, when `epochs_done` are over before a step."""
        # Counts the step about to be taken, so that the learning rate of the first step of a warm-up is not 0.
        warmed = warmup_share(epochs_done + 1 / self.batches_per_epoch, self.warmup_epochs)
        return learning_rate_share(self.schedule, epochs_done / self.epochs) * warmed


def pull_share(config: TrialConfig, epochs_done: float) -> float:
    """Return the share of the strongest pull at a point of the regularize phase: its schedule times λ's warm-up."""
    share = learning_rate_share(config.recipe.schedule, epochs_done / config.regularize_epochs)
    return share * warmup_share(epochs_done, config.recipe.lam_warmup_epochs)


def sum_of_pull_shares(config: TrialConfig, batches_per_epoch: int) -> float:
    """Return the sum of `pull_share` over all steps of the phase; 1 if it is 0, so that one can divide by it."""
    steps = config.regularize_epochs * batches_per_epoch
    return sum(pull_share(config, step / batches_per_epoch) for step in range(steps)) or 1.0
