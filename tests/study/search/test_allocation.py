"""Trials with allocated bits: their groups come from the ledger's costs, and seeds share its hash."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from study.config import StudyConfig, parse_study
from study.ledger.facts import MEASURED
from study.ledger.ledger import Ledger
from study.ledger.reading import read_history
from study.records.tables import provenance_of
from study.records.trial_table import trial_row
from study.run.sensitivities import measure_sensitivities
from study.search.allocation import with_allocated_groups
from study.storage.folder import StudyFolder
from tests.study.search.test_searcher import Driver
from trainables.config import TrialConfig
from trainables.groups.allocation import Choice
from trainables.groups.sensitivity import Sensitivity


def sensitivity(costly: str) -> dict[str, Any]:
    """Costs of two layers of 800 weights, one of which loses much more."""
    choices = {
        layer: [
            Choice(num_levels=2**b, num_bytes=100 * b, loss=(10.0 if layer == costly else 0.1) / 4**b)
            for b in (1, 2, 3)
        ]
        for layer in ("a.weight", "b.weight")
    }
    whole = Sensitivity(loss=0.0, choices=choices, grouped={}, other_bytes=0, num_parameters=1600)
    return dict(json.loads(json.dumps(whole.to_dict())))


def config_of(**changes: Any) -> StudyConfig:
    values = {
        "name": "small",
        "trials": 20,
        "replicates": 2,
        "trial": {
            "regularize_epochs": 3,
            "finetune_epochs": 1,
            "init": "pretrained",
            "allocation": {"num_levels": [2, 4, 8]},
        },
        "space": {"family": ["none"], "allocation.bits": [2.0, 3.0]},
        "anchors": {"num_levels": [4]},
        "early_stopping": {"scheduler": "none"},
    }
    return parse_study(values | changes, "study.yaml")


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    driver = Driver(tmp_path, config_of())
    for seed, costly in ((0, "a.weight"), (1, "b.weight")):
        driver.ledger.record(MEASURED, seed=seed, sensitivity=sensitivity(costly))
    return driver


def levels(config: TrialConfig) -> dict[str, object]:
    return {layer: group.num_levels for group in config.groups.values() for layer in group.patterns}


def test_trials_are_recorded_with_the_groups_that_their_bits_give(driver: Driver) -> None:
    configs = []
    for _ in range(8):
        suggestion = driver.ask()
        configs.append(TrialConfig.from_stored(suggestion["trial"]))
        driver.end(suggestion["number"])
    floats, anchor, *others = configs
    assert (floats.num_levels, floats.groups) == (None, {})
    assert (anchor.num_levels, anchor.groups) == (4, {})  # anchors have one K for all layers
    given = {(config.allocation.bits, config.seed): levels(config) for config in others}
    assert given.items() >= {(2.0, 0): {"a": 8, "b": 2}}.items()
    assert all(config.allocation.bits is not None for config in others)
    assert all(set(chosen.values()) == {8} for (bits, _), chosen in given.items() if bits == 3.0)
    rows = [trial_row(trial) for _, trial in sorted(driver.ledger.history.trials.items())]
    assert [row["groups"] for row in rows][:2] == [None, None]
    assert "auto_2: 2 (b); auto_8: 8 (a)" in {row["groups"] for row in rows}


def test_seeds_have_their_own_groups_and_one_hash(driver: Driver) -> None:
    config = config_of()
    history = driver.ledger.history
    searched = {"family": "none", "num_levels": 8, "allocation.bits": 2.0}
    first, second = (with_allocated_groups(config.trial_config(searched | {"seed": seed}), history) for seed in (0, 1))
    assert levels(first) == {"a": 8, "b": 2}
    assert levels(second) == {"b": 8, "a": 2}
    assert first.hash == second.hash == config.trial_config(searched).hash
    assert first.hash != config.trial_config(searched | {"allocation.bits": 3.0}).hash
    assert TrialConfig.from_stored(first.to_dict()) == first
    further = with_allocated_groups(config.trial_config(searched | {"seed": 7}), history)
    assert levels(further) == levels(first)


def test_measured_costs_are_read_again_and_not_measured_twice(driver: Driver, tmp_path: Path) -> None:
    driver.ledger.commit()
    again = read_history(tmp_path / "ledger.jsonl")
    assert again.sensitivities == driver.ledger.history.sensitivities
    assert provenance_of(again)["sensitivities"] == again.sensitivities
    output = StringIO()
    # Without Ray: nothing is left to measure.
    measure_sensitivities(StudyFolder(tmp_path), config_of(), driver.ledger, {}, Console(file=output))
    assert output.getvalue() == ""
    with pytest.raises(ValueError, match="sensitivity of seed 0 must be measured once"):
        driver.ledger.record(MEASURED, seed=0, sensitivity=sensitivity("a.weight"))


def test_damaged_costs_are_refused(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    values = sensitivity("a.weight")
    values["choices"]["a.weight"][0]["loss"] = "much"
    with pytest.raises(ValueError, match="loss"):
        ledger.record(MEASURED, seed=0, sensitivity=values)


def test_bits_without_costs_are_refused_in_one_line(tmp_path: Path) -> None:
    config = config_of().trial_config({"family": "none", "num_levels": 8, "allocation.bits": 2.0})
    with pytest.raises(ValueError, match=r"trial.allocation needs measured costs, got none; .*qar launch"):
        with_allocated_groups(config, Ledger(tmp_path / "ledger.jsonl").history)
