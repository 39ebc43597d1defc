"""Early stopping, driven with Ray's own trial objects; no Ray is started."""

import itertools
from typing import Any

import pytest
from example_studies import study_config
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from study.scheduler import AnchoredASHA, make_scheduler

EPOCHS = 8  # rungs at 1 and 3, so that what is told of a trial's end could land on one


def make(grace_period: int = 1, reduction_factor: int = 3, scheduler: str = "asha") -> TrialScheduler:
    return make_scheduler(
        study_config(
            trial={"regularize_epochs": EPOCHS - 3, "finetune_epochs": 3},
            early_stopping={
                "scheduler": scheduler,
                "grace_period": grace_period,
                "reduction_factor": reduction_factor,
            },
        )
    )


def run_trial(scheduler: TrialScheduler, name: str, accuracy: float, *, anchor: bool = False) -> int:
    """Runs a trial as Ray does, at the same accuracy all along; returns the epoch at which it ended."""
    trial = Trial("trial", stub=True, trial_id=name, config={"anchor": anchor})
    scheduler.on_trial_add(None, trial)
    for epoch in range(1, EPOCHS):
        result = {"epoch": epoch, "val_accuracy": accuracy}
        if scheduler.on_trial_result(None, trial, result) == TrialScheduler.STOP:
            scheduler.on_trial_complete(None, trial, result)
            return epoch
    scheduler.on_trial_complete(None, trial, {"epoch": EPOCHS, "val_accuracy": accuracy, "done": True})
    return EPOCHS


def test_asha_stops_the_worse_ones_at_a_rung() -> None:
    scheduler = make()
    assert run_trial(scheduler, "good", 0.9) == EPOCHS
    assert run_trial(scheduler, "bad", 0.1) == 1
    assert run_trial(scheduler, "better", 0.95) == EPOCHS


@pytest.mark.parametrize("grace_period", [1, 2, 4, 7])
def test_nothing_is_stopped_before_the_grace_period(grace_period: int) -> None:
    scheduler = make(grace_period=grace_period)
    run_trial(scheduler, "good", 0.9)
    assert run_trial(scheduler, "bad", 0.1) == grace_period


def test_reduction_factor_decides_how_many_go_on() -> None:
    survivors = {
        factor: sum(run_trial(scheduler, str(rank), rank / 100) == EPOCHS for rank in order)
        for factor, scheduler, order in (
            (factor, make(reduction_factor=factor, grace_period=5), [50, 10, 40, 20, 60, 30, 5, 45, 35, 25, 15, 55])
            for factor in (2, 4)
        )
    }
    assert survivors[4] < survivors[2] < 12


def test_anchor_is_never_stopped() -> None:
    scheduler = make()
    for name in "abc":
        run_trial(scheduler, name, 0.9)
    assert run_trial(scheduler, "anchor", 0.0, anchor=True) == EPOCHS


def test_anchors_do_not_crowd_the_rungs() -> None:
    """Whatever the anchors reached, the first trial that is none has nothing to be compared with."""
    scheduler = make()
    for name in "abcd":
        run_trial(scheduler, name, 0.99, anchor=True)
    assert run_trial(scheduler, "first", 0.5) == EPOCHS


@pytest.mark.parametrize("order", list(itertools.permutations([0.9, 0.5, 0.1])))
def test_anchors_change_no_decision_about_other_trials(order: tuple[float, ...]) -> None:
    without, among = make(), make()
    ends_without = [run_trial(without, str(accuracy), accuracy) for accuracy in order]
    ends_among = []
    for accuracy in order:
        run_trial(among, f"anchor-{accuracy}", 0.99, anchor=True)
        ends_among.append(run_trial(among, str(accuracy), accuracy))
    assert ends_among == ends_without


def test_trial_that_fails_is_no_obstacle() -> None:
    scheduler = make()
    assert isinstance(scheduler, AnchoredASHA)
    failing = Trial("trial", stub=True, trial_id="failing", config={"anchor": False})
    scheduler.on_trial_add(None, failing)
    failure: dict[str, Any] = {"epoch": 0, "failure": "the loss is not finite (nan)", "done": True}
    scheduler.on_trial_complete(None, failing, failure)
    lost = Trial("trial", stub=True, trial_id="lost", config={"anchor": False})
    scheduler.on_trial_add(None, lost)
    scheduler.on_trial_error(None, lost)
    assert run_trial(scheduler, "first", 0.1) == EPOCHS
    assert run_trial(scheduler, "worse", 0.05) == 1


@pytest.mark.parametrize("arguments", [{"scheduler": "none"}, {"grace_period": EPOCHS}], ids=["none", "grace period"])
def test_nothing_is_stopped_when_not_asked_for(arguments: dict[str, Any]) -> None:
    scheduler = make(**arguments)
    assert isinstance(scheduler, FIFOScheduler)
    run_trial(scheduler, "good", 0.9)
    assert run_trial(scheduler, "bad", 0.0) == EPOCHS
