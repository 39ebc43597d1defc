"""Rules of the estimator of version 2, which knows more of a study than its window shows, and those of version 1."""

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import IntDistribution

from study.config.loading import parse_written_study
from study.ledger.history import KnownResult
from study.search.sampling.tpe import MOST_GOOD_OF_STUDY, JointTPE, StudyKnowledge
from tests.study.search.test_searcher import Driver, config_of
from tests.support.proposals import HOW

SMALL = {"family": ["none"], "num_levels": {"low": 2, "high": 60}, "placement": ["kmeans", "uniform"]}
"""A space of 118 configurations."""

RECORDED = [
    ("none", None, 0),
    ("none", 2, 0),
    ("none", 4, 0),
    ("none", 9, 0),
    ("RS", 9, 5.552812e-05),
    ("none", 2, 0),
    ("RS", 53, 0.0004480373),
    ("none", 3, 0),
    ("none", 3, 0),
    ("none", 20, 0),
    ("RS", 7, 0.001011014),
    ("none", 63, 0),
    ("none", 55, 0),
    ("RS", 56, 0.0008374375),
    ("RS", 53, 2.284709e-05),
    ("RS", 44, 4.692965e-05),
    ("RS", 48, 2.198235e-05),
    ("RS", 23, 0.00253925),
    ("none", 5, 0),
    ("RS", 18, 0.0004963091),
    ("none", 12, 0),
    ("none", 6, 0),
    ("RS", 20, 0.00016963),
    ("RS", 59, 0.007646805),
    ("RS", 42, 0.009665874),
    ("RS", 4, 0.0009728364),
    ("RS", 38, 0.00114154),
    ("RS", 2, 0.004690494),
    ("RS", 7, 0.001786487),
    ("RS", 51, 1.052217e-05),
    ("RS", 2, 0.000311587),
    ("RS", 9, 0.000561537),
    ("RS", 22, 0.001999397),
    ("RS", 17, 1.716043e-05),
    ("RS", 2, 0.0001309965),
    ("RS", 12, 0.000267494),
    ("RS", 64, 0.0005397378),
    ("RS", 2, 9.126829e-05),
    ("none", 61, 0),
    ("RS", 4, 0.004796612),
]
"""Family, K and λ of a study of version 1, as the code before version 2 proposed them."""


def searched(folder: Path, config: Any, trials: int) -> Driver:
    """Return the driver of a study whose trials have ended, one at a time."""
    driver = Driver(folder, config)
    for number in range(trials):
        driver.end(driver.ask()["number"], HOW[number % len(HOW)])
    driver.die()
    return driver


def repeats(driver: Driver) -> int:
    """Return the number of proposals that were answered with a known result."""
    return sum(isinstance(proposal, KnownResult) for proposal in driver.ledger.history.proposals)


def test_configurations_that_have_begun_are_passed_over(tmp_path: Path) -> None:
    """Only random proposals repeat a configuration."""
    counts = []
    for version in (1, 2):
        (tmp_path / str(version)).mkdir()
        config = config_of(space=SMALL, trials=70, sampler_version=version)
        counts.append(repeats(searched(tmp_path / str(version), config, 70)))
    assert counts[1] < 0.6 * counts[0]


def test_proposal_is_random_where_every_candidate_is_taken() -> None:
    seen: list[Any] = []

    def is_taken(params: Any) -> bool:
        seen.append(params["x"])
        return True

    knowledge = StudyKnowledge(finished=20, is_taken=is_taken)
    sampler = JointTPE(None, 0, random_share=0.0, knowledge=knowledge)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    for x in range(20):
        trial = optuna.trial.create_trial(
            params={"x": x}, distributions={"x": IntDistribution(0, 1000)}, values=[x / 20, 1.0]
        )
        study.add_trial(trial)
    study.ask({"x": IntDistribution(0, 1000)})
    assert len(seen) == 64


@pytest.mark.parametrize(
    ("in_sight", "finished", "good"),
    [(20, 20, 2), (100, 100, 10), (100, 300, 30), (120, 500, 50), (150, 10_000, MOST_GOOD_OF_STUDY), (12, 10_000, 6)],
)
def test_a_tenth_of_the_whole_study_is_good_as_far_as_the_window_shows_it(
    in_sight: int, finished: int, good: int
) -> None:
    knowledge = StudyKnowledge(finished=finished, is_taken=lambda params: False)
    assert JointTPE(None, 0, knowledge=knowledge)._number_of_good(in_sight) == good


def test_study_of_an_earlier_version_goes_on_by_its_rules(tmp_path: Path) -> None:
    values = config_of(space={"family": ["none", "RS"]}, trials=40).model_dump()
    assert parse_written_study(values, "study.yaml").sampler_version == 2
    values.pop("sampler_version")
    config = parse_written_study(values, "study.yaml")
    assert config.sampler_version == 1
    trials = searched(tmp_path, config, 40).ledger.history.trials.values()
    proposed = [(trial.config["family"], trial.config["num_levels"], trial.config["lam"]) for trial in trials]
    assert len(proposed) == len(RECORDED)
    for ours, recorded in zip(proposed, RECORDED, strict=True):
        assert ours[:2] == recorded[:2]
        assert math.isclose(ours[2], recorded[2], rel_tol=1e-5)
