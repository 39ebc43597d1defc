"""The interface of a tracker, and what every tracker shows of a trial and of a study."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from study.config import StudyConfig
from study.ledger.front import front_so_far
from study.ledger.history import History, Trial

HIDDEN_SETTINGS = ("data_dir", "evaluate_test")
"""Settings of a trial that don't belong to what the configuration is."""


class Tracker(Protocol):
    """A place that shows the trials of a study.

    Each method brings the place up to date with its argument; a repeated call sends nothing. Methods may raise any
    exception of the tracker's own library; the follower then tries again later.
    """

    def update_trial(self, trial: Trial) -> None:
        """Send the epochs of a trial that the place lacks, and its state if it has ended."""

    def update_study(self, config: StudyConfig, history: History) -> None:
        """Send the front, and the state of the study."""

    def close(self) -> None:
        """Write out what the tracker's library still holds."""


def settings_of(trial: Trial) -> dict[str, Any]:
    """Return the configuration of a trial in one level, with dotted names: `recipe.learning_rate`."""
    return {name: value for name, value in _flat(trial.config) if name not in HIDDEN_SETTINGS}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def numbers_of(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the numeric metrics of an epoch, except the epoch itself."""
    return {
        name: float(value)
        for name, value in metrics.items()
        if name != "epoch" and isinstance(value, int | float) and not isinstance(value, bool)
    }


def epochs_after(trial: Trial, last: int) -> list[dict[str, Any]]:
    """Return the metrics of the epochs of a trial after epoch `last`, in order."""
    return [metrics for epoch, metrics in sorted(trial.epochs.items()) if epoch > last]


def front_rows(history: History) -> list[dict[str, Any]]:
    """Return the front as rows of a table, by increasing bits."""
    return [
        {
            "trial": trial.number,
            "trial_id": trial.trial_id,
            "family": trial.config["family"],
            "num_levels": trial.config["num_levels"],
            "lam": trial.config["lam"],
            "placement": trial.config["placement"],
            "val_accuracy": trial.last["val_accuracy"],
            "bits_per_weight": trial.last["bits_per_weight"],
        }
        for trial in front_so_far(history)
    ]
