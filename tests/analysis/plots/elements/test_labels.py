"""Labels at the ends of lines."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.plots.elements.labels import spread

HEIGHTS = st.lists(st.floats(0, 1), max_size=8)


@given(HEIGHTS, st.floats(0, 0.1))
def test_labels_are_apart_in_order_and_within_the_axes(places: list[float], gap: float) -> None:
    heights = spread(np.array(places), gap)
    order = np.argsort(places, kind="stable")
    assert (np.diff(heights[order]) >= gap - 1e-9).all()
    assert all(-1e-9 <= height <= 1 + 1e-9 for height in heights)


@given(HEIGHTS)
def test_labels_that_have_room_stay_where_their_lines_end(places: list[float]) -> None:
    apart = [place for index, place in enumerate(sorted(places)) if place >= 0.1 * index]
    kept = [place for index, place in enumerate(apart) if index == 0 or place - apart[index - 1] >= 0.1]
    if len(kept) == len(places):
        assert spread(np.array(kept), 0.1).tolist() == pytest.approx(kept)


def test_labels_that_collide_move_by_the_same_distance() -> None:
    assert spread(np.array([0.5, 0.5, 0.9]), 0.1).tolist() == pytest.approx([0.45, 0.55, 0.9])


def test_too_many_labels_are_around_the_middle() -> None:
    assert spread(np.zeros(3), 1.0).tolist() == pytest.approx([-0.5, 0.5, 1.5])
