"""Parts by import path: what is found, and the one line about everything that can be wrong with a name."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from trainables.import_path import is_import_path, reason_of, resolve
from trainables.models import build_model, model_shapes

CODE = '''
"""Networks of a user."""

import math

from torch import nn

number = 3


class Net(nn.Module):
    """One convolution and one linear layer."""

    def __init__(self, num_classes, image_shape, hidden=4):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(image_shape[0], hidden, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(hidden, num_classes)

    def forward(self, images):
        return self.head(self.body(images))

    @classmethod
    def wide(cls, image_shape, num_classes, width):
        return cls(num_classes, image_shape, round(8 * width))


def needs(image_shape, depth):
    return depth


def positional(image_shape, /):
    return image_shape


def fails(image_shape):
    return 1 / 0


def list_of_layers(num_classes):
    return [nn.Linear(1, num_classes)]


def anything(**options):
    return nn.Linear(options["num_features"], 2)
'''


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package `mylab_paths` of a user in a folder on Python's path."""
    package = tmp_path / "mylab_paths"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "nets.py").write_text(CODE)
    (package / "broken.py").write_text("import math\n\nx = 1 / 0\n")
    (package / "wrong.py").write_text("def f(:\n")
    (package / "lacking.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "mylab_paths"]:
        del sys.modules[name]


def test_forms_of_names() -> None:
    for name in ("mylab:f", "mylab.nets:resnet20", "a_1.b:C.d"):
        assert is_import_path(name)
    for name in ("resnet20", "mylab.nets", ":f", "a:", "a:b:c", "a/b.py:f", "s3://bucket/x", "a-b:c", "a..b:c", "1a:b"):
        assert not is_import_path(name)


def test_networks_are_built_by_import_path(lab: Path) -> None:
    model = build_model("mylab_paths.nets:Net", (1, 8, 8), 3, seed=0, options={"hidden": 6})
    again = build_model("mylab_paths.nets:Net", (1, 8, 8), 3, seed=0, options={"hidden": 6})
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 3)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    assert model_shapes("mylab_paths.nets:Net", (1, 8, 8), 3, 1.0, {"hidden": 6}) == {
        name: tensor.shape for name, tensor in model.state_dict().items()
    }


def test_network_that_names_the_width_gets_it(lab: Path) -> None:
    model = build_model("mylab_paths.nets:Net.wide", (1, 8, 8), 3, seed=0, width=0.5)
    assert isinstance(model.head, nn.Linear)
    assert model.head.in_features == 4


def test_network_that_takes_any_option_gets_all_options(lab: Path) -> None:
    model = build_model("mylab_paths.nets:anything", (1, 8, 8), 3, seed=0, options={"num_features": 5})
    assert isinstance(model, nn.Linear)
    assert model.in_features == 5


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("no_such_lab:f", {}, "lie in a module that Python finds, got no module 'no_such_lab'; put it beside"),
        ("mylab_paths.no:f", {}, r"got no module 'mylab_paths\.no'; put it beside"),
        ("mylab_paths.lacking:f", {}, "got: it imports 'no_such_library', which Python does not find"),
        ("mylab_paths.broken:f", {}, r"got ZeroDivisionError: division by zero \(.*broken\.py, line 3\); mend it"),
        ("mylab_paths.wrong:f", {}, r"got SyntaxError: .*wrong\.py, line 1\); mend it"),
        ("mylab_paths.nets:resnet", {}, r"an attribute of mylab_paths\.nets, got 'resnet'; choose from \['Net', 'any"),
        ("mylab_paths.nets:Net.deep", {}, r"an attribute of mylab_paths\.nets, got 'deep'; choose from .*'wide'"),
        ("mylab_paths.nets:number", {}, "must be a function or a class, got int"),
        ("mylab_paths.nets:Net", {"depth": 3}, r"must hold arguments of model .*got 'depth'; choose from \['hidden'\]"),
        ("mylab_paths.nets:Net", {"num_classes": 3}, "must hold arguments of model .*got 'num_classes'"),
        ("mylab_paths.nets:needs", {}, r"also needs 'depth'; set trial\.model_options\.depth"),
        ("mylab_paths.nets:needs", {"depth": 3}, r"must return a torch\.nn\.Module, got int"),
        ("mylab_paths.nets:positional", {}, "got the positional-only 'image_shape'; remove the /"),
        ("mylab_paths.nets:fails", {}, r"must return a network, got ZeroDivisionError: .*nets\.py, line \d+\)"),
        ("mylab_paths.nets:list_of_layers", {}, r"must return a torch\.nn\.Module, got list"),
    ],
)
def test_everything_wrong_is_told_in_one_line(lab: Path, name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        build_model(name, (1, 8, 8), 3, seed=0, options=options)
    assert "\n" not in str(caught.value)


def test_width_is_refused_where_a_network_does_not_name_it(lab: Path) -> None:
    with pytest.raises(ValueError, match=r"width must be 1 for mylab_paths\.nets:Net, got 0\.5; leave it out"):
        build_model("mylab_paths.nets:Net", (1, 8, 8), 3, seed=0, width=0.5)


def test_a_module_inside_a_package_may_import_its_neighbours(lab: Path) -> None:
    (lab / "mylab_paths" / "uses.py").write_text("from mylab_paths.nets import number\n\nvalue = number + 1\n")
    assert resolve("value", "mylab_paths.uses:value") == 4


def test_reason_of_an_error_without_a_message_is_its_type() -> None:
    assert reason_of(ValueError()) == "ValueError"
    assert reason_of(ValueError("wrong\n  number")) == "ValueError: wrong number"
