"""Constraints: what can be said, how much a result misses them, and that the sampler hears of it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.config.rules.constraints import METRICS, SAMPLERS_WITH_CONSTRAINTS, Constraint, check
from study.search.sampling.samplers import SAMPLERS
from trainables.result import TRIAL_COLUMNS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("val_accuracy >= 0.9", Constraint("val_accuracy", ">=", 0.9)),
        ("bits_per_weight<=4", Constraint("bits_per_weight", "<=", 4.0)),
        ("  artifact_bytes <= 1e6 ", Constraint("artifact_bytes", "<=", 1e6)),
        ("val_accuracy >= .5", Constraint("val_accuracy", ">=", 0.5)),
        ("entropy_bits_per_weight >= -1.", Constraint("entropy_bits_per_weight", ">=", -1.0)),
    ],
)
def test_constraint_is_read(text: str, expected: Constraint) -> None:
    assert Constraint.parse(text) == expected


@given(st.sampled_from(METRICS), st.sampled_from([">=", "<="]), st.floats(-1e6, 1e6))
def test_constraint_is_written_as_it_is_read(metric: str, relation: str, bound: float) -> None:
    constraint = Constraint.parse(f"{metric} {relation} {bound!r}")
    again = Constraint.parse(str(constraint))
    assert (again.metric, again.relation) == (metric, relation)
    assert again.bound == pytest.approx(bound, rel=1e-5)


@pytest.mark.parametrize(
    "text",
    ["", "val_accuracy", "val_accuracy > 0.9", "0.9 <= val_accuracy", "val_accuracy >= high", "a >= 1 and b >= 2"],
)
def test_what_is_no_constraint_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"METRIC >= NUMBER.*for example"):
        Constraint.parse(text)


def test_unknown_metric_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"accuracy.*val_accuracy"):
        Constraint.parse("accuracy >= 0.9")


def test_every_metric_is_a_column_of_the_tables() -> None:
    assert set(METRICS) <= {column.name for column in TRIAL_COLUMNS}


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("val_accuracy >= 0.8", 0.6, 0.25),
        ("val_accuracy >= 0.8", 0.8, 0.0),
        ("val_accuracy >= 0.8", 1.0, -0.25),
        ("bits_per_weight <= 4", 5.0, 0.25),
        ("bits_per_weight <= 4", 3.0, -0.25),
        ("val_accuracy >= 0", -0.5, 0.5),
        ("val_accuracy >= 0.8", None, math.inf),
        ("val_accuracy >= 0.8", math.nan, math.inf),
    ],
)
def test_violation_is_a_share_of_the_bound(text: str, value: float | None, expected: float) -> None:
    constraint = Constraint.parse(text)
    assert constraint.violation({constraint.metric: value}) == pytest.approx(expected)


@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_sampler_that_takes_no_constraints_is_refused(sampler: str) -> None:
    check([], sampler)
    if sampler in SAMPLERS_WITH_CONSTRAINTS:
        check(["val_accuracy >= 0.9"], sampler)
    else:
        with pytest.raises(ValueError, match=f"sampler must be one of .* got '{sampler}'"):
            check(["val_accuracy >= 0.9"], sampler)
