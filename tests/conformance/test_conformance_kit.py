"""Every built-in part passes the checks that `qar check` runs on the parts of users."""

from itertools import product
from pathlib import Path

import pytest

from trainables.config import PenaltyForm
from trainables.conformance.families import check_family
from trainables.conformance.kinds import check_part, kind_of
from trainables.data.datasets import DATASETS
from trainables.families import PLACEMENTS
from trainables.models import MODELS
from trainables.regularizers.registry import REGULARIZERS

FORMS = [PenaltyForm(squared=squared, bounded=bounded) for squared, bounded in product((False, True), repeat=2)]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"squared={form.squared}-bounded={form.bounded}")
@pytest.mark.parametrize("family", sorted(REGULARIZERS))
def test_families_pass(family: str, form: PenaltyForm) -> None:
    assert [found for found in check_family(REGULARIZERS[family], form) if not found.passed] == []


@pytest.mark.parametrize("name", sorted(MODELS))
def test_models_pass(name: str) -> None:
    findings = list(check_part(name, image_shape=(3, 16, 16)))
    assert [found for found in findings if not found.passed] == []
    assert [found.name for found in findings][-1] == "export and back"


@pytest.mark.parametrize("name", sorted(PLACEMENTS))
def test_placements_pass(name: str) -> None:
    assert [found for found in check_part(name) if not found.passed] == []


def test_digits_pass() -> None:
    arrays, repeated = check_part("digits")
    assert arrays.detail.startswith("1438 training and 359 test images of 8×8×1 uint8, 10 classes")
    assert repeated.passed


def test_kinds_of_names_are_known() -> None:
    kinds = {name: kind_of(name) for name in [*REGULARIZERS, *MODELS, *DATASETS, *PLACEMENTS, "folder:x", "npz:x"]}
    assert set(kinds.values()) == {"family", "model", "dataset", "placement"}
    assert kinds["folder:x"] == kinds["npz:x"] == "dataset"
    assert kind_of("torchvision:resnet18") == "model"
    with pytest.raises(ValueError, match="unknown family 'nothing'; choose from"):
        kind_of("nothing")


def test_undeclared_penalty_is_told_to_be_declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "undeclared_penalty.py").write_text("def pull(weights, representatives):\n    return weights\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="must be declared as a family, got a plain function; decorate it"):
        check_part("undeclared_penalty:pull")
