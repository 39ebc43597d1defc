"""Points of a page: every front that its filters can ask for, and an even share of the rest."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.load import load_epochs, load_trials
from analysis.origin import read_origin
from analysis.report.points import MOST_CURVES, confirmed_points, curves, search_points, select
from analysis.statistics.confirmation import FOLDER, confirmed
from analysis.statistics.pareto import front
from tests.support.example_studies import confirm_study, make_explored_study, trials_frame
from trainables.result import TrialState

FAMILIES = ("none", "RS", "RE")

trial = st.fixed_dictionaries(
    {
        "state": st.sampled_from(
            [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING]
        ),
        "family": st.sampled_from(FAMILIES),
        "num_levels": st.sampled_from([2, 3, 4, 8, None]),
        "val_accuracy": st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5, None]),
        "val_accuracy_pre_tuning": st.sampled_from([0.1, 0.2, 0.3, None]),
        "bits_per_weight": st.sampled_from([1.0, 1.5, 2.0, 3.0]),
    }
)


@given(
    rows=st.lists(trial, max_size=30),
    families=st.sets(st.sampled_from(FAMILIES)),
    lowest=st.integers(2, 8),
    width=st.integers(0, 6),
    before=st.booleans(),
)
def test_selection_keeps_the_front_of_any_families_and_levels(
    rows: list[dict[str, Any]], families: set[str], lowest: int, width: int, before: bool
) -> None:
    trials = trials_frame(*rows)

    def front_of(some: pd.DataFrame) -> list[int]:
        accuracy = "val_accuracy_pre_tuning" if before else "val_accuracy"
        chosen = some[some["family"].isin(families) & some["num_levels"].between(lowest, lowest + width)]
        measured = chosen[chosen["val_accuracy"].notna()]
        return list(front(measured.assign(val_accuracy=measured[accuracy]))["number"])

    kept = select(trials, epochs_each=4, most=0).trials
    assert front_of(kept) == front_of(trials)


def test_selection_shares_the_rest_evenly_and_counts_what_there_was() -> None:
    best = {"val_accuracy": 0.9, "val_accuracy_pre_tuning": 0.9}
    trials = trials_frame(
        *[best if number == 7 else {} for number in range(101)], {"num_levels": None}, {"state": TrialState.FAIL}
    )
    chosen = select(trials, epochs_each=4, most=5)
    assert list(chosen.trials["number"]) == [0, 7, 26, 51, 76, 102]
    assert chosen.measured == 102


@pytest.mark.parametrize(("epochs", "most"), [(1, MOST_CURVES), (1000, 133), (10**9, 0)])
def test_curves_are_as_many_as_fit_and_those_of_the_front_first(epochs: int, most: int) -> None:
    best = {"val_accuracy": 0.9, "val_accuracy_pre_tuning": 0.9}
    trials = trials_frame(*[best if number == 1500 else {} for number in range(2000)])
    found = select(trials, epochs_each=epochs).curves
    assert len(found) == most
    assert not found or 1500 in found


def test_points_are_plain_values(tmp_path: Path) -> None:
    study = make_explored_study(tmp_path / "explored")
    points = search_points(select(load_trials(study.path), 4))
    assert points.pop("fields") == {}, "nothing else was searched"
    assert {len(column) for column in points.values()} == {18}
    first = {name: column[0] for name, column in points.items()}
    assert (first["number"], first["num_levels"], first["lam"], first["state"]) == (1, 2, None, TrialState.COMPLETE)
    assert all(value is None or isinstance(value, (int, float, str)) for value in first.values())


def test_curves_have_a_value_an_epoch_also_where_one_is_missing(tmp_path: Path) -> None:
    epochs = load_epochs(make_explored_study(tmp_path / "explored").path)
    of = curves(epochs[~((epochs["number"] == 2) & (epochs["epoch"] == 3))], frozenset({2}))
    assert list(of) == ["2"]
    assert of["2"]["val_accuracy"][2] is None
    assert of["2"]["train_loss"] == [1, 0.5, None, 0.25]
    assert of["2"]["float_val_accuracy"] == [0.9, 0.9, None, None], "of the regularize phase alone"


def explored_and_confirmed(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Trials of a search, and of its confirmation."""
    confirm_study(make_explored_study(folder))
    return load_trials(folder), load_trials(folder / FOLDER)


def test_confirmed_points_are_the_confirmed_results(tmp_path: Path) -> None:
    search, confirmation = explored_and_confirmed(tmp_path / "again")
    folder = tmp_path / "again" / FOLDER
    points = confirmed_points(search, confirmation, load_epochs(folder), read_origin(folder))
    results = confirmed(search, confirmation)
    assert [point["config_hash"] for point in points] == list(results["config_hash"])

    # Bits that are equal once they are rounded, and not in the order of the plan.
    first, second = results["config_hash"][[0, 1]]
    close = confirmation.assign(
        bits_per_weight=confirmation["config_hash"].map({first: 2.30004, second: 2.30001}).fillna(5.0)
    )
    points = confirmed_points(search, close, load_epochs(folder), read_origin(folder))
    assert [point["config_hash"] for point in points] == list(confirmed(search, close)["config_hash"])
    assert [point["config_hash"] for point in points[:2]] == [second, first]


def test_confirmed_points_have_the_numbers_of_the_confirmed_results(tmp_path: Path) -> None:
    search, confirmation = explored_and_confirmed(tmp_path / "again")
    folder = tmp_path / "again" / FOLDER
    points = confirmed_points(search, confirmation, load_epochs(folder), read_origin(folder))
    results = confirmed(search, confirmation)
    for point, (_, result) in zip(points, results.iterrows(), strict=True):
        mean, low, high = point["accuracy"]["test"]["finetune"]
        assert [mean, low, high] == pytest.approx([result["test_accuracy"], result["low"], result["high"]], abs=1e-5)
        assert point["accuracy"]["validation"]["finetune"][0] == pytest.approx(result["val_accuracy"], abs=1e-5)
        assert point["searched"]["finetune"] == pytest.approx(result["searched_val_accuracy"], abs=1e-5)
        assert [trial["seed"] for trial in point["trials"]] == [1, 2, 3]
