"""Versions of a study in its configuration."""

from pathlib import Path

import pytest

from study.config import changed_by, load_study
from study.config.loading import parse_study
from study.config.versions import check_space_change
from study.config.yaml_loading import dump_yaml
from tests.support.example_studies import study_config


def test_launch_of_a_study_yaml_begins_with_its_present_space(tmp_path: Path) -> None:
    changed = changed_by(["space.lam.high=1"], study_config())
    assert changed.version == 2
    file = tmp_path / "study.yaml"
    file.write_text(dump_yaml(changed.model_dump()))
    launched = load_study(str(file))
    assert (launched.version, launched.space) == (1, changed.space)


def test_new_study_has_no_earlier_versions() -> None:
    values = changed_by(["space.lam.high=1"], study_config()).model_dump()
    with pytest.raises(ValueError, match="earlier_versions is written by qar resume --set"):
        parse_study(values, "x")


def test_change_of_something_else_makes_no_version() -> None:
    changed = changed_by(["resources.max_concurrent=3", "space.lam.high=0.01"], study_config())
    assert (changed.version, changed.resources.max_concurrent) == (1, 3)


@pytest.mark.parametrize(
    ("old", "new", "kinds"),
    [
        ([16, 32], {"low": 16, "high": 32}, "a list of values in a study that exists, got a range of whole numbers"),
        (
            {"low": 16, "high": 32},
            {"low": 16, "high": 64, "log": True},
            "numbers on a logarithmic",
        ),
    ],
)
def test_dimension_keeps_its_kind(old: object, new: object, kinds: str) -> None:
    before, after = (study_config(space={"fields": {"recipe.batch_size": one}}).space for one in (old, new))
    with pytest.raises(ValueError, match=kinds):
        check_space_change(before, after)
    check_space_change(before, before)
