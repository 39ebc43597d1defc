"""YAML as configurations are written in it: nothing silently dropped, nothing ambiguous, no limit exceeded."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from study.config.yaml_loading import dump_yaml, load_written_yaml, load_yaml

READ: dict[str, Any] = {
    "on": "on",
    "yes": "yes",
    "off": "off",
    "true": True,
    "~": None,
    "1e-5": 1e-5,
    "12e03": 12e3,
    ".5": 0.5,
    "0x1F": 31,
    "0o17": 15,
    "2024-05-01": "2024-05-01",
    "'010'": "010",
    "-.inf": float("-inf"),
}


@pytest.mark.parametrize("scalar", READ)
def test_scalar_is_read_by_the_rules_of_yaml_1_2(scalar: str) -> None:
    assert load_yaml(f"a: {scalar}", "test") == {"a": READ[scalar]}


REFUSED = {
    "a: 010": "line 1: 010 is ambiguous",
    "a: -08": "ambiguous",
    "a: 1:30": "ambiguous",
    "a: 0b11": "ambiguous",
    "a: 1_000": "ambiguous",
    "a: 1\nb: 2\na: 3": "'a' is there twice, in lines 1 and 3",
    "x: {a: 1, 'a': 2}": "'a' is there twice, in line 1",
    "x: [1, {b: {c: 1,\n c: 2}}]": "'c' is there twice, in lines 1 and 2",
    "1: 2": "a key must be text",
    "? [a]\n: 1": "a key must be text",
    "a: &x [*x]": "alias",
    "a: !!python/object:os.system x": "tags are not allowed",
    "a: !!set {b}": "tags are not allowed",
    "a: !!int b": "not YAML",
    "a: !!bool b": "not YAML",
    "a: [": "line 1, column 5",
    "---\na: 1\n---\nb: 2": "another document",
    "[" * 5000: "nested 50 deep",
    "a: " + "9" * 5000: "too many digits",
    "a: " + "x" * 2_000_000: "characters",
    "a: \0": "not allowed",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: repr(text[:20]))
def test_text_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"^test: [^\n]+$") as refusal:
        load_yaml(text, "test")
    assert REFUSED[text] in str(refusal.value)


def test_aliases_that_multiply_are_refused() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(ValueError, match="at most 100000 values"):
        load_yaml("\n".join(lines), "test")


def test_merged_keys_may_be_replaced() -> None:
    assert load_yaml("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}", "test")["d"] == {"b": 1, "c": 3}


texts = st.text(max_size=8) | st.sampled_from(["1e5", "010", "08", "0o7", "on", "1:30", "1234e56", "null", "=", "<<"])


@given(texts, st.lists(st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.none()))
def test_what_is_written_is_read_again(text: str, values: list[Any]) -> None:
    data = {"name": text, "values": values}
    written = dump_yaml(data)
    assert load_yaml(written, "test") == data
    assert load_written_yaml(written, "test") == data


@given(texts)
def test_what_earlier_versions_wrote_is_read_again(text: str) -> None:
    assert load_written_yaml(yaml.safe_dump({"name": text}), "test") == {"name": text}
