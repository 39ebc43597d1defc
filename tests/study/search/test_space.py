"""The search space: whatever a sampler draws is a valid configuration of a trial."""

from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.config import StudyConfig
from study.search.first_trials import first_trials
from study.search.space import ANCHOR, distributions, params_of, suggest
from tests.support.example_studies import study_config
from trainables.families import FAMILIES, PLACEMENTS


@st.composite
def spaces(draw: st.DrawFn) -> dict[str, Any]:
    low = draw(st.integers(2, 300))
    strengths = draw(st.tuples(st.floats(1e-12, 1e3), st.floats(1e-12, 1e3)))
    return {
        "family": draw(st.lists(st.sampled_from(sorted(FAMILIES)), min_size=1, unique=True)),
        "num_levels": {"low": low, "high": low + draw(st.integers(0, 300))},
        "lam": {"low": min(strengths), "high": max(strengths)},
        "lam_by_family": draw(st.sampled_from([{}, {"RE": {"low": 1e4, "high": 1e5}}])),
        "placement": draw(st.lists(st.sampled_from(PLACEMENTS), min_size=1, unique=True)),
    }


def optuna_study_of(config: StudyConfig, seed: int) -> optuna.Study:
    return optuna.create_study(
        directions=["maximize", "minimize"], sampler=optuna.samplers.RandomSampler(seed=seed), storage=None
    )


@given(spaces(), st.integers(0, 2**32 - 1))
def test_suggest_gives_valid_configs_inside_the_space(space: dict[str, Any], seed: int) -> None:
    config = study_config(space=space)
    optuna_study = optuna_study_of(config, seed)
    for _ in range(3):
        searched = suggest(optuna_study.ask(), config.space)
        trial = config.trial_config(searched)  # checks the rules of TrialConfig
        family = FAMILIES[trial.family]
        assert trial.family in space["family"]
        assert trial.placement in space["placement"] or (space["placement"] == ["own"] and trial.placement == "kmeans")
        assert trial.placement in family.placements
        assert trial.num_levels is not None
        assert space["num_levels"]["low"] <= trial.num_levels <= space["num_levels"]["high"]
        assert ("lam" in searched) == family.has_penalty
        if family.has_penalty:
            lam = space["lam_by_family"].get(trial.family, space["lam"])
            assert lam["low"] <= trial.lam <= lam["high"]


@given(spaces(), st.integers(0, 2**32 - 1))
def test_suggest_is_decided_by_the_seed(space: dict[str, Any], seed: int) -> None:
    config = study_config(space=space)
    drawn = [
        [suggest(optuna_study.ask(), config.space) for _ in range(3)]
        for optuna_study in (optuna_study_of(config, seed), optuna_study_of(config, seed))
    ]
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_draws_all_of_its_placements(family: str) -> None:
    config = study_config(space={"family": [family]})
    optuna_study = optuna_study_of(config, 0)
    drawn = {suggest(optuna_study.ask(), config.space)["placement"] for _ in range(50)}
    assert drawn == set(FAMILIES[family].placements)


def test_first_trials_are_baseline_then_plain_quantization_then_each_family() -> None:
    config = study_config(anchors={"num_levels": [2, 8, 3]})
    first = first_trials(config)
    assert all(ANCHOR in attributes for _, attributes in first), "none of them is stopped early"
    assert [attributes[ANCHOR] for _, attributes in first[:4]] == [
        {"family": "none", "num_levels": None},
        {"family": "none", "num_levels": 2, "placement": "kmeans"},
        {"family": "none", "num_levels": 8, "placement": "kmeans"},
        {"family": "none", "num_levels": 3, "placement": "kmeans"},
    ]
    families = [{"family": family} for family in ("none", "RS", "RC", "RM", "RE")]
    assert first[4:] == [(family, {ANCHOR: family}) for family in families]


def test_suggest_gives_the_first_trials_as_asked_for() -> None:
    config = study_config()
    optuna_study = optuna_study_of(config, 0)
    first = [(parameters, attributes) for parameters, attributes in first_trials(config) if parameters]
    for parameters, attributes in first:
        optuna_study.enqueue_trial(parameters, user_attrs=attributes)
    for _, attributes in first:
        searched = suggest(optuna_study.ask(), config.space)
        assert attributes[ANCHOR].items() <= searched.items()
        config.trial_config(searched)


@pytest.mark.parametrize(
    "space",
    [
        {"family": ["RS"]},
        {"family": ["none"], "num_levels": {"low": 3, "high": 8}},
        {"family": ["none"], "placement": ["uniform"]},
    ],
    ids=["family", "K", "placement"],
)
def test_anchor_outside_the_space_has_no_parameters(space: dict[str, Any]) -> None:
    config = study_config(space=space, anchors={"num_levels": [2]})
    parameters, attributes = first_trials(config)[1]
    assert parameters == {}
    assert attributes == {ANCHOR: {"family": "none", "num_levels": 2, "placement": "kmeans"}}


@given(spaces(), st.integers(0, 2**32 - 1))
def test_distributions_and_parameters_are_those_that_suggest_uses(space: dict[str, Any], seed: int) -> None:
    config = study_config(space=space)
    optuna_trial = optuna_study_of(config, seed).ask()
    searched = suggest(optuna_trial, config.space)
    assert distributions(config.space, searched["family"]) == optuna_trial.distributions
    assert params_of(searched, config.space) == optuna_trial.params


@pytest.mark.parametrize(
    "change",
    [
        {"family": "RC"},
        {"family": "none"},
        {"num_levels": None},
        {"num_levels": 3},
        {"num_levels": 9},
        {"lam": 9e-6},
        {"lam": 2e-2},
        {"lam": None},
        {"placement": "uniform"},
        {"placement": None},
    ],
    ids=str,
)
def test_configuration_outside_the_space_has_no_parameters(change: dict[str, Any]) -> None:
    config = study_config(
        space={"family": ["RS", "RM"], "num_levels": {"low": 4, "high": 8}, "placement": ["own", "kmeans"]}
    )
    inside = {"family": "RS", "num_levels": 4, "lam": 1e-3, "placement": "own"}
    assert params_of(inside, config.space) == inside
    assert params_of(inside | change, config.space) is None


def test_family_with_a_range_of_its_own_has_a_parameter_of_its_own() -> None:
    space = study_config(space={"lam_by_family": {"RE": {"low": 8.0, "high": 128.0}}}).space
    names = {family: [name for name in distributions(space, family) if "lam" in name] for family in space.family}
    assert names == {"none": [], "RS": ["lam"], "RC": ["lam"], "RM": ["lam"], "RE": ["lam_RE"]}
    assert params_of({"family": "RE", "num_levels": 4, "lam": 1e-3, "placement": "own"}, space) is None


def test_anchor_inside_the_space_teaches_optuna() -> None:
    config = study_config(anchors={"num_levels": [4]})
    optuna_study = optuna_study_of(config, 0)
    parameters, attributes = first_trials(config)[1]
    optuna_study.enqueue_trial(parameters, user_attrs=attributes)
    optuna_trial = optuna_study.ask()
    suggest(optuna_trial, config.space)
    assert {"family": "none", "num_levels": 4}.items() <= optuna_trial.params.items()


def test_families_of_the_anchors_are_trained_at_each_of_their_levels() -> None:
    space = {"family": ["none", "RS"], "lam": {"low": 2.0, "high": 32.0}}
    config = study_config(anchors={"num_levels": [2, 4], "family": ["none", "RS", "RE"]}, space=space)
    anchors = [attributes[ANCHOR] for _, attributes in first_trials(config)][1:7]
    assert anchors == [
        {"family": "none", "num_levels": 2, "placement": "kmeans"},
        {"family": "RS", "num_levels": 2, "placement": "own", "lam": 8.0},
        {"family": "RE", "num_levels": 2, "placement": "own", "lam": 8.0},
        {"family": "none", "num_levels": 4, "placement": "kmeans"},
        {"family": "RS", "num_levels": 4, "placement": "own", "lam": 8.0},
        {"family": "RE", "num_levels": 4, "placement": "own", "lam": 8.0},
    ]
    assert [bool(parameters) for parameters, _ in first_trials(config)][1:4] == [True, True, False]


def test_float_baseline_is_the_first_trial_without_any_other_anchor() -> None:
    first = first_trials(study_config(anchors={"num_levels": []}, space={"family": ["RM"]}))
    assert first == [
        ({}, {ANCHOR: {"family": "none", "num_levels": None}}),
        ({"family": "RM"}, {ANCHOR: {"family": "RM"}}),
    ]


def test_first_of_a_family_is_compared_where_a_study_has_it_so() -> None:
    config = study_config(early_stopping={"grace_period": 1, "first_of_family": "compared"})
    assert [attributes for _, attributes in first_trials(config)[-5:]] == [{}] * 5
