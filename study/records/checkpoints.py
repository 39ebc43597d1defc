"""Rule by which a trial writes a checkpoint: where it may have to continue, or after every epoch."""

from collections.abc import Collection
from dataclasses import dataclass

from study.config import StudyConfig
from study.ledger.history import Trial

MOST_SECONDS_AGAIN = 30.0
"""Training that a trial repeats at most when it continues, in seconds; with longer epochs, one epoch."""


@dataclass(frozen=True, kw_only=True)
class CheckpointRule:
    """Rule of a study.

    Attributes:
        every_epoch: whether each epoch has a checkpoint.
        rungs: epochs after which trials are compared.
    """

    every_epoch: bool = False
    rungs: Collection[int] = ()

    @classmethod
    def of(cls, config: StudyConfig, rungs: Collection[int]) -> "CheckpointRule":
        """Return the rule of a study's configuration."""
        return cls(every_epoch=config.resources.checkpoints == "every_epoch", rungs=frozenset(rungs))

    def is_due(self, trial: Trial, *, ends: bool) -> bool:
        """Return whether a trial writes a checkpoint after its latest epoch.

        A trial needs one

        - where it ends, to be exported;
        - at the end of a phase and at a rung, where it may wait or be taken up by other commands;
        - after each epoch once its worker was lost, since the number of its retries is limited;
        - where one more epoch like the latest would leave more than `MOST_SECONDS_AGAIN` of training without one. So
          epochs that take at least half of that have one each;
        - where it trains an epoch again of which there was one: that one was damaged.

        Args:
            trial: the trial, with the latest epoch recorded.
            ends: whether it ends after this epoch.
        """
        epoch = trial.latest_epoch
        if self.every_epoch or ends or trial.losses or epoch in self.rungs:
            return True
        if epoch in (trial.regularize_epochs, trial.budget):
            return True
        saved = trial.checkpoint.epoch if trial.checkpoint is not None else 0
        if epoch <= saved:
            return True
        seconds = [trial.epochs[past]["train_seconds"] for past in range(saved + 1, epoch + 1)]
        return sum(seconds) + seconds[-1] > MOST_SECONDS_AGAIN
