"""A trial that the search asks a training loop of the user's own to train."""

from dataclasses import dataclass

from trainables.config import TrialConfig


@dataclass(frozen=True, kw_only=True)
class AskedTrial:
    """A trial to train.

    Attributes:
        number: number of the trial.
        trial_id: name of the trial.
        config: its configuration; a loop may use any part of it.
        anchor: whether the trial is never stopped early.
        epoch: epochs that were told before, in a session that has ended; 0 for a new trial.
    """

    number: int
    trial_id: str
    config: TrialConfig
    anchor: bool
    epoch: int

    @property
    def epochs(self) -> int:
        """Full budget of the trial in epochs."""
        return self.config.epochs
