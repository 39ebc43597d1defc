"""Further fields of a trial as dimensions: from study.yaml to trials, tables, importances and confirmations."""

from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.commands.confirm import best_of_families, plan_of
from study.commands.importance import hyperparameter_importances
from study.config import StudyConfig, changes_by, parse_study
from study.config.yaml_loading import dump_yaml, load_yaml
from study.search.first_trials import first_trials
from study.search.space import dimensions, params_of, suggest
from study.search.warm_start import read_priors
from tests.study.search.test_searcher import Driver
from trainables.families import family_of

FIELDS: dict[str, Any] = {
    "recipe.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
    "penalty.squared": [True, False],
    "penalty.temperature": {"low": 0.01, "high": 1, "log": True, "when": {"family": "RE"}},
    "recipe.optimizer": ["adam", "sgd"],
    "recipe.weight_decay": {"values": [0, 1e-4], "when": {"recipe.optimizer": ["sgd"], "family": ["RS", "RE"]}},
    "regularize_epochs": {"low": 1, "high": 3},
    "recipe.batch_size": {"low": 16, "high": 64, "log": True},
    "width": 0.5,
}


def values_of(**fields: Any) -> dict[str, Any]:
    return {
        "name": "fields",
        "trials": 20,
        "trial": {"regularize_epochs": 3, "finetune_epochs": 1},
        "space": {"family": ["none", "RS", "RE"]} | (fields or FIELDS),
        "early_stopping": {"scheduler": "none"},
    }


def config_of(**fields: Any) -> StudyConfig:
    return parse_study(values_of(**fields), "study.yaml")


def test_fields_may_be_written_with_dots_nested_or_overridden() -> None:
    dotted = config_of(**{"recipe.learning_rate": {"low": 1e-4, "high": 1e-1}, "penalty.squared": [True, False]})
    dotted = dotted.with_absolute_paths()
    nested = config_of(recipe={"learning_rate": {"low": 1e-4, "high": 1e-1}}, penalty={"squared": [True, False]})
    assert dotted == nested.with_absolute_paths()
    assert parse_study(load_yaml(dump_yaml(dotted.model_dump()), "x"), "x") == dotted
    assert changes_by(["space.recipe.learning_rate.low=1.0e-4"], dotted) == []
    assert changes_by(["space.recipe.learning_rate.low=1.0e-3"], dotted) == ["space.recipe.learning_rate.low=1.0e-3"]


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_suggested_fields_are_valid_trials_and_conditions_hold(seed: int) -> None:
    config = config_of()
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=optuna.samplers.RandomSampler(seed=seed))
    optuna_trial = study.ask()
    searched = suggest(optuna_trial, config.space)
    trial = config.trial_config(searched)
    assert ("penalty.temperature" in searched) == (searched["family"] == "RE")
    assert ("recipe.weight_decay" in searched) == (
        searched["recipe.optimizer"] == "sgd" and searched["family"] in ("RS", "RE")
    )
    assert trial.recipe.learning_rate == searched["recipe.learning_rate"]
    assert trial.width == 0.5
    assert trial.epochs == 4
    assert 1 <= trial.regularize_epochs <= 3
    assert params_of(searched, config.space) == optuna_trial.params
    assert (trial.lam > 0) == family_of(trial.family).has_penalty


def test_anchors_have_the_values_of_trial() -> None:
    values = values_of()
    values["trial"] |= {"recipe": {"learning_rate": 0.01, "batch_size": 32}, "width": 0.5}
    params, _ = first_trials(parse_study(values, "x"))[1]
    assert params["recipe.learning_rate"] == 0.01
    assert params["recipe.optimizer"] == "adam"
    assert "recipe.weight_decay" not in params


def test_joint_tpe_proposes_only_dimensions_that_exist(tmp_path: Path) -> None:
    config = config_of(**{name: field for name, field in FIELDS.items() if name != "regularize_epochs"})
    driver = Driver(tmp_path, config.model_copy(update={"trials": 60}))
    driver.run(60)
    driver.die()
    seen = set()
    for trial in driver.ledger.history.trials.values():
        if trial.params:
            exist = {one.name for one in dimensions(config.space) if one.exists(trial.params)}
            assert set(trial.params) == exist
            seen |= exist
    assert seen == {one.name for one in dimensions(config.space)}


def test_levels_may_be_a_list(tmp_path: Path) -> None:
    """The sampler proposes its values alone, and study.yaml holds it so that it can be read again."""
    values = values_of(**{"recipe.learning_rate": FIELDS["recipe.learning_rate"]})
    values["space"] |= {"num_levels": [8, 2, 4]}
    config = parse_study(values, "study.yaml").with_absolute_paths()
    assert (config.space.num_levels.low, config.space.num_levels.high, config.most_levels) == (2, 8, 16)
    assert parse_study(load_yaml(dump_yaml(config.model_dump()), "x"), "x") == config
    driver = Driver(tmp_path, config.model_copy(update={"trials": 40}))
    driver.run(40)
    driver.die()
    proposed = [trial.config["num_levels"] for trial in driver.ledger.history.trials.values() if trial.params]
    assert set(proposed) == {2, 4, 8}
    assert params_of({"family": "none", "num_levels": 3, "placement": "kmeans"}, config.space) is None


def test_range_of_levels_is_written_as_before() -> None:
    assert parse_study(values_of(), "x").model_dump()["space"]["num_levels"] == {"low": 2, "high": 64}
    values = values_of()
    values["space"] |= {"num_levels": 4}
    assert parse_study(values, "x").space.num_levels.values == [4]


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([], r"num_levels must be a range or a list of distinct whole numbers, got \[\]"),
        ([2, 2], "distinct whole numbers"),
        ([2, 4.5], "distinct whole numbers"),
        ([1, 2], r"space\.num_levels\.low must be at least 2, got 1"),
        ([2, 100000], "must be at most 65536"),
        ({"low": 2, "high": 9, "values": [2, 4]}, "must have low and high, or values"),
        ("many", r"space\.num_levels must be a mapping"),
    ],
)
def test_wrong_levels_are_refused(levels: object, message: str) -> None:
    values = values_of()
    values["space"] |= {"num_levels": levels}
    with pytest.raises(ValueError, match=message):
        parse_study(values, "x")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown field": ({"recipe.rate": [1.0]}, r"unknown field of a trial 'recipe\.rate'; choose from"),
    "unknown section": ({"optimiser": {"rate": [1.0]}}, "unknown field of a trial 'optimiser'"),
    "seed": ({"seed": [1, 2]}, r"space\.seed must not be there"),
    "dataset": ({"dataset": ["digits"]}, r"space\.dataset must not be there, .*set it under trial"),
    "finetune": ({"finetune_epochs": [1]}, "search regularize_epochs"),
    "text as number": ({"recipe.learning_rate": ["a"]}, r"recipe\.learning_rate must have values .*a number, got 'a'"),
    "number as truth": ({"penalty.squared": [1, 0]}, r"penalty\.squared must have values .*true or false, got 1"),
    "range of truth": ({"penalty.squared": {"low": 0, "high": 1}}, "must be a list of values, each true or false"),
    "fraction": ({"recipe.batch_size": {"low": 2.5, "high": 8}}, "must have whole low and high, got 2.5 and 8"),
    "low above high": ({"recipe.learning_rate": {"low": 1.0, "high": 0.1}}, r"high must be at least low \(1\.0\)"),
    "log of 0": ({"recipe.weight_decay": {"low": 0, "high": 1, "log": True}}, "low must be above 0 on a log"),
    "infinite": ({"recipe.learning_rate": {"low": 1, "high": float("inf")}}, "low and high must be finite"),
    "no values": ({"penalty.squared": []}, r"values must be a list of at least 1, got \[\]"),
    "twice": ({"recipe.batch_size": [8, 8]}, "values must be distinct, got 8 twice"),
    "half a range": ({"recipe.learning_rate": {"low": 1e-3}}, "must have low and high, or a list"),
    "both": ({"width": {"low": 0.1, "high": 1.0, "values": [1.0]}}, "must have low and high, or a list"),
    "unknown key": ({"width": {"low": 0.1, "high": 1.0, "step": 0.1}}, "unknown key .*step"),
    "fixed": ({"width": {"values": [0.5, 1.0], "role": "fixed"}}, "a fixed dimension must have one value"),
    "role": ({"width": {"values": [0.5], "role": "science"}}, "role must be 'scientific', 'nuisance' or 'fixed'"),
    "unknown condition": ({"width": {"values": [0.5], "when": {"model": "x"}}}, "must name family, or a dimension"),
    "condition below": (
        {"recipe.warmup_epochs": {"values": [1], "when": {"penalty.squared": True}}, "penalty.squared": [True, False]},
        "must name family, or a dimension above it",
    ),
    "condition outside": ({"width": {"values": [0.5], "when": {"family": "RM"}}}, r"must be among .*got 'RM'"),
    "out of bounds": ({"recipe.batch_size": [1, 8]}, "space must hold valid trials, .*batch_size must be at least 2"),
    "bounds of a range": ({"recipe.learning_rate": {"low": 0.0, "high": 1.0}}, "learning_rate must be a finite number"),
    "rule of two fields": (
        {"recipe.penalty_application": ["coupled", "decoupled"], "recipe.lam_unit": ["gradient", "half_spacings"]},
        "lam_unit must be 'gradient' where penalty_application is 'coupled'",
    ),
    "too many epochs": (
        {"regularize_epochs": {"low": 1, "high": 9}},
        r"at most the epochs of both phases \(4\), got 9",
    ),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_malformed_fields_are_refused_in_one_line(case: str) -> None:
    fields, message = REFUSED[case]
    with pytest.raises(ValueError, match=message) as caught:
        config_of(**fields)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("study.yaml: ")


def test_tables_importances_warm_start_and_confirmation_follow(tmp_path: Path) -> None:
    from study.records.tables import write_tables
    from study.storage.folder import StudyFolder
    from trainables.files.tables import read_table
    from trainables.result import TRIAL_COLUMNS

    fields = {name: FIELDS[name] for name in ("recipe.learning_rate", "penalty.temperature")}
    fields["penalty.squared"] = {"values": [True, False], "role": "scientific"}
    config = config_of(**fields).model_copy(update={"trials": 40})
    (tmp_path / "first").mkdir()
    driver = Driver(tmp_path / "first", config)
    driver.run(40)
    folder = StudyFolder(driver.ledger.path.parent)
    write_tables(folder, driver.ledger.history, config.searched_fields)
    (folder.path / "study.yaml").write_text(dump_yaml(config.model_dump()))
    table = read_table(folder.trials, TRIAL_COLUMNS, remedy="", searched=True).to_pandas()
    assert list(table.columns[-3:]) == list(fields)
    for trial in driver.ledger.history.trials.values():
        row = table.loc[trial.number]
        assert row["recipe.learning_rate"] == trial.config["recipe"]["learning_rate"]
        assert row["penalty.squared"] == trial.config["penalty"]["squared"]

    importances = hyperparameter_importances(table)
    assert {"recipe.learning_rate", "penalty.squared"} <= set(importances["parameter"])
    priors = read_priors(config.model_copy(update={"warm_start": [str(folder.trials)]}))
    assert len(priors) == sum(bool(trial.params) for trial in driver.ledger.history.trials.values())
    assert all("recipe.learning_rate" in prior["params"] for prior in priors)

    history = driver.ledger.history
    levels = {trial.config["num_levels"] for trial in history.trials.values() if trial.is_front_candidate}
    groups = [
        (planned.family, planned.num_levels, planned.fields["penalty.squared"])
        for planned in best_of_families(history, levels, space=config.space)
    ]
    assert len(groups) == len(set(groups)), "one at each value of the scientific dimension"
    assert any((family, k, not squared) in groups for family, k, squared in groups)
    for planned in plan_of(history, 0.0, space=config.space):
        config.trial_config(planned.searched)
    driver.die()
    assert isinstance(importances, pd.DataFrame)


def grid_of(grid: Any, seeds: Any = 2, **changes: Any) -> StudyConfig:
    values = {"name": "grid", "space": {"family": ["none"]}, "plan": {"grid": grid, "seeds": seeds}} | changes
    return parse_study(values, "study.yaml")


def test_grid_is_all_combinations_that_trials_can_have() -> None:
    config = grid_of(
        {
            "family": ["none", "RS", "RM"],
            "num_levels": [2, 4],
            "lam": [1.0, 8.0],
            "placement": ["own", "kmeans"],
            "recipe": {"learning_rate": [1e-3, 1e-2]},
        },
        seeds=3,
    )
    assert config.replicates == 3
    assert len(config.plan) == 2 * 2 + 2 * 2 * 2 * 2 * 2
    assert config.trials == 3 * len(config.plan)
    assert {trial.lam for trial in config.plan if trial.family == "none"} == {0.0}
    trials = [config.trial_config(trial.searched) for trial in config.plan]
    assert len({trial.hash for trial in trials}) == len(trials)
    assert {trial.recipe.learning_rate for trial in trials} == {1e-3, 1e-2}
    assert parse_study(load_yaml(dump_yaml(config.model_dump()), "x"), "x") == config


def test_grid_may_hold_float_baselines() -> None:
    config = grid_of({"family": ["none", "RM"], "num_levels": [None, 4], "lam": [2.0]}, seeds=1)
    assert [(trial.family, trial.num_levels) for trial in config.plan] == [("none", None), ("none", 4), ("RM", 4)]


@pytest.mark.parametrize(
    ("grid", "seeds", "changes", "message"),
    [
        ({"family": ["none"]}, 2, {}, r"plan\.grid\.num_levels is missing"),
        ({"num_levels": [2]}, 2, {}, r"plan\.grid\.family is missing"),
        ({}, 2, {}, "plan must be a list of trials, or have the keys grid and seeds"),
        ([1], 2, {}, "plan must be a list of trials, or have the keys grid and seeds"),
        ({"family": ["none"], "num_levels": [2]}, 0, {}, r"plan\.seeds must be an integer of at least 1, got 0"),
        ({"family": ["none"], "num_levels": [2]}, "2", {}, r"plan\.seeds must be an integer"),
        ({"family": ["none"], "num_levels": []}, 2, {}, r"plan\.grid\.num_levels must be a list of at least 1"),
        (
            {"family": ["none"], "num_levels": [2]},
            2,
            {"trials": 9},
            "trials must be left out beside a grid, .*make it 2",
        ),
        ({"family": ["none"], "num_levels": [2]}, 2, {"replicates": 3}, "replicates must be left out beside a grid"),
        ({"family": ["RX"], "num_levels": [2]}, 2, {}, "unknown family 'RX'"),
        ({"family": ["RM"], "num_levels": [2], "lam": [-1.0]}, 2, {}, r"lam must be at least 0\.0, got -1\.0"),
        ({"family": ["RM"], "num_levels": [1], "lam": [1.0]}, 2, {}, "num_levels must be at least 2, got 1"),
        (
            {"family": ["none"], "num_levels": [2], "recipe.rate": [1]},
            2,
            {},
            r"unknown field of a trial 'recipe\.rate'",
        ),
        ({"family": ["none"], "num_levels": [2], "recipe.batch_size": [1]}, 2, {}, "batch_size must be at least 2"),
        ({"family": ["RM"], "num_levels": [None]}, 2, {}, "must hold a combination that a trial can have"),
    ],
)
def test_malformed_grids_are_refused(grid: Any, seeds: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        grid_of(grid, seeds, **changes)
    assert "\n" not in str(caught.value)
