"""Hypervolume over the cost of a search: against the plain computation for every prefix."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.statistics.pareto import hypervolume
from analysis.statistics.search_progress import hypervolume_band, hypervolume_over_cost
from tests.support.example_studies import trials_frame
from trainables.result import TrialState

STATES = [str(state) for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)]


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.floats(0.5, 40), st.sampled_from(STATES), st.sampled_from([2, None])),
        min_size=1,
        max_size=12,
    )
)
def test_hypervolume_is_that_of_the_trials_so_far(rows: list[tuple[float, float, str, int | None]]) -> None:
    trials = trials_frame(
        *(
            {"val_accuracy": accuracy, "bits_per_weight": bits, "state": state, "num_levels": levels}
            for accuracy, bits, state, levels in rows
        )
    ).assign(train_seconds=1800.0)
    progress = hypervolume_over_cost(trials.sample(frac=1, random_state=0))
    expected = [hypervolume(trials.iloc[: count + 1]) for count in range(len(trials))]
    assert progress["hypervolume"].tolist() == pytest.approx(expected)
    assert progress["hours"].tolist() == pytest.approx([0.5 * (count + 1) for count in range(len(trials))])


def test_trials_that_were_stopped_cost_time_too() -> None:
    trials = trials_frame({"state": STATES[1]}, {}).assign(train_seconds=[3600.0, 7200.0])
    progress = hypervolume_over_cost(trials)
    assert progress["hours"].tolist() == [1.0, 3.0]
    assert progress["hypervolume"].iloc[0] == 0.0 < progress["hypervolume"].iloc[1]


def run(*pairs: tuple[float, float]) -> pd.DataFrame:
    hours, values = zip(*pairs, strict=True)
    return pd.DataFrame({"hours": hours, "trials": range(1, len(pairs) + 1), "hypervolume": values})


def test_band_of_few_runs_reaches_from_the_least_to_the_greatest() -> None:
    band = hypervolume_band([run((1, 0.2), (3, 0.6)), run((2, 0.4)), run((1, 0.3), (2, 0.5))])
    assert band["hours"].tolist() == [1, 2, 3]
    np.testing.assert_allclose(band["median"], [0.2, 0.4, 0.5])
    np.testing.assert_allclose(band["low"], [0.0, 0.2, 0.4])
    np.testing.assert_allclose(band["high"], [0.3, 0.5, 0.6])
    assert set(band["runs"]) == {3}


def test_band_of_five_runs_lies_between_the_quartiles() -> None:
    band = hypervolume_band([run((1, value / 10)) for value in range(5)])
    assert band[["low", "median", "high"]].iloc[0].tolist() == pytest.approx([0.1, 0.2, 0.3])
