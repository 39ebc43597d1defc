"""Groups of layers in study.yaml: their forms, the fields that are searched, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from study.cli import app
from study.config import StudyConfig, load_study, parse_study
from study.config.yaml_loading import dump_yaml, load_yaml
from study.search.first_trials import first_trials
from study.search.space import dimensions
from trainables.groups import check_groups
from trainables.models import build_model


def values_of(groups: object, space: dict[str, Any] | None = None, **trial: Any) -> dict[str, Any]:
    return {
        "name": "grouped",
        "trials": 3,
        "trial": {"model": "small_cnn", "dataset": "digits", "regularize_epochs": 1, "finetune_epochs": 0}
        | {"groups": groups}
        | trial,
        "space": {"family": ["none", "RM"]} | (space or {}),
        "early_stopping": {"scheduler": "none", "grace_period": 1},
    }


def config_of(groups: object, space: dict[str, Any] | None = None, **trial: Any) -> StudyConfig:
    return parse_study(values_of(groups, space, **trial), "study.yaml")


def test_short_forms_are_written_out_and_read_again() -> None:
    config = config_of({"first": "float", "body": {"layers": ["conv", "not first"], "num_levels": 4, "lam": 2}})
    assert config.trial["groups"] == {
        "first": {"layers": "first", "num_levels": "float", "lam": None, "placement": None},
        "body": {"layers": "conv, not first", "num_levels": 4, "lam": 2.0, "placement": None},
    }
    config = config.with_absolute_paths()
    assert parse_study(load_yaml(dump_yaml(config.model_dump()), "x"), "x") == config


def test_fields_of_a_group_are_searched_like_any_other() -> None:
    space = {
        "groups.body.num_levels": [2, 4, "float"],
        "groups.body.lam": {
            "low": 1,
            "high": 8,
            "log": True,
            "when": {"family": "RM", "groups.body.num_levels": [2, 4]},
        },
        "groups": {"head": {"placement": ["kmeans", "uniform"]}},
    }
    config = config_of({"body": {"layers": "conv", "num_levels": 4}, "head": {"layers": "linear"}}, space)
    assert {dimension.name for dimension in dimensions(config.space)} >= {
        "groups.body.num_levels",
        "groups.body.lam",
        "groups.head.placement",
    }
    trial = config.trial_config(
        {"family": "RM", "num_levels": 8, "groups.body.num_levels": 2, "groups.head.placement": "uniform"}
    )
    assert trial.groups["body"].num_levels == 2
    assert trial.groups["head"].placement == "uniform"
    # An anchor has the values of `trial` in all further fields.
    (_, first), *_ = first_trials(config)
    assert first["anchor"] == {"family": "none", "num_levels": None}


def test_auto_allocates_bits_between_the_default_choices() -> None:
    config = config_of("auto", {"allocation.bits": [1.5, 2.0]}, init="pretrained")
    assert config.trial["groups"] == {}
    assert config.trial["allocation"] == {"bits": None, "num_levels": [2, 4, 8, 16]}
    assert (config.space.num_levels.low, config.space.num_levels.high) == (16, 16)
    assert list(config.sensitivity_seeds) == [0]
    assert config.trial_config({"family": "none", "num_levels": 2, "allocation.bits": 1.5}).num_levels == 16
    assert config.trial_config({"family": "none", "num_levels": 2}).num_levels == 2
    own = config_of(
        {"first": "float"}, {"allocation.bits": [2.0]}, init="pretrained", allocation={"num_levels": [2, 32]}
    )
    assert own.trial["groups"]["first"]["num_levels"] == "float"
    assert own.space.num_levels.high == 32
    assert list(config_of({"first": "float"}).sensitivity_seeds) == []


PAGE = (Path(__file__).parents[3] / "docs" / "groups.md").read_text()
EXAMPLES = [part.split("```")[0] for part in PAGE.split("```yaml\n")[1:]]


@pytest.mark.parametrize("example", EXAMPLES, ids=["float ends", "own K", "auto"])
def test_examples_of_the_page_are_valid(example: str) -> None:
    values = load_yaml(example, "groups.md")
    assert isinstance(values, dict)
    rest = values_of({}) | {"baseline_epochs": 1 if "init" in values["trial"] else None}
    trial = {"model": "resnet20"} | values["trial"]
    config = parse_study(rest | {"trial": trial, "space": rest["space"] | values.get("space", {})}, "groups.md")
    plain = {"family": "none", "num_levels": None, "init": "scratch"}
    model = build_model("resnet20", (3, 32, 32), 10, seed=0)
    check_groups(config.trial_config(plain).groups, model)


def test_groups_may_be_set_on_the_command_line() -> None:
    config = load_study("digits", ["trial.groups.first=float", "trial.groups.last=float"])
    assert {name: group["num_levels"] for name, group in config.trial["groups"].items()} == {
        "first": "float",
        "last": "float",
    }


LAYERS = "['0', '3', '7', '12', '14']"
WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown word": (values_of({"body": {"layers": "convs"}}), ["groups.body.layers", "'convs'", "'conv'", LAYERS]),
    "empty pattern": (values_of({"body": {"layers": "conv, "}}), ["groups.body", "patterns of layers", "'conv, '"]),
    "no layers": (values_of({"body": {"num_levels": 4}}), ["groups.body", "layers", "'first'", "set it"]),
    "no match": (values_of({"body": {"layers": "features.*"}}), ["groups.body.layers", "'features.*'", LAYERS]),
    "no match to leave out": (values_of({"conv": {"layers": "conv, not x"}}), ["groups.conv.layers", "'x'"]),
    "nothing left": (values_of({"body": {"layers": "conv, not conv"}}), ["groups.body.layers", "leave a layer"]),
    "two groups": (values_of({"conv": 2, "first": "float"}), ["groups.first.layers", "'0'", "'conv'", "not 0"]),
    "K of 1": (values_of({"conv": 1}), ["groups.conv", "num_levels", "at least 2", "got 1"]),
    "K with a fraction": (values_of({"conv": 2.5}), ["groups.conv.num_levels", "integer", "2.5"]),
    "K of another word": (values_of({"conv": "none"}), ["groups.conv", "num_levels", "'float'", "'none'"]),
    "all float": (values_of({"conv": "float", "linear": "float"}), ["groups", "a layer to quantize", "all 5"]),
    "no identifier": (values_of({"my group": {"layers": "conv"}}), ["'my group'", "letters, digits and '_'"]),
    "name of an allocation": (values_of({"auto_2": {"layers": "conv"}}), ["trial.groups", "'auto_2'"]),
    "float with λ": (
        values_of({"conv": {"num_levels": "float", "lam": 2.0}}),
        ["groups.conv", "lam", "'float'", "2.0", "leave it out"],
    ),
    "float with a placement": (
        values_of({"conv": {"num_levels": "float", "placement": "kmeans"}}),
        ["groups.conv", "placement", "'float'", "'kmeans'"],
    ),
    "negative λ": (values_of({"conv": {"lam": -1.0}}), ["groups.conv", "lam", "at least 0", "-1.0"]),
    "unknown placement": (values_of({"conv": {"placement": "nowhere"}}), ["groups.conv", "placement 'nowhere'"]),
    "unknown key": (values_of({"conv": {"levels": 2}}), ["trial.groups.conv.levels", "num_levels"]),
    "a list": (values_of(["conv"]), ["trial.groups", "mapping", "['conv']"]),
    "another word than auto": (values_of("all"), ["trial.groups", "mapping", "'all'"]),
    "space of no group": (
        values_of({"conv": 2}, {"groups.head.num_levels": [2, 4]}),
        ["space.groups.head.num_levels", "'head'", "['conv']"],
    ),
    "space of an unknown field": (
        values_of({"conv": 2}, {"groups.conv.layers": ["conv", "linear"]}),
        ["groups.conv.layers", "groups.conv.num_levels"],
    ),
    "space of a bad K": (values_of({"conv": 2}, {"groups.conv.num_levels": [1, 4]}), ["space", "num_levels", "got 1"]),
    "space of λ in float": (
        values_of({"conv": "float"}, {"groups.conv.lam": {"low": 1, "high": 2}}),
        ["space", "groups.conv", "lam", "'float'"],
    ),
    "auto without bits": (values_of("auto", init="pretrained"), ["space.allocation.bits", "auto"]),
    "auto without a float network": (
        values_of("auto", {"allocation.bits": [2.0]}),
        ["trial.init", "'pretrained'", "'scratch'"],
    ),
    "bits without choices": (
        values_of({}, {"allocation.bits": [2.0]}, init="pretrained"),
        ["bits", "2.0", "trial.groups to auto"],
    ),
    "bits out of range": (
        values_of("auto", {"allocation.bits": [0.0, 2.0]}, init="pretrained"),
        ["bits", "above 0", "0.0"],
    ),
    "a single choice": (
        values_of({}, {"allocation.bits": [2.0]}, init="pretrained", allocation={"num_levels": [4]}),
        ["allocation", "at least 2 different", "[4]"],
    ),
    "no layer to allocate to": (
        values_of(
            {"conv": 2, "linear": 4}, {"allocation.bits": [2.0]}, init="pretrained", allocation={"num_levels": [2, 4]}
        ),
        ["trial.allocation", "a layer in no group", "all 5"],
    ),
}


@pytest.mark.parametrize(("values", "fragments"), WRONG.values(), ids=WRONG.keys())
def test_launch_refuses_in_one_line_and_writes_nothing(
    values: dict[str, Any], fragments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grouped.yaml").write_text(yaml.safe_dump(values))
    result = CliRunner().invoke(app, ["launch", "grouped.yaml"])
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert result.stderr.count("\n") == 1, result.stderr
    assert all(fragment in result.stderr for fragment in fragments), result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["grouped.yaml"]
