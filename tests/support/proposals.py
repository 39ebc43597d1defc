"""Studies that are searched without training."""

from pathlib import Path
from typing import Any

from study.search.sampling.sampler_history import NEW_WINDOW_EVERY
from tests.study.search.test_searcher import Driver, config_of

SPACE = {"family": ["none", "RS", "RE"], "num_levels": {"low": 2, "high": 9}}


HOW = ("complete", "complete", "stopped", "complete", "diverged")


TRIALS = {"gp": 14}
"""Enough for every sampler to leave its random beginning; for the others past the first new window."""


def proposed(folder: Path, sampler: str, restarts: set[int]) -> list[dict[str, Any]]:
    """Configurations of a study, one trial at a time, whose driver is killed before the trials in `restarts`."""
    folder.mkdir()
    config = config_of(sampler=sampler, space=SPACE)
    driver = Driver(folder, config)
    for number in range(TRIALS.get(sampler, NEW_WINDOW_EVERY + 14)):
        if number in restarts:
            driver.die()
            driver = Driver(folder, config)
        driver.end(driver.ask()["number"], HOW[number % len(HOW)])
    driver.die()
    return [trial.config for trial in driver.ledger.history.trials.values()]
