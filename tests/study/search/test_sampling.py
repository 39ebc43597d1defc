"""Views of samplers, and that a proposal depends only on the configuration and on earlier proposals."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from study.config.rules.constraints import Constraint
from study.ledger.history import KnownResult
from study.search.optuna_trials import metrics_of, values_of
from study.search.sampling.sampler_history import NEW_WINDOW_EVERY
from study.search.sampling.window import Window, select
from tests.study.search.test_searcher import Driver, config_of
from tests.support.proposals import HOW
from trainables.result import TrialState


def test_window_that_is_chosen_after_a_kill_is_that_of_an_undisturbed_driver(tmp_path: Path) -> None:
    """A driver that dies while a trial is trained may find the next window due, and must wait for the trial."""
    trials = 3 * NEW_WINDOW_EVERY + 14

    def proposed(folder: Path, killed: bool) -> list[dict[str, Any]]:
        folder.mkdir()
        config = config_of(trials=trials)
        driver = Driver(folder, config)
        for number in range(trials):
            asked = driver.ask()
            if killed and len(driver.ledger.history.proposals) % NEW_WINDOW_EVERY == 0:
                driver.die()
                driver = Driver(folder, config)
                asked = driver.ask()
            driver.end(asked["number"], HOW[number % len(HOW)])
        driver.die()
        assert len(driver.ledger.history.proposals) > 3 * NEW_WINDOW_EVERY
        return [trial.config for trial in driver.ledger.history.trials.values()]

    assert proposed(tmp_path / "killed", killed=True) == proposed(tmp_path / "undisturbed", killed=False)


def test_replicates_run_under_further_seeds_and_then_no_more(tmp_path: Path) -> None:
    space = {"family": ["none"], "num_levels": {"low": 4, "high": 5}, "placement": ["kmeans"]}
    driver = Driver(tmp_path, config_of(space=space, anchors={"num_levels": [4]}, replicates=3, seed=7, trials=7))
    driver.run(7)
    driver.die()
    seeds: dict[int | None, list[int]] = {}
    for trial in driver.ledger.history.trials.values():
        seeds.setdefault(trial.config["num_levels"], []).append(trial.config["seed"])
    assert seeds == {None: [7], 4: [7, 8, 9], 5: [7, 8, 9]}


def known_result(state: TrialState, accuracy: float, bits: float) -> KnownResult:
    return KnownResult({"num_levels": 4}, {}, state, {"val_accuracy": accuracy, "bits_per_weight": bits})


PROPOSALS = st.lists(
    st.builds(
        known_result,
        st.sampled_from(
            [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING]
        ),
        st.integers(0, 5).map(lambda fifths: fifths / 5),
        st.integers(1, 6).map(float),
    ),
    max_size=40,
)


@given(PROPOSALS, st.integers(2, 12))
def test_window_holds_all_that_run_and_as_many_of_the_finished_as_it_may(
    proposals: list[KnownResult], size: int
) -> None:
    chosen = select(proposals, size, [], "seed")
    assert chosen == sorted(set(chosen)) == select(proposals, size, [], "seed")
    states = [proposals[index].state for index in chosen]
    assert states.count(TrialState.RUNNING) == sum(proposal.state == TrialState.RUNNING for proposal in proposals)
    finished = sum(proposal.state in (TrialState.COMPLETE, TrialState.PRUNED) for proposal in proposals)
    assert states.count(TrialState.COMPLETE) + states.count(TrialState.PRUNED) == min(size, finished)
    assert TrialState.FAIL not in states


@given(PROPOSALS, st.integers(2, 12), st.randoms(use_true_random=False))
def test_window_that_follows_a_study_selects_as_one_that_sees_it_for_the_first_time(
    ends: list[KnownResult], size: int, rng: random.Random
) -> None:
    """Whenever proposals end, and in whatever order."""
    proposals: list[KnownResult] = []
    window = Window(lambda index: proposals[index], size, [Constraint.parse("bits_per_weight <= 3")])
    for end in ends:
        proposals.append(replace(end, state=TrialState.RUNNING, metrics={}))
        for index in range(len(proposals)):
            if proposals[index].state == TrialState.RUNNING and rng.random() < 0.3:
                proposals[index] = ends[index]
        constraints = [Constraint.parse("bits_per_weight <= 3")]
        assert window.select(len(proposals), "seed") == select(proposals, size, constraints, "seed")


@given(PROPOSALS, st.integers(2, 12))
def test_window_holds_the_whole_front_if_there_is_room(proposals: list[KnownResult], size: int) -> None:
    complete = [index for index, proposal in enumerate(proposals) if proposal.state == TrialState.COMPLETE]
    front = {
        index for index in complete if not any(dominates(proposals[other], proposals[index]) for other in complete)
    }
    chosen = set(select(proposals, size, [], "seed"))
    assert front <= chosen or len(front) > size // 2


def dominates(one: KnownResult, other: KnownResult) -> bool:
    (accuracy, bits), (others_accuracy, others_bits) = values_of(one) or [], values_of(other) or []
    return accuracy >= others_accuracy and bits <= others_bits and (accuracy, bits) != (others_accuracy, others_bits)


def test_window_prefers_what_fulfils_the_constraints() -> None:
    generator = np.random.default_rng(0)
    proposals = [known_result(TrialState.COMPLETE, accuracy, 1 + 5 * accuracy) for accuracy in generator.random(100)]
    constraint = Constraint.parse("bits_per_weight <= 2")
    chosen = select(proposals, 20, [constraint], "seed")
    feasible = [index for index in chosen if constraint.violation(metrics_of(proposals[index])) <= 0]
    assert len(feasible) >= 10
