"""Estimate of the time that a study needs to its end, from the epochs that are left and the pace of the latest ones."""

import math
from itertools import pairwise

import numpy as np

from study.config import StudyConfig
from study.ledger.epochs import EpochLog
from study.ledger.history import History, Trial
from study.search.first_trials import first_trials
from study.search.rungs import Rungs
from study.search.space import ANCHOR
from study.search.versions import VersionedProposals
from trainables.result import TrialState

FEWEST_EPOCHS = 3
"""Fewest epochs that give a pace."""

SHARE_OF_EPOCHS = 3
"""The pace is that of the latest of so many equal parts of all epochs, since the load of machines changes."""

PRIOR_TRIALS = 3
"""Number of trials that the expectation of early stopping weighs as much as, against what trials have needed."""

LEAST_EPOCHS = 0.5
"""Epochs that a running trial needs at least."""


def seconds_left(history: History, config: StudyConfig, now: float | None = None) -> float | None:
    """Return the seconds to the end of a study that runs, or would run; None before a few epochs have ended.

    Anchors need all epochs. Of the others, the mean of those that have ended is expected, and before that what early
    stopping leaves of a budget. A running trial is expected to go as far as those that came as far as it. At the end
    fewer trials run side by side, so the longest of them counts. What `stop` rules will do is unknown.

    Args:
        history: history of the study.
        config: configuration of the study.
        now: seconds of the study so far; None for those up to the latest fact.
    """
    if history.num_ended >= config.trials:
        return 0.0
    log = history.epochs
    if len(log) < FEWEST_EPOCHS:
        return None
    count = max(min(2 * FEWEST_EPOCHS, len(log)), len(log) // SHARE_OF_EPOCHS)
    trained = log.latest("train_seconds", count)
    wall = _wall_seconds(log, trained) + max(0.0, (now or 0.0) - history.seconds)
    pace = wall / count
    ended = np.bincount([len(trial.epochs) for trial in _compared(history)], minlength=1)
    running = [_epochs_left(trial, ended) for trial in history.unfinished]
    side_by_side = max(1.0, trained.sum() / wall) if wall else 1.0
    return max((sum(running) + _epochs_to_start(history, config)) * pace, max(running, default=0) * pace * side_by_side)


def _wall_seconds(log: EpochLog, trained: np.ndarray) -> float:
    """Return the time that the latest epochs took side by side, without the starts of sessions.

    Args:
        log: epochs of the study.
        trained: shape (n,): seconds of training of the latest n epochs.
    """
    count = len(trained)
    seconds, sessions = (column.latest(count + 1) for column in (log.seconds, log.sessions))
    between = np.where(np.diff(sessions) == 0, np.diff(seconds), trained[1 - len(seconds) :])
    return float(between.sum() + trained[: count + 1 - len(seconds)].sum())  # the first epoch of all has none before it


def _epochs_left(trial: Trial, ended: np.ndarray) -> float:
    """Return the epochs that a running trial is expected to need.

    Args:
        trial: the trial.
        ended: shape (n,): number of the trials that early stopping compared and that ended after each number of epochs.
    """
    done = trial.latest_epoch
    if trial.anchor:
        return trial.budget - done
    epochs, counts = (column[max(done, 1) :] for column in (np.arange(len(ended)), ended))
    return max(float(epochs @ counts + trial.budget) / float(counts.sum() + 1) - done, LEAST_EPOCHS)


def _epochs_to_start(history: History, config: StudyConfig) -> float:
    """Return the epochs that the trials that are not created yet are expected to need."""
    left = config.trials - len(history.trials)
    versions = VersionedProposals(config, history)
    first_left = first_trials(config, versions.proposed)[versions.sampled :]
    anchors_left = min(left, sum(ANCHOR in attributes for _, attributes in first_left))
    ended = _compared(history)
    expected = PRIOR_TRIALS * expected_epochs(config) + sum(len(trial.epochs) for trial in ended)
    return anchors_left * config.epochs + (left - anchors_left) * expected / (PRIOR_TRIALS + len(ended))


def _compared(history: History) -> list[Trial]:
    """Return the trials that early stopping compared and that have ended."""
    return [t for t in history.trials.values() if not t.anchor and t.state != TrialState.RUNNING]


def expected_epochs(config: StudyConfig) -> float:
    """Return the mean epochs of a trial where each rung lets its share of the trials continue."""
    rungs = [0, *Rungs(config).epochs, config.epochs]
    factor = config.early_stopping.reduction_factor
    return math.fsum((end - begin) / factor**place for place, (begin, end) in enumerate(pairwise(rungs)))
