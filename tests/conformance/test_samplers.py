"""Promises that every sampler of the registry keeps."""

from pathlib import Path

import pytest

from study.config.rules.constraints import SAMPLERS_WITH_CONSTRAINTS
from study.search.sampling.sampler_history import NEW_WINDOW_EVERY
from study.search.sampling.samplers import SAMPLERS, make_sampler
from tests.study.search.test_searcher import Driver, config_of
from tests.support.proposals import proposed


@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_killed_driver_goes_on_with_the_proposals_of_an_undisturbed_one(sampler: str, tmp_path: Path) -> None:
    undisturbed = proposed(tmp_path / "undisturbed", sampler, set())
    restarts = {1, 5, 9, 12, 13, NEW_WINDOW_EVERY, NEW_WINDOW_EVERY + 1, NEW_WINDOW_EVERY + 9}
    assert proposed(tmp_path / "killed", sampler, restarts) == undisturbed
    sampled = {(config["family"], config["num_levels"], config["lam"]) for config in undisturbed[6:]}
    assert len(sampled) > 3, "they are not all alike"


@pytest.mark.parametrize("sampler", sorted(set(SAMPLERS) - {"gp"}))
def test_studies_with_other_seeds_propose_other_trials(sampler: str, tmp_path: Path) -> None:
    found = []
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        driver = Driver(tmp_path / str(seed), config_of(sampler=sampler, seed=seed))
        driver.run(14)
        driver.die()
        found.append([trial.config["lam"] for trial in driver.ledger.history.trials.values() if not trial.anchor])
    assert found[0] != found[1]


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_sampler_is_the_same_whenever_it_is_made(name: str) -> None:
    config = config_of(sampler=name)
    assert type(make_sampler(config, 7)) is type(make_sampler(config, 7))


@pytest.mark.parametrize("sampler", SAMPLERS_WITH_CONSTRAINTS)
def test_constraints_reach_the_sampler(sampler: str, tmp_path: Path) -> None:
    driver = Driver(tmp_path, config_of(sampler=sampler, constraints=["val_accuracy >= 0.5", "bits_per_weight <= 3"]))
    driver.run(8)
    for trial in driver.optuna_trials:
        accuracy, bits = trial.values
        assert trial.constraints == pytest.approx(
            {"val_accuracy >= 0.5": (0.5 - accuracy) / 0.5, "bits_per_weight <= 3": (bits - 3) / 3}
        )
    assert driver.ask(), "and it goes on with them"
    driver.die()
