"""Configurations: each rule, the way back from a dictionary, and what the hash tells apart."""

import hashlib
import json
import math
import re
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.choices import choose
from trainables.config import ADDED, PenaltyForm, Recipe, TrialConfig
from trainables.config.earlier_versions import EARLIER_DEFAULTS
from trainables.families import FAMILIES, Family

IMPORT_PATH = "<module>:<attribute>"
PLAIN: dict[str, Any] = {"family": "RM", "num_levels": 4}
BASELINE: dict[str, Any] = {"family": "none", "num_levels": 4}

positive = st.floats(1e-9, 1e9)
recipes = st.fixed_dictionaries(
    {},
    optional={
        "batch_size": st.integers(2, 4096),
        "optimizer": st.sampled_from(["adam", "sgd"]),
        "learning_rate": positive,
        "finetune_learning_rate": positive,
        "representative_learning_rate": positive,
        "schedule": st.sampled_from(["cosine", "step"]),
        "warmup_epochs": st.floats(0, 10),
        "lam_warmup_epochs": st.floats(0, 10),
        "weight_decay": st.floats(0, 1),
        "decay_quantized": st.booleans(),
        "augmentation": st.sampled_from(["none", "crop_flip"]),
        "recalibration_batches": st.integers(0, 50),
        "coding": st.sampled_from(["compact", "entropy", "huffman"]),
    },
)
penalties = st.fixed_dictionaries(
    {},
    optional={
        "reduction": st.sampled_from(["sum", "mean"]),
        "squared": st.booleans(),
        "scale": st.booleans(),
        "bounded": st.booleans(),
        "temperature": positive,
        "final_temperature": positive,
        "initial": st.sampled_from(["quantiles", "grid", "kmeans"]),
    },
)


PENALIZED = {name: family.has_penalty for name, family in FAMILIES.items()}
PLACEMENTS = {name: family.placements for name, family in FAMILIES.items()}


@st.composite
def trials(draw: st.DrawFn) -> dict[str, Any]:
    """Any configuration that keeps the rules, as a dictionary."""
    name = draw(st.sampled_from(sorted(FAMILIES)))
    return {
        "family": name,
        "num_levels": draw(st.integers(2, 4096) | st.none() if name == "none" else st.integers(2, 4096)),
        "lam": draw(st.floats(0, 1e6)) if PENALIZED[name] else 0.0,
        "placement": draw(st.sampled_from(PLACEMENTS[name])),
        "seed": draw(st.integers(0, 2**32)),
        "validation_fraction": draw(st.floats(0.01, 0.99)),
        "regularize_epochs": draw(st.integers(1, 500)),
        "finetune_epochs": draw(st.integers(0, 500)),
        "recipe": draw(recipes),
        "penalty": draw(penalties),
    }


@pytest.mark.parametrize(
    ("kind", "good", "name", "bad"),
    [
        *((Recipe, {}, "batch_size", bad) for bad in (1, 0, -1)),
        *(
            (Recipe, {}, name, bad)
            for name in ("learning_rate", "finetune_learning_rate", "representative_learning_rate")
            for bad in (0.0, -1e-3, math.inf, math.nan)
        ),
        *(
            (Recipe, {}, name, bad)
            for name in ("weight_decay", "warmup_epochs", "lam_warmup_epochs")
            for bad in (-1e-4, math.inf, math.nan)
        ),
        (Recipe, {}, "recalibration_batches", -1),
        *(
            (PenaltyForm, {}, name, bad)
            for name in ("temperature", "final_temperature")
            for bad in (0.0, -0.25, math.inf, math.nan)
        ),
        *((TrialConfig, PLAIN, "num_levels", bad) for bad in (1, 0, -4, None)),
        *((TrialConfig, PLAIN, "lam", bad) for bad in (-1e-3, math.inf, math.nan)),
        (TrialConfig, BASELINE, "lam", 1e-3),
        (TrialConfig, PLAIN, "seed", -1),
        *((TrialConfig, PLAIN, "width", bad) for bad in (0.0, -1.0, math.inf, math.nan)),
        *((TrialConfig, PLAIN, "subset", bad) for bad in (0, -5)),
        *((TrialConfig, PLAIN, "validation_fraction", bad) for bad in (0.0, 1.0, -0.1, 1.5, math.nan, math.inf)),
        *((TrialConfig, PLAIN, "regularize_epochs", bad) for bad in (0, -1)),
        (TrialConfig, PLAIN, "finetune_epochs", -1),
    ],
)
def test_config_names_field_and_value_when_a_value_is_bad(
    kind: type, good: dict[str, Any], name: str, bad: object
) -> None:
    kind(**good)
    with pytest.raises(ValueError, match=f"^{name} must be .*, got {bad!r}; ."):
        kind(**good | {name: bad})


@pytest.mark.parametrize(
    ("kind", "good", "name", "choices"),
    [
        (Recipe, {}, "optimizer", ["adam", "sgd"]),
        (Recipe, {}, "schedule", ["cosine", "step"]),
        (Recipe, {}, "augmentation", ["crop_flip", "none"]),
        (PenaltyForm, {}, "reduction", ["mean", "sum"]),
        (PenaltyForm, {}, "initial", ["grid", "kmeans", "quantiles"]),
        (TrialConfig, PLAIN, "family", [IMPORT_PATH, *sorted(FAMILIES)]),
        (TrialConfig, PLAIN, "init", ["pretrained", "scratch"]),
        (TrialConfig, PLAIN, "placement", [IMPORT_PATH, "kmeans", "own", "uniform"]),
        (TrialConfig, BASELINE, "placement", [IMPORT_PATH, "kmeans", "uniform"]),
    ],
)
def test_config_lists_the_choices_when_a_name_is_unknown(
    kind: type, good: dict[str, Any], name: str, choices: list[str]
) -> None:
    kind(**good)
    with pytest.raises(ValueError, match=f"unknown {name}") as error:
        kind(**good | {name: "RX"})
    assert "'RX'" in str(error.value)
    assert str(error.value).endswith(f"choose from {choices}")


def test_config_refuses_own_placement_when_the_family_has_no_representatives() -> None:
    with pytest.raises(
        ValueError, match=r"placement .*'none'.*'own'; choose from \['<module>:<attribute>', 'kmeans', 'uniform'\]"
    ):
        TrialConfig(**BASELINE, placement="own")


def test_choose_returns_known_names_alone() -> None:
    assert choose("family", "RM", FAMILIES) == "RM"
    known = re.escape(str(sorted(FAMILIES)))
    with pytest.raises(ValueError, match=f"^unknown family 'rm'; choose from {known}$"):
        choose("family", "rm", FAMILIES)


@given(trial=trials())
def test_from_dict_is_the_inverse_of_to_dict(trial: dict[str, Any]) -> None:
    config = TrialConfig.from_dict(trial)
    values = config.to_dict()
    assert TrialConfig.from_dict(values) == config
    restored = TrialConfig.from_dict(json.loads(json.dumps(values)))
    assert restored == config
    assert restored.hash == config.hash
    assert values == config.to_dict()  # not used up
    for name, value in trial.items():
        assert values[name] == (values[name] | value if isinstance(value, dict) else value)


@pytest.mark.parametrize(
    ("values", "unknown"),
    [
        (PLAIN | {"lambda": 0.1}, "lambda"),
        (PLAIN | {"recipe": {"momentum": 0.9}}, "momentum"),
        (PLAIN | {"penalty": {"tau": 0.1}}, "tau"),
    ],
    ids=["trial", "recipe", "penalty"],
)
def test_from_dict_names_the_key_when_it_is_unknown(values: dict[str, Any], unknown: str) -> None:
    with pytest.raises(ValueError, match=f"unknown key '(.*[.])?{unknown}'; choose from"):
        TrialConfig.from_dict(values)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"subset": True}, "subset"),
        ({"seed": 1.0}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"width": "1e-3"}, "width"),
        ({"recipe": {"weight_decay": True}}, "recipe.weight_decay"),
        ({"penalty": {"temperature": True}}, "penalty.temperature"),
        ({"penalty": {"squared": 1}}, "penalty.squared"),
        ({"recipe": 3}, "recipe"),
    ],
)
def test_from_dict_converts_no_value_to_another_type(values: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be [^\n]*$"):
        TrialConfig.from_dict(PLAIN | values)


def test_from_dict_checks_nested_values() -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 2, got 0"):
        TrialConfig.from_dict(PLAIN | {"recipe": {"batch_size": 0}})


@given(trial=trials(), seed=st.integers(0, 2**32), data_dir=st.text())
def test_hash_ignores_the_seed_and_where_data_lie(trial: dict[str, Any], seed: int, data_dir: str) -> None:
    config = TrialConfig.from_dict(trial)
    replicate = TrialConfig.from_dict(config.to_dict() | {"seed": seed, "data_dir": data_dir})
    assert replicate.hash == config.hash
    assert len(config.hash) == 12
    assert set(config.hash) <= set("0123456789abcdef")


NO_PART_OF_THE_NAME = {"seed", "data_dir", "evaluate_test"}
OTHER_VALUES: dict[str, Any] = {
    "family": "RE",
    "num_levels": 8,
    "lam": 0.5,
    "placement": "uniform",
    "model": "vgg16",
    "model_options": {"dropout": 0.5},
    "width": 0.5,
    "init": "pretrained",
    "initial_weights": "float.pt",
    "sources": "0123456789ab",
    "subset": 100,
    "dataset": "cifar10",
    "validation_fraction": 0.5,
    "regularize_epochs": 3,
    "finetune_epochs": 0,
    "recipe": {"learning_rate": 0.5},
    "penalty": {"squared": True},
    "groups": {"first": "float"},
    "allocation": {"bits": 2.0, "num_levels": [2, 4]},
}


@pytest.mark.parametrize("name", sorted({field.name for field in fields(TrialConfig)} - NO_PART_OF_THE_NAME))
def test_hash_tells_every_other_field_apart(name: str) -> None:
    other = TrialConfig.from_dict(PLAIN | {name: OTHER_VALUES[name]})
    assert other.hash != TrialConfig(**PLAIN).hash


@pytest.mark.parametrize("nested", [None, "recipe", "penalty"])
def test_hash_is_the_same_when_configurations_are_equal(nested: str | None) -> None:
    # YAML reads `1` as an int and `1.0` as a float; both ask for the same trial.
    changes: dict[str | None, tuple[dict[str, Any], dict[str, Any]]] = {
        None: ({"lam": 1}, {"lam": 1.0}),
        "recipe": ({"recipe": {"learning_rate": 1}}, {"recipe": {"learning_rate": 1.0}}),
        "penalty": ({"penalty": {"temperature": 1}}, {"penalty": {"temperature": 1.0}}),
    }
    whole, fraction = (TrialConfig.from_dict(PLAIN | change) for change in changes[nested])
    assert whole == fraction
    assert whole.hash == fraction.hash


@pytest.mark.parametrize(("family", "placement"), [("RM", "own"), ("RS", "own"), ("none", "kmeans")])
def test_placement_is_the_family_s_own_where_it_has_one(family: str, placement: str) -> None:
    config = TrialConfig(family=family, num_levels=4)
    assert config.placement == placement
    assert config == TrialConfig(family=family, num_levels=4, placement=placement)


def test_stored_configuration_has_the_defaults_of_its_version() -> None:
    stored = TrialConfig(**PLAIN, placement="kmeans").to_dict()
    for section, earlier in EARLIER_DEFAULTS.items():
        for name in earlier:
            del stored[section][name]
    config = TrialConfig.from_stored(stored)
    for section, earlier in EARLIER_DEFAULTS.items():
        assert earlier.items() <= config.to_dict()[section].items()
        assert earlier != {name: TrialConfig(**PLAIN).to_dict()[section][name] for name in earlier}
    assert config.hash != TrialConfig(**PLAIN, placement="kmeans").hash
    complete = TrialConfig(**PLAIN)
    assert TrialConfig.from_stored(complete.to_dict()) == complete


def test_hash_of_a_version_without_the_added_fields_leaves_them_out() -> None:
    stored = TrialConfig(**PLAIN, placement="kmeans").to_dict()
    sections = {section: stored[section] if section else stored for section in ADDED}
    for section, added in ADDED.items():
        sections[section] |= added
    earlier = TrialConfig.from_stored(stored)
    for section, added in ADDED.items():
        for name in added:
            del sections[section][name]
    del stored["seed"], stored["data_dir"], stored["evaluate_test"]
    as_floats = json.loads(json.dumps(stored), parse_int=float)
    as_floats = json.loads(json.dumps(as_floats).replace("true", "1.0").replace("false", "0.0"))
    expected = hashlib.sha256(json.dumps(as_floats, sort_keys=True).encode()).hexdigest()[:12]
    assert earlier.hash == expected


def test_epochs_are_those_of_both_phases() -> None:
    assert TrialConfig(**PLAIN, regularize_epochs=7, finetune_epochs=4).epochs == 11
    assert TrialConfig(**PLAIN, regularize_epochs=7, finetune_epochs=0).epochs == 7


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())
def test_families_say_whose_they_are(family: Family) -> None:
    assert all([family.title, family.penalty, family.representatives, family.given, family.source, family.ours])
    assert ("own" in family.placements) == family.has_representatives
    assert {"kmeans", "uniform"} <= set(family.placements)
