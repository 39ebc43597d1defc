"""Hyperparameter importance: it finds what was put in, and says nothing where nothing can be said."""

import numpy as np
import pandas as pd
import pytest

from study.commands.importance import COLUMNS, FEWEST, MOST, hyperparameter_importances
from tests.support.example_studies import trials_frame
from trainables.result import TrialState


def searched(count: int, seed: int = 0) -> pd.DataFrame:
    """Accuracy depends on λ alone, bits on K alone."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        levels, lam = int(rng.integers(2, 65)), 10 ** rng.uniform(-5, -2)
        family, placement = rng.choice(["RS", "RC", "RM"]), rng.choice(["own", "kmeans"])
        rows.append(
            {"family": str(family), "placement": str(placement), "num_levels": levels, "lam": lam}
            | {"val_accuracy": 0.9 + 0.02 * np.log10(lam), "bits_per_weight": float(np.log2(levels))}
        )
    return trials_frame(*rows)


def test_importances_find_what_each_objective_depends_on() -> None:
    found = hyperparameter_importances(searched(150))
    assert tuple(found.columns) == COLUMNS
    shares = found.pivot(index="parameter", columns="objective", values="importance")
    assert set(shares.index) == {"family", "num_levels", "lam", "placement"}
    assert shares["val_accuracy"].idxmax() == "lam"
    assert shares["bits_per_weight"].idxmax() == "num_levels"
    assert shares.max().min() > 0.8
    assert ((found["importance"] >= 0) & (found["importance"] <= 1)).all()
    assert (found["n"] == 150).all()


@pytest.mark.parametrize("zeros", [1, 20, 149])
def test_penalty_of_strength_zero_has_a_place_on_the_scale(zeros: int) -> None:
    """A plan may hold λ = 0, which a logarithmic scale can't show."""
    trials = searched(150)
    trials.loc[: zeros - 1, "lam"] = 0.0
    found = hyperparameter_importances(trials)
    assert "lam" in set(found["parameter"])
    assert ((found["importance"] >= 0) & (found["importance"] <= 1)).all()
    assert (found["n"] == 150).all()


@pytest.mark.parametrize("strengths", [[0.0], [5e-324], [0.0, 5e-324]], ids=str)
def test_extreme_strengths_do_no_harm(strengths: list[float]) -> None:
    trials = searched(20)
    found = hyperparameter_importances(trials.assign(lam=(strengths * 20)[:20]))
    assert {"family", "num_levels"} <= set(found["parameter"])


def test_importances_repeat_exactly_and_take_no_more_than_the_most() -> None:
    trials = searched(MOST + 10)
    found = hyperparameter_importances(trials)
    assert set(found["n"]) == {MOST}
    pd.testing.assert_frame_equal(found, hyperparameter_importances(trials))


@pytest.mark.parametrize(
    "trials",
    [
        searched(FEWEST - 1),
        searched(50).assign(state=TrialState.PRUNED),
        searched(50).assign(lam=np.nan),
        searched(50).assign(val_accuracy=np.nan),
        searched(50).assign(family="RS", placement="own", num_levels=4, lam=1e-3),
        searched(50).assign(val_accuracy=0.5, bits_per_weight=2.0),
        trials_frame(),
    ],
    ids=["few", "pruned", "no penalty", "NaN", "nothing varies", "equal values", "no trial"],
)
def test_importances_of_too_little_are_empty(trials: pd.DataFrame) -> None:
    found = hyperparameter_importances(trials)
    assert found.empty
    assert tuple(found.columns) == COLUMNS
