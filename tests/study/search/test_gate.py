"""The gate: a trial's next epoch waits for the facts about it, and for nothing else."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from study.ledger.ledger import Ledger
from study.search.gate import Gate


class Controller:
    """Ray's controller, as far as the gate uses it."""

    def __init__(self) -> None:
        self.actions: list[tuple[str, str]] = []
        self._actor_manager = SimpleNamespace(num_actor_tasks=0)

    def _execute_action(self, trial: Any, action: str) -> None:
        self.actions.append((trial.trial_id, action))


def ray_trial(number: int) -> Any:
    return SimpleNamespace(trial_id=f"t{number}", config={"number": number}, status=Trial.RUNNING, is_saving=False)


@pytest.fixture
def ledger() -> Any:
    return SimpleNamespace(durable=0, is_quick=False)


def test_trials_continue_once_their_own_facts_are_durable(ledger: Any) -> None:
    gate, controller = Gate(cast(Ledger, ledger)), Controller()
    trials = [ray_trial(number) for number in range(3)]
    for number, trial in enumerate(trials):
        assert gate.hold(controller, trial) == TrialScheduler.NOOP
        gate.need(number, fact=number + 1)
    trials[0].is_saving = True
    gate.release()
    assert controller.actions == []
    ledger.durable = 2
    gate.release()
    assert controller.actions == [("t1", "CONTINUE")], "the first is still saving, the third not durable"
    trials[0].is_saving = False
    gate.release()
    ledger.durable = 3
    gate.release()
    gate.release()
    assert controller.actions == [(name, "CONTINUE") for name in ("t1", "t0", "t2")], "each once"


def test_trial_that_has_ended_meanwhile_is_not_continued(ledger: Any) -> None:
    gate, controller, trial = Gate(cast(Ledger, ledger)), Controller(), ray_trial(0)
    gate.hold(controller, trial)
    trial.status = Trial.ERROR
    gate.release()
    trial.status = Trial.RUNNING
    gate.release()
    assert controller.actions == []


def test_quick_commit_is_waited_for(ledger: Any) -> None:
    gate, controller = Gate(cast(Ledger, ledger)), Controller()
    ledger.is_quick = True
    ledger.commit = lambda: setattr(ledger, "durable", 7)
    gate.hold(controller, ray_trial(0))
    gate.need(0, fact=7)
    gate.release()
    assert controller.actions == [("t0", "CONTINUE")]


def test_driver_waits_for_commits_a_fifth_of_its_time(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where many trials report, each would else wait for a commit of its own, and all for one another."""
    now, waits = 100.0, 0

    def commit() -> None:
        nonlocal now, waits
        now, waits = now + 0.005, waits + 1
        ledger.durable += 1

    monkeypatch.setattr("study.search.gate.time.monotonic", lambda: now)
    gate, controller = Gate(cast(Ledger, ledger)), Controller()
    controller._actor_manager.num_actor_tasks = 1
    ledger.is_quick, ledger.commit = True, commit
    for number in range(1000):
        gate.hold(controller, ray_trial(number))
        gate.need(number, fact=number + 1)
        now += 0.001
        gate.release()
    assert 0.15 < 0.005 * waits / (now - 100.0) <= 0.2
    assert len(controller.actions) == waits
    ledger.durable = 1000
    gate.release()
    assert len(controller.actions) == 1000, "the others share the commit that the ledger has begun"


@pytest.mark.parametrize(("tasks", "pauses"), [(0, 1), (3, 0)])
def test_driver_pauses_while_every_trial_waits(
    tasks: int, pauses: int, ledger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray would ask again at once where it waits for no task."""
    slept: list[float] = []
    monkeypatch.setattr("study.search.gate.time.sleep", slept.append)
    gate, controller = Gate(cast(Ledger, ledger)), Controller()
    controller._actor_manager.num_actor_tasks = tasks
    gate.hold(controller, ray_trial(0))
    gate.need(0, fact=1)
    gate.release()
    assert len(slept) == pauses
    ledger.durable = 1
    gate.release()
    assert len(slept) == pauses, "nothing is left to wait for"
