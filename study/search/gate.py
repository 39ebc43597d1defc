"""The gate before a trial's next epoch: Ray trains it once the facts that the driver decided by are durable."""

import time
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from study.ledger.ledger import DerivedFromLedger, Ledger

PAUSE = 0.001
"""Seconds between two looks at the ledger while every trial waits."""

MOST_WAITING = 0.2
"""Largest share of its time that the driver waits for commits; beyond, facts of many trials share a commit."""


class Gate(DerivedFromLedger):
    """Trials of Ray that continue as soon as the ledger has made the facts about them durable.

    Meanwhile the driver handles the results of other trials, whose facts share the next commit. The scheduler holds a
    trial by telling Ray to do nothing; after each event that Ray handles, `release` lets those go on that may.
    """

    def __init__(self, ledger: Ledger) -> None:
        """Create a gate that holds no trial."""
        self._ledger = ledger
        self._held: dict[str, tuple[Any, Trial]] = {}  # by Ray's name of the trial, with Ray's controller
        self._needs: dict[int, int] = {}  # by number of the trial: the last fact that must be durable
        self._may_wait_from = 0.0

    def hold(self, controller: Any, trial: Trial) -> str:
        """Hold a trial whose result is being handled, and return the action for Ray meanwhile."""
        self._held[trial.trial_id] = controller, trial
        return str(TrialScheduler.NOOP)

    def need(self, number: int, fact: int) -> None:
        """Require that a fact about a trial is durable before the trial continues.

        Args:
            number: number of the trial.
            fact: number of the fact, as `Ledger.submit` returns it.
        """
        self._needs[number] = fact

    def release(self) -> None:
        """Let all trials continue that wait for nothing any more; those that have ended meanwhile are forgotten."""
        if self._held and self._ledger.is_quick:
            self._wait_for_commit()
        durable, waiting = self._ledger.durable, None
        for name, (controller, trial) in list(self._held.items()):
            number = trial.config["number"]
            if trial.status != Trial.RUNNING:
                del self._held[name]
            elif not trial.is_saving and self._needs.get(number, 0) <= durable:
                del self._held[name]
                self._needs.pop(number, None)
                controller._execute_action(trial, TrialScheduler.CONTINUE)  # as Ray does after a decision
            else:
                waiting = controller
        if waiting is not None and not waiting._actor_manager.num_actor_tasks:
            time.sleep(PAUSE)  # all trials wait, and Ray, which waits for none of them, would ask again at once

    def _wait_for_commit(self) -> None:
        """Make all facts durable, unless the driver has waited for that much lately and has other trials to handle."""
        began = time.monotonic()
        if began < self._may_wait_from:
            return
        self._ledger.commit()
        ended = time.monotonic()
        self._may_wait_from = ended + (ended - began) * (1 - MOST_WAITING) / MOST_WAITING
