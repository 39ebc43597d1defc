"""Wrong import paths, spaces and grids at launch: one clear line each, exit status 2, and nothing is written."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from study.cli import app
from study.config.yaml_loading import dump_yaml
from tests.support.example_studies import files_below

CODE = """
import torch
from torch import nn
from trainables.regularizers import family

number = 3

def no_network(image_shape, num_classes):
    return "a network"

def other_arguments(height):
    return nn.Linear(height, 10)

class Narrow(nn.Module):
    def __init__(self, image_shape, num_classes):
        super().__init__()
        self.inner = nn.Conv2d(image_shape[0], 4, 3)
        self.head = nn.Linear(4, num_classes - 1)

    def forward(self, x):
        return self.head(self.inner(x).mean((2, 3)))

def raises(image_shape, num_classes):
    raise RuntimeError("no such\\nweights")

def undeclared(weights, representatives):
    return (weights[:, None] - representatives).square().amin(1)

@family(formula="w²", source="none", trained=False)
def one_number(weights, representatives):
    return weights.square().sum()

def few(weights, num_levels):
    return weights[:1]

def no_arrays():
    return 1, 2
"""

PATHS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no module": ({"trial": {"model": "nolab.nets:resnet"}}, ["model", "'nolab.nets:resnet'", "nolab"]),
    "no attribute": ({"trial": {"model": "wronglab:resnet"}}, ["model", "'wronglab:resnet'", "attribute"]),
    "nothing after the colon": ({"trial": {"model": "wronglab:"}}, ["model", "'wronglab:'"]),
    "syntax": ({"trial": {"model": "brokenlab:resnet"}}, ["model", "'brokenlab:resnet'"]),
    "no callable": ({"trial": {"model": "wronglab:number"}}, ["model", "'wronglab:number'", "int"]),
    "no network": ({"trial": {"model": "wronglab:no_network"}}, ["'wronglab:no_network'", "str"]),
    "other arguments": ({"trial": {"model": "wronglab:other_arguments"}}, ["'wronglab:other_arguments'", "height"]),
    "unknown option": (
        {"trial": {"model": "wronglab:Narrow", "model_options": {"depth": 20}}},
        ["'wronglab:Narrow'", "depth"],
    ),
    "output shape": ({"trial": {"model": "wronglab:Narrow"}}, ["'wronglab:Narrow'", "10", "9"]),
    "model that raises": ({"trial": {"model": "wronglab:raises"}}, ["'wronglab:raises'", "no such weights"]),
    "family without a declaration": ({"space": {"family": ["wronglab:undeclared"]}}, ["'wronglab:undeclared'"]),
    "penalty of another shape": ({"space": {"family": ["wronglab:one_number"]}}, ["'wronglab:one_number'"]),
    "family that is missing": ({"space": {"family": ["wronglab:nothing"]}}, ["family", "'wronglab:nothing'"]),
    "placement of too few": ({"space": {"placement": ["wronglab:few"]}}, ["placement", "'wronglab:few'"]),
    "data without arrays": ({"trial": {"dataset": "wronglab:no_arrays"}}, ["dataset", "'wronglab:no_arrays'"]),
    "folder that is missing": (
        {"trial": {"dataset": "folder:nowhere"}},
        ["nowhere", "there must be a folder of images"],
    ),
}
SPACES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown field": ({"space": {"recipe.rate": [0.1]}}, ["'recipe.rate'", "choose from"]),
    "unknown option of a field": ({"space": {"width": {"low": 0.1, "high": 1.0, "step": 1}}}, ["step", "choose from"]),
    "range upside down": ({"space": {"width": {"low": 1.0, "high": 0.5}}}, ["space.fields.width", "0.5"]),
    "log of 0": ({"space": {"recipe.weight_decay": {"low": 0, "high": 1, "log": True}}}, ["weight_decay", "above 0"]),
    "text as a number": ({"space": {"recipe.batch_size": ["many"]}}, ["space.recipe.batch_size", "'many'"]),
    "seed": ({"space": {"seed": [1, 2]}}, ["space.seed", "set it under trial"]),
    "condition on nothing": (
        {"space": {"width": {"values": [0.5, 1.0], "when": {"family": "RM"}}}},
        ["space.width.when.family", "'RM'"],
    ),
    "levels": ({"space": {"num_levels": [2, "4"]}}, ["space.num_levels", "'4'"]),
    "value that no trial can have": ({"space": {"width": [-1.0]}}, ["width", "-1"]),
    "λ of a family without a penalty": (
        {"space": {"family": ["none"], "lam_by_family": {"none": {"low": 1, "high": 2}}}},
        ["lam_by_family", "none"],
    ),
}
GRIDS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no seeds": ({"plan": {"grid": {"family": ["none"], "num_levels": [2]}}}, ["plan", "seeds"]),
    "seeds": ({"plan": {"grid": {"family": ["none"], "num_levels": [2]}, "seeds": 0}}, ["plan.seeds", "got 0"]),
    "no K": ({"plan": {"grid": {"family": ["none"]}, "seeds": 1}}, ["plan.grid.num_levels"]),
    "empty": ({"plan": {"grid": {"family": [], "num_levels": [2]}, "seeds": 1}}, ["plan.grid.family", "[]"]),
    "K": ({"plan": {"grid": {"family": ["none"], "num_levels": [1]}, "seeds": 1}}, ["num_levels", "1"]),
    "family": ({"plan": {"grid": {"family": ["RX"], "num_levels": [2]}, "seeds": 1}}, ["'RX'"]),
    "field": (
        {"plan": {"grid": {"family": ["none"], "num_levels": [2], "recipe.rate": [1.0]}, "seeds": 1}},
        ["'recipe.rate'"],
    ),
    "other count": (
        {"plan": {"grid": {"family": ["none"], "num_levels": [2]}, "seeds": 2}, "trials": 7},
        ["trials", "7"],
    ),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with two modules, one of which can't be imported."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wronglab.py").write_text(CODE)
    (tmp_path / "brokenlab.py").write_text("def resnet(:\n")
    path = list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name in ("wronglab", "brokenlab"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [
        pytest.param(*case, id=f"{kind}: {name}")
        for kind, cases in (("path", PATHS), ("space", SPACES), ("grid", GRIDS))
        for name, case in cases.items()
    ],
)
def test_launch_refuses_in_one_line_and_writes_nothing(
    changes: dict[str, Any], fragments: list[str], here: Path
) -> None:
    values: dict[str, Any] = {"name": "wrong", "trials": 1, "trial": {"subset": 160}, "space": {"family": ["none"]}}
    if "plan" in changes and "trials" not in changes:
        del values["trials"]
    for key, value in changes.items():
        values[key] = {**values[key], **value} if isinstance(value, dict) and key in values else value
    (here / "wrong.yaml").write_text(dump_yaml(values))
    before = {name: text for name, text in files_below(here).items() if "__pycache__" not in name}
    result = CliRunner().invoke(app, ["launch", "wrong.yaml"])
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("qar: ")
    assert [fragment for fragment in fragments if fragment not in line] == [], line
    assert {name: text for name, text in files_below(here).items() if "__pycache__" not in name} == before
