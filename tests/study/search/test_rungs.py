"""Rungs: rankings against brute force, promises about who goes on, and the same rungs after a replay."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.config import StudyConfig
from study.ledger.facts import ASKED, EPOCH, FACTS, Epoch
from study.ledger.history import History
from study.search.rungs import RANKINGS, Rungs, best_by_accuracy, best_by_front
from tests.support.example_studies import Unwritten, asked, metrics, study_config

POINTS = st.lists(
    st.tuples(st.integers(0, 6).map(lambda n: n / 6), st.integers(1, 6).map(float)), min_size=1, max_size=24
).map(np.array)


def config_of(scheduler: str = "pareto-asha", *, epochs: int = 20, grace: int = 2, factor: int = 3) -> StudyConfig:
    return study_config(
        trial={"regularize_epochs": epochs - 1, "finetune_epochs": 1},
        early_stopping={"scheduler": scheduler, "grace_period": grace, "reduction_factor": factor},
    )


def epoch_report(epoch: int, accuracy: float, bits: float = 2.0) -> dict[str, Any]:
    return {"epoch": epoch, "val_accuracy": accuracy, "bits_per_weight": bits}


def fronts_by_brute_force(points: np.ndarray) -> np.ndarray:
    """The front of each point: 0 for those that none dominates, 1 for those that only these do, …"""
    fronts = np.full(len(points), -1)
    for front in range(len(points)):
        left = np.flatnonzero(fronts < 0)
        for index in left:
            accuracy, bits = points[index]
            others = points[left]
            at_least_as_good = (others[:, 0] >= accuracy) & (others[:, 1] <= bits)
            better = (others[:, 0] > accuracy) | (others[:, 1] < bits)
            if not (at_least_as_good & better).any():
                fronts[index] = front
    return fronts


@given(POINTS, st.data())
def test_best_by_front_keeps_whole_fronts_and_the_number_asked_for(points: np.ndarray, data: st.DataObject) -> None:
    number = data.draw(st.integers(1, len(points)))
    kept = best_by_front(points, number, np.random.default_rng(0))
    assert kept.sum() == number
    fronts = fronts_by_brute_force(points)
    assert fronts[kept].max() <= fronts[~kept].min(initial=len(points))


@given(POINTS, st.data())
def test_best_by_accuracy_keeps_no_one_below_one_it_gives_up(points: np.ndarray, data: st.DataObject) -> None:
    number = data.draw(st.integers(1, len(points)))
    kept = best_by_accuracy(points, number, np.random.default_rng(0))
    assert kept.sum() >= number
    assert points[kept, 0].min() > points[~kept, 0].max(initial=-1.0)


def test_of_a_front_that_is_too_large_those_that_cover_it_are_kept() -> None:
    """A crowd at 8 bits, and two that stand alone at few: whichever is drawn first, the lonely ones are kept."""
    crowd = [(0.9 + step / 1000, 8.0 + step / 100) for step in range(6)]
    points = np.array([*crowd, (0.2, 1.0), (0.6, 2.5)])
    for seed in range(20):
        kept = best_by_front(points, 3, np.random.default_rng(seed))
        assert kept[-2:].all()


def test_points_that_are_all_alike_are_kept_up_to_the_number() -> None:
    assert best_by_front(np.full((5, 2), 1.0), 2, np.random.default_rng(0)).sum() == 2


@pytest.mark.parametrize(
    ("epochs", "grace", "factor", "expected"),
    [(20, 2, 3, [2, 6, 18]), (18, 2, 3, [2, 6]), (18, 12, 2, [12]), (20, 20, 2, []), (8, 1, 2, [1, 2, 4])],
)
def test_rungs_sit_where_they_should(epochs: int, grace: int, factor: int, expected: list[int]) -> None:
    assert Rungs(config_of(epochs=epochs, grace=grace, factor=factor)).epochs == expected


def test_there_are_no_rungs_without_a_scheduler() -> None:
    assert Rungs(config_of("none")).epochs == []


@pytest.mark.parametrize("scheduler", list(RANKINGS))
def test_second_arrival_gets_the_first_answer(scheduler: str) -> None:
    rungs = Rungs(config_of(scheduler, factor=2))
    assert rungs.report(0, False, epoch_report(2, 0.5))
    assert not rungs.report(1, False, epoch_report(2, 0.4, 3.0))
    assert rungs.report(2, False, epoch_report(2, 0.9))
    assert rungs.report(0, False, epoch_report(2, 0.0, 9.0))
    assert not rungs.report(1, False, epoch_report(2, 1.0, 1.0))
    assert [rungs.stopped(number) for number in range(3)] == [False, True, False]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_result_that_is_not_finite_is_no_member(bad: float) -> None:
    rungs = Rungs(config_of())
    assert rungs.report(0, False, epoch_report(2, bad))
    assert rungs.report(1, False, epoch_report(2, 0.9, bad))
    assert rungs.report(2, False, epoch_report(2, 0.1)), "the first member"


class EagerRungs:
    """The naive algorithm: every member is ranked when it arrives."""

    def __init__(self, config: StudyConfig) -> None:
        self._config = config
        self._members: dict[int, list[Any]] = {epoch: [] for epoch in Rungs(config).epochs}
        self.decisions: dict[tuple[int, int], bool] = {}

    def report(self, number: int, result: dict[str, Any]) -> None:
        epoch, members = result["epoch"], self._members.get(result["epoch"])
        if members is None or number == 0 or (number, epoch) in self.decisions:
            return
        members.append((result["val_accuracy"], result["bits_per_weight"]))
        stopping = self._config.early_stopping
        best = math.ceil(len(members) / stopping.reduction_factor)
        rng = np.random.default_rng([self._config.seed, epoch, len(members)])
        kept = RANKINGS[stopping.scheduler](np.array(members), best, rng)
        self.decisions[number, epoch] = bool(kept[-1])


@pytest.mark.parametrize("scheduler", list(RANKINGS))
@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([1, 2, 6]), st.integers(0, 9), st.integers(1, 9))))
def test_replay_decides_as_the_naive_algorithm(scheduler: str, arrivals: list[tuple[int, int, int, int]]) -> None:
    config = config_of(scheduler)
    naive, history = EagerRungs(config), History()
    searched = {"family": "RS", "num_levels": 4, "lam": 1e-3, "placement": "own"}
    for number in range(10):
        trial = asked(number, config.trial_config(searched), anchor=number == 0)
        history.apply(FACTS[ASKED](time=0.0, **trial))
    for number, epoch, accuracy, bits in arrivals:
        result = metrics(epoch, accuracy=accuracy / 10, bits=float(bits))
        naive.report(number, result)
        history.apply(Epoch(time=0.0, number=number, metrics=result))
    replayed = Rungs.replay(config, history)
    for number in range(10):
        decisions = [kept for (other, _), kept in naive.decisions.items() if other == number]
        assert replayed.stopped(number) == (not all(decisions))


def test_replay_ranks_nothing_and_a_question_only_what_it_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed study asks for the trials that had not ended, so its start does not grow with the square of trials."""
    ranked: list[int] = []

    def ranking(members: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
        ranked.append(len(members))
        return np.ones(len(members), dtype=bool)

    monkeypatch.setitem(RANKINGS, "asha", ranking)
    config, history = config_of("asha"), History()
    for number in range(50):
        history.apply(FACTS[ASKED](time=0.0, **asked(number, config.trial_config({"family": "none", "num_levels": 4}))))
        history.apply(Epoch(time=0.0, number=number, metrics=metrics(2)))
    rungs = Rungs.replay(config, history)
    assert ranked == []
    assert not rungs.stopped(30)
    assert ranked == [31]


@pytest.mark.parametrize("scheduler", list(RANKINGS))
@given(st.data())
def test_replay_gives_the_rungs_back(scheduler: str, data: st.DataObject) -> None:
    """Cut a history at any place: what the replayed rungs decide after it is what the first ones did."""
    config = config_of(scheduler)
    arrivals = data.draw(
        st.lists(
            st.tuples(st.integers(0, 9), st.sampled_from([1, 2, 6]), st.integers(0, 9), st.integers(1, 9)),
            min_size=1,
            max_size=40,
            unique_by=lambda arrived: arrived[:2],
        )
    )
    cut = data.draw(st.integers(0, len(arrivals)))
    ledger, living = Unwritten(), Rungs(config)
    searched = {"family": "RS", "num_levels": 4, "lam": 1e-3, "placement": "own"}
    for number in range(10):
        ledger.record(ASKED, **asked(number, config.trial_config(searched), anchor=number == 0))
    resumed = None
    for index, (number, epoch, accuracy, bits) in enumerate(arrivals):
        if index == cut:
            resumed = Rungs.replay(config, ledger.history)
        result = metrics(epoch, accuracy=accuracy / 10, bits=float(bits))
        answer = living.report(number, number == 0, result)
        assert resumed is None or resumed.report(number, number == 0, result) == answer
        ledger.record(EPOCH, number=number, metrics=result)
    replayed = Rungs.replay(config, ledger.history)
    assert [replayed.stopped(number) for number in range(10)] == [living.stopped(number) for number in range(10)]
