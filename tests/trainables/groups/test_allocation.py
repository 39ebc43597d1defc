"""Allocation of bits: against brute force over all combinations, and against the definition of the Lagrangian."""

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.groups.allocation import Choice, allocate, gain, hull

choice = st.builds(
    Choice,
    num_levels=st.sampled_from([2, 4, 8, 16]),
    num_bytes=st.integers(1, 400),
    loss=st.floats(0, 10).map(lambda loss: round(loss, 3)),
)
instances = st.dictionaries(st.sampled_from("abcd"), st.lists(choice, min_size=1, max_size=4), min_size=1)


def total(chosen: dict[str, Choice]) -> tuple[int, float]:
    return sum(one.num_bytes for one in chosen.values()), sum(one.loss for one in chosen.values())


def all_totals(choices: dict[str, list[Choice]]) -> list[tuple[int, float]]:
    return [total(dict(zip(choices, combination, strict=True))) for combination in product(*choices.values())]


@given(choices=instances, budget=st.integers(0, 1600))
def test_allocation_keeps_the_budget_or_is_the_smallest(choices: dict[str, list[Choice]], budget: int) -> None:
    chosen = allocate(choices, budget)
    assert list(chosen) == list(choices)
    assert all(one in choices[layer] for layer, one in chosen.items())
    smallest = min(size for size, _ in all_totals(choices))
    assert total(chosen)[0] <= max(budget, smallest)


@given(choices=instances, multiplier=st.floats(1e-4, 10))
def test_allocation_is_the_best_of_all_at_each_multiplier(choices: dict[str, list[Choice]], multiplier: float) -> None:
    """With the bytes of the Lagrangian's solution as budget, no combination within them has less loss."""
    solution = {
        layer: min(options, key=lambda one: (one.loss + multiplier * one.num_bytes, one.num_bytes))
        for layer, options in choices.items()
    }
    budget, loss = total(solution)
    best = min(other for size, other in all_totals(choices) if size <= budget)
    assert loss == pytest.approx(best, abs=1e-9)
    assert total(allocate(choices, budget))[1] == pytest.approx(best, abs=1e-9)


@given(choices=instances, budget=st.integers(0, 1600))
def test_allocation_misses_the_best_of_all_by_less_than_one_step(choices: dict[str, list[Choice]], budget: int) -> None:
    feasible = [loss for size, loss in all_totals(choices) if size <= budget]
    if not feasible:
        return
    steps = [low.loss - high.loss for options in choices.values() for low, high in pairwise(hull(options))]
    excess = total(allocate(choices, budget))[1] - min(feasible)
    assert -1e-9 <= excess <= max(steps, default=0.0) + 1e-9


@given(options=st.lists(choice, min_size=1, max_size=12))
def test_hull_is_convex_and_holds_the_best_choice_at_every_multiplier(options: list[Choice]) -> None:
    corners = hull(options)
    gains = [gain(low, high) for low, high in pairwise(corners)]
    assert all(one > 0 for one in gains)
    assert all(earlier > later for earlier, later in pairwise(gains))
    for multiplier in (1e-3, 0.01, 0.1, 1.0, 10.0):
        costs = [one.loss + multiplier * one.num_bytes for one in corners]
        assert min(costs) == pytest.approx(min(one.loss + multiplier * one.num_bytes for one in options))


def test_a_costly_layer_gets_the_bits() -> None:
    def layer(loss: float) -> list[Choice]:
        return [Choice(num_levels=2**b, num_bytes=100 * b, loss=loss / 4**b) for b in (1, 2, 3, 4)]

    chosen = allocate({"robust": layer(0.1), "costly": layer(10.0)}, 500)
    assert {name: one.num_levels for name, one in chosen.items()} == {"robust": 2, "costly": 16}
    assert allocate({"robust": layer(0.1), "costly": layer(0.1)}, 400)["robust"].num_levels == 4
