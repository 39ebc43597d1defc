"""Early stopping, driven with Ray's own trial objects; no Ray is started."""

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from study.config import StudyConfig
from study.ledger.facts import ASKED, EPOCH
from study.ledger.history import History
from study.search.scheduler import make_scheduler
from tests.support.example_studies import Unwritten, asked, metrics, study_config

EPOCHS = 8


def config_of(scheduler: str = "asha", *, grace_period: int = 1, reduction_factor: int = 3) -> StudyConfig:
    return study_config(
        trial={"regularize_epochs": EPOCHS - 3, "finetune_epochs": 3},
        early_stopping={
            "scheduler": scheduler,
            "grace_period": grace_period,
            "reduction_factor": reduction_factor,
        },
    )


class Ray:
    """Runs one trial after another as Ray would, each at the same accuracy and bits all along."""

    def __init__(self, config: StudyConfig, history: History | None = None) -> None:
        self.scheduler = make_scheduler(config, history or History())
        self._numbers = itertools.count(len(history.trials) if history else 0)

    def run(self, accuracy: float, bits: float = 2.0, *, anchor: bool = False) -> int:
        """Returns the epoch at which the trial ended."""
        trial = Trial("trial", stub=True, config={"number": next(self._numbers), "anchor": anchor})
        self.scheduler.on_trial_add(None, trial)
        for epoch in range(1, EPOCHS):
            result = {"epoch": epoch, "val_accuracy": accuracy, "bits_per_weight": bits}
            if self.scheduler.on_trial_result(None, trial, result) == TrialScheduler.STOP:
                self.scheduler.on_trial_complete(None, trial, result)
                return epoch
        self.scheduler.on_trial_complete(None, trial, {"epoch": EPOCHS, "val_accuracy": accuracy, "done": True})
        return EPOCHS


def test_asha_stops_the_worse_ones_at_a_rung() -> None:
    ray = Ray(config_of())
    assert [ray.run(accuracy) for accuracy in (0.9, 0.1, 0.95)] == [EPOCHS, 1, EPOCHS]


def test_pareto_asha_lets_the_low_bits_of_a_front_go_on() -> None:
    ray = Ray(config_of("pareto-asha", grace_period=4, reduction_factor=2))
    assert ray.run(0.9, bits=4.0) == EPOCHS
    assert ray.run(0.8, bits=5.0) == 4, "worse in both"
    assert ray.run(0.5, bits=1.0) == EPOCHS, "the least accurate, and the smallest"


@pytest.mark.parametrize("scheduler", ["asha", "pareto-asha"])
@pytest.mark.parametrize("grace_period", [1, 2, 4, 7])
def test_nothing_is_stopped_before_the_grace_period(grace_period: int, scheduler: str) -> None:
    ray = Ray(config_of(scheduler, grace_period=grace_period))
    ray.run(0.9)
    assert ray.run(0.1, bits=3.0) == grace_period


def test_reduction_factor_decides_how_many_go_on() -> None:
    survivors = {}
    for factor in (2, 4):
        ray = Ray(config_of(reduction_factor=factor, grace_period=5))
        ranks = [50, 10, 40, 20, 60, 30, 5, 45, 35, 25, 15, 55]
        survivors[factor] = sum(ray.run(rank / 100) == EPOCHS for rank in ranks)
    assert survivors[4] < survivors[2] < 12


@pytest.mark.parametrize("scheduler", ["asha", "pareto-asha"])
def test_anchor_is_never_stopped(scheduler: str) -> None:
    ray = Ray(config_of(scheduler))
    for _ in range(3):
        ray.run(0.9)
    assert ray.run(0.0, bits=9.0, anchor=True) == EPOCHS


@pytest.mark.parametrize("order", list(itertools.permutations([0.9, 0.5, 0.1])))
def test_anchors_change_no_decision_about_other_trials(order: tuple[float, ...]) -> None:
    without, among = Ray(config_of()), Ray(config_of())
    ends_without = [without.run(accuracy) for accuracy in order]
    ends_among = []
    for accuracy in order:
        among.run(0.99, anchor=True)
        ends_among.append(among.run(accuracy))
    assert ends_among == ends_without


def test_trial_that_fails_is_no_obstacle() -> None:
    ray = Ray(config_of())
    failing = Trial("trial", stub=True, config={"number": 100, "anchor": False})
    ray.scheduler.on_trial_add(None, failing)
    failure: dict[str, Any] = {"epoch": 0, "failure": "the loss is not finite (nan)"}
    assert ray.scheduler.on_trial_result(None, failing, failure) == TrialScheduler.CONTINUE
    ray.scheduler.on_trial_complete(None, failing, failure | {"done": True})
    lost = Trial("trial", stub=True, config={"number": 101, "anchor": False})
    ray.scheduler.on_trial_add(None, lost)
    ray.scheduler.on_trial_error(None, lost)
    assert [ray.run(0.1), ray.run(0.05)] == [EPOCHS, 1]


@pytest.mark.parametrize("arguments", [{"scheduler": "none"}, {"grace_period": EPOCHS}], ids=["none", "grace period"])
def test_nothing_is_stopped_when_not_asked_for(arguments: dict[str, Any]) -> None:
    ray = Ray(config_of(**arguments))
    assert [ray.run(0.9), ray.run(0.0)] == [EPOCHS, EPOCHS]


@pytest.mark.parametrize("scheduler", ["asha", "pareto-asha"])
def test_scheduler_of_a_resumed_study_remembers_its_rungs(scheduler: str) -> None:
    config, ledger = config_of(scheduler), Unwritten()
    searched = {"family": "RS", "num_levels": 4, "lam": 1e-3, "placement": "own"}
    ledger.record(ASKED, **asked(0, config.trial_config(searched)))
    for epoch in (1, 2, 3):
        ledger.record(EPOCH, number=0, metrics=metrics(epoch, accuracy=0.9, bits=2.0))
    assert Ray(config, ledger.history).run(0.5, bits=3.0) == 1
    assert Ray(config).run(0.5, bits=3.0) == EPOCHS, "without a history the first has nothing to be compared with"


def test_trial_asked_for_last_is_begun_first_for_the_others_have_actors_that_start() -> None:
    scheduler = make_scheduler(config_of(), History())
    trials = [Trial("trial", stub=True) for _ in range(4)]
    controller = SimpleNamespace(get_trials=lambda: trials)
    trials[0].status, trials[3].status = Trial.RUNNING, Trial.TERMINATED
    assert scheduler.choose_trial_to_run(controller) is trials[2]
    trials[1].status = trials[2].status = Trial.RUNNING
    assert scheduler.choose_trial_to_run(controller) is None
