"""The front and the knee of a history, against brute force and against the reports' own."""

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from analysis.statistics.pareto import knee
from study.ledger.front import front_so_far, knee_of
from study.ledger.history import History
from tests.support.example_studies import history_of
from trainables.result import TrialState

COARSE = st.integers(0, 4).map(lambda quarter: quarter / 4)
"""So few values that ties and duplicates are common."""


@given(
    st.lists(
        st.tuples(
            COARSE,
            COARSE,
            st.sampled_from([TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, None]),
            st.sampled_from([None, 4]),
        ),
        max_size=12,
    )
)
def test_front_so_far_matches_brute_force(trials: list[tuple[float, float, str | None, int | None]]) -> None:
    front = front_so_far(history_of(*trials))
    finished = {
        (accuracy, bits) for accuracy, bits, state, num_levels in trials if state == TrialState.COMPLETE and num_levels
    }
    expected = {
        (accuracy, bits)
        for accuracy, bits in finished
        if not any(a >= accuracy and b <= bits and (a, b) != (accuracy, bits) for a, b in finished)
    }
    points = [(trial.last["val_accuracy"], trial.last["bits_per_weight"]) for trial in front]
    assert set(points) == expected
    assert points == sorted(points, key=lambda point: point[1])
    assert all(trial.state == TrialState.COMPLETE and trial.config["num_levels"] for trial in front)


def test_front_so_far_of_nothing_is_empty() -> None:
    assert front_so_far(History()) == []
    assert front_so_far(history_of((0.9, 32.0, TrialState.COMPLETE, None))) == []
    assert knee_of([]) is None


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 32)), min_size=1, max_size=10, unique=True))
def test_knee_is_the_one_that_reports_ring(points: list[tuple[int, int]]) -> None:
    history = history_of(*((accuracy / 20, float(bits), TrialState.COMPLETE, 4) for accuracy, bits in points))
    ours = knee_of(front_so_far(history))
    table = pd.DataFrame(
        [
            {"number": trial.number, "state": TrialState.COMPLETE, "num_levels": 4.0}
            | {name: trial.last[name] for name in ("val_accuracy", "bits_per_weight")}
            for trial in history.trials.values()
        ]
    )
    theirs = knee(table)
    assert ours is not None
    assert theirs is not None
    assert ours.number == theirs["number"]
