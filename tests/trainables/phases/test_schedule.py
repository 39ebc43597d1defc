"""Schedules of learning rates and λ over a phase."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.phases.schedule import learning_rate_share, warmup_share


@given(done=st.floats(0, 1))
def test_cosine_falls_from_all_to_nothing(done: float) -> None:
    assert learning_rate_share("cosine", done) == pytest.approx(math.cos(math.pi * done / 2) ** 2, abs=1e-12)


@pytest.mark.parametrize(
    ("done", "share"), [(0.0, 1.0), (0.49, 1.0), (0.5, 0.1), (0.74, 0.1), (0.75, 0.01), (0.99, 0.01)]
)
def test_step_falls_at_half_and_three_quarters(done: float, share: float) -> None:
    assert learning_rate_share("step", done) == share


@given(epochs=st.floats(0.01, 100), done=st.floats(0, 200))
def test_warmup_rises_in_a_line_and_stays(epochs: float, done: float) -> None:
    assert warmup_share(done, epochs) == pytest.approx(min(done / epochs, 1.0))


@given(done=st.floats(0, 200))
def test_warmup_is_over_at_once_when_it_has_no_epochs(done: float) -> None:
    assert warmup_share(done, 0.0) == 1.0
