"""Keyword arguments as lines of `--set`: what is written is what the loader reads."""

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from study.config import load_study
from study.config.yaml_loading import load_yaml
from study.notebook.overrides import override_lines

SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=20)


@example(value="\n")
@example(value="a\u2028b")
@given(value=SCALARS | st.lists(SCALARS, max_size=4))
def test_value_is_read_as_it_was_given(value: Any) -> None:
    (line,) = override_lines({"key": value})
    key, _, text = line.partition("=")
    assert key == "key"
    assert "\n" not in text
    assert load_yaml(text, "test") == value


def test_mappings_change_the_keys_that_they_name() -> None:
    lines = override_lines({"trial": {"recipe": {"learning_rate": 1e-5}, "width": 0.5}, "space.num_levels.high": 8})
    assert sorted(lines) == ["space.num_levels.high=8", "trial.recipe.learning_rate=1.0e-05", "trial.width=0.5"]
    config = load_study("digits", lines)
    assert (config.trial["recipe"]["learning_rate"], config.trial["width"]) == (1e-5, 0.5)
    assert config.trial["recipe"]["batch_size"] == load_study("digits").trial["recipe"]["batch_size"]


def test_searched_fields_may_have_dots_or_not() -> None:
    dimension = {"low": 1e-4, "high": 1e-1, "log": True}
    dotted = load_study("digits", override_lines({"space": {"recipe.learning_rate": dimension}}))
    nested = load_study("digits", override_lines({"space": {"recipe": {"learning_rate": dimension}}}))
    assert dotted == nested
    assert dotted.space.family == load_study("digits").space.family


def test_import_paths_as_keys_replace_the_mapping() -> None:
    (line,) = override_lines({"space": {"lam_by_family": {"mylab.penalties:own": {"low": 1.0, "high": 2.0}}}})
    assert line == "space.lam_by_family={'mylab.penalties:own': {high: 2.0, low: 1.0}}"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"trials": np.int64(8)}, r"trials must be plain data \(texts, .*got np\.int64\(8\); convert it"),
        ({"trial": {3: 4}}, "keys of trial must be texts, got 3"),
    ],
)
def test_other_than_plain_data_is_refused(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override_lines(overrides)
