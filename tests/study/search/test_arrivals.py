"""Arrivals at a rung: the same decisions as those of a ranking of all members at each arrival."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.search.rungs import ARRIVALS, RANKINGS, Rungs
from tests.support.example_studies import study_config

COARSE = st.tuples(st.integers(0, 6).map(lambda step: step / 8), st.integers(1, 7).map(float))
"""Accuracy and bits on a grid, where many are equal."""
FINE = st.tuples(st.integers(0, 1000).map(lambda step: step / 1000), st.integers(1, 8000).map(lambda step: step / 1000))
MEMBERS = st.lists(COARSE | FINE, min_size=1, max_size=60)


@pytest.mark.filterwarnings("ignore:overflow encountered")  # of distances where all accuracies are equal
@pytest.mark.parametrize("name", RANKINGS)
@given(members=MEMBERS, first=st.integers(0, 60), factor=st.integers(2, 4))
def test_decisions_are_those_of_the_ranking_of_all_members(
    name: str, members: list[tuple[float, float]], first: int, factor: int
) -> None:
    """Whatever was there when the process began; only a choice among members of the same rank is left open."""
    points = np.array(members)
    known = min(first, len(members) - 1)
    arrivals = ARRIVALS[name](points[:known])
    for place in range(known + 1, len(members) + 1):
        best = math.ceil(place / factor)
        decision = arrivals.add(*members[place - 1], best)
        assert len(arrivals) == place
        kept = [RANKINGS[name](points[:place], best, np.random.default_rng(seed))[-1] for seed in range(3)]
        assert decision in (None, kept[0])
        if len(set(kept)) > 1:
            assert decision is None


@pytest.mark.parametrize("scheduler", RANKINGS)
def test_rungs_decide_alike_when_members_arrive_and_when_all_are_known(scheduler: str) -> None:
    """As for a driver that goes on after others, whose first decisions are about trials that reported long ago."""
    config = study_config(early_stopping={"scheduler": scheduler, "grace_period": 1, "reduction_factor": 2})
    rng = np.random.default_rng(0)
    points = [(round(float(rng.random()), 2), float(rng.integers(1, 9))) for _ in range(300)]
    arriving, known = Rungs(config), Rungs(config)
    metrics = [{"epoch": 1, "val_accuracy": accuracy, "bits_per_weight": bits} for accuracy, bits in points]
    decisions = [arriving.report(number, False, result) for number, result in enumerate(metrics)]
    for number, point in enumerate(points):
        known._join(number, False, 1, point)
    assert [not known.stopped(number) for number in range(300)] == decisions
    assert 0 < sum(decisions) < 300
